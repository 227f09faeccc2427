"""A whole network as one job: its kernels in order over buffers by value."""

from collections.abc import Callable, Mapping

import numpy as np

from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array, Unit
from tilewright.compiler_core.library.calls import name_of, network_calls, place_of
from tilewright.compiler_core.lowering.host_time import host_op_cycles
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.meaning.interpret import interpret
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
    """The kernels of a network under a Config on `given` arrays by value, results of ops without structured
    form among them (`with_host_results`). ConfigError where a kernel has no native form.
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
    return HostJob(task.digest, made.calls, buffers, outputs, host_ops_us(plan.graph, target))


def with_host_results(graph: Graph, given: Mapping[int, Array]) -> Mapping[int, Array]:
    """`given`, and what the ops without structured form make of it, in numpy."""
    made = [op.result for op in graph.ops if op.row.unit is Unit.HOST]
    if not made:
        return given
    constants = {value: given[value] for value in graph.constants}
    bare = Graph(graph.values, graph.ops, graph.inputs, graph.outputs, constants)
    with np.errstate(all="ignore"):
        values = interpret(bare, {value: given[value] for value in graph.inputs})
    return {**given, **{value: values[value] for value in made}}


def host_ops_us(graph: Graph, target: Target) -> float:
    """The time of ops without structured form by the target's file: no kernel runs meanwhile."""
    cycles = sum(host_op_cycles(graph, op, target) for op in graph.ops if op.row.unit is Unit.HOST)
    return cycles / target.cycles_per_us
