"""A whole network as one job: its kernels in order over buffers by value."""

from collections.abc import Callable, Mapping

from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.library.calls import name_of, network_calls, place_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.host.jobs import Contents, HostJob
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask, kernel_configs, network_schedule


def network_job(
    task: NetworkTask,
    config: Config,
    target: Target,
    compiled: Callable[[Regions, Config], NativeKernel],
    given: Mapping[int, Array],
) -> HostJob:
    """The kernels of a network under a Config on `given` arrays by value.

    ConfigError where one has no native form.
    """
    plan, _ = network_schedule(task, config, target)
    configs = kernel_configs(config, plan)
    kernels = {digest: compiled(regions, configs[digest]) for digest, regions in plan.regions.items()}
    made = network_calls(plan, kernels)
    buffers = {
        name: Contents(buffer.place.bytes, buffer.place, given.get(buffer.value))
        for name, buffer in made.buffers.items()
    }
    outputs = {
        name: (place_of(plan, value), value)
        for value in plan.graph.outputs
        if value in plan.graph.producer and (name := name_of(plan, value)) in buffers
    }
    return HostJob(task.digest, made.calls, buffers, outputs)
