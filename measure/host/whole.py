"""A whole network as one job: its kernels in order over buffers by value."""

from collections.abc import Callable, Mapping

import numpy as np

from tilewright.compiler_core.codegen.places import Place, laid_out
from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import Kernel
from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.host.jobs import Call, Contents, HostJob, buffer_name
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
    plan, schedule = network_schedule(task, config, target)
    configs = kernel_configs(config, plan)
    kernels = {digest: compiled(regions, configs[digest]) for digest, regions in plan.regions.items()}
    buffers: dict[str, Contents] = {}
    calls: list[Call] = []
    for stage in schedule.stages:
        for placed in stage:
            kernel = plan.kernels[placed.group]
            if kernel is None:
                raise ConfigError("an op without structured form runs on the host, which is no native kernel")
            native = kernels[kernel.workload.digest]
            operands = []
            for value, place in native.nest.outer.items():
                name, whole = _buffer(plan, kernel, value, place, native)
                array = given.get(kernel.values[value])
                buffers.setdefault(name, Contents(whole.bytes, whole, array))
                operands.append((name, _begins(kernel, value, whole)))
            calls.append(Call(native, tuple(operands)))
    outputs = {
        name: (_place(plan, value), value)
        for value in plan.graph.outputs
        if value in plan.graph.producer and (name := _name(plan, value)) in buffers
    }
    return HostJob(task.digest, tuple(calls), buffers, outputs)


def _name(plan: Plan, value: int) -> str:
    return buffer_name(value, _place(plan, value), arranged=value in plan.layouts)


def _buffer(plan: Plan, kernel: Kernel, value: int, place: Place, native: NativeKernel) -> tuple[str, Place]:
    """The name of the buffer behind an operand, and how the whole value lies in it."""
    whole = kernel.values[value]
    if value in native.nest.arranged:
        return buffer_name(whole, place, arranged=True), place
    return _name(plan, whole), _place(plan, whole)


def _place(plan: Plan, value: int) -> Place:
    shape = plan.graph.shape(value)
    layout = plan.layouts.get(value) or Layout(tuple(range(len(shape))))
    return laid_out(plan.graph.values[value].dtype, shape, layout)


def _begins(kernel: Kernel, value: int, whole: Place) -> int:
    """The byte at which a kernel's part of a value begins."""
    origin: Mapping[int, tuple[int, ...]] = kernel.origins
    at = origin.get(value, ())
    strides = {piece.dim: piece.stride for piece in whole.pieces}
    return (
        int(np.sum([place * strides[dim] for dim, place in enumerate(at)], dtype=np.int64))
        * whole.dtype.bytes
    )
