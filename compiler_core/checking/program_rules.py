"""Rules of the verifier about a whole Program: stages, cores, values between kernels."""

from collections.abc import Callable, Iterator, Mapping

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.lowering.memory.placement import Lifetime, stored_bytes
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, Program
from tilewright.compiler_core.target_model.target import Target

ProgramRule = Callable[[Graph, Program, Target], Iterator[str]]


def _order_respects_data(graph: Graph, program: Program, target: Target) -> Iterator[str]:
    """Every kernel reads values of earlier stages; every value is stored by exactly one kernel."""
    available = {*graph.inputs, *graph.constants}
    stored: set[int] = set()
    for number, stage in enumerate(program.stages):
        made: list[int] = []
        for call in stage:
            reads, writes = _outer_values(graph, call)
            for value in reads:
                if value not in available:
                    yield f"stage {number} reads {graph.name_of(value)} before it is stored"
            if isinstance(call, KernelCall):
                yield from (f"stage {number}: {what}" for what in _parts_outside(graph, call))
            made.extend(writes)
        for value in made:
            if value in stored:
                yield f"{graph.name_of(value)} is stored twice"
            stored.add(value)
        available.update(made)
    for value in graph.outputs:
        if value not in available:
            yield f"the network's output {graph.name_of(value)} is never stored"


def _outer_values(graph: Graph, call: KernelCall | HostCall) -> tuple[list[int], list[int]]:
    if isinstance(call, HostCall):
        op = graph.ops[call.op]
        return [access.value for access in op.operands], [op.result]
    local = call.kernel.workload.graph
    return [call.kernel.values[v] for v in local.inputs], [call.kernel.values[v] for v in local.outputs]


def _parts_outside(graph: Graph, call: KernelCall) -> Iterator[str]:
    """Operands whose part, beginning at its origin, is not a part of the value behind them."""
    local = call.kernel.workload.graph
    for value in local.inputs:
        outer = call.kernel.values[value]
        origin, whole, part = call.kernel.origins.get(value, ()), graph.shape(outer), local.shape(value)
        inside = all(0 <= index < extent for index, extent in zip(origin, whole, strict=False))
        if not inside or part != (*[1] * len(origin), *whole[len(origin) :]):
            yield f"{graph.name_of(outer)} has shape {list(whole)}, {list(part)} from {list(origin)} is read"


def _cores_are_disjoint(graph: Graph, program: Program, target: Target) -> Iterator[str]:
    """Kernels of a stage run on cores of their own."""
    for number, stage in enumerate(program.stages):
        taken: set[int] = set()
        for call in stage:
            if isinstance(call, HostCall):
                continue
            cores = set(range(call.cores.first, call.cores.first + call.cores.count))
            if taken & cores or (cores and (min(cores) < 0 or max(cores) >= target.cores)):
                shown = sorted(taken & cores) or sorted(cores)
                yield f"stage {number} uses cores {shown} twice or beyond the chip"
            if call.program.cores > call.cores.count:
                yield f"stage {number} runs {call.program.cores} cores in a range of {call.cores.count}"
            taken |= cores


def _llb_is_not_shared(graph: Graph, program: Program, target: Target) -> Iterator[str]:
    """Values in the LLB fit it and do not overlap while both are alive."""
    lives: list[Lifetime] = []
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    for number, stage in enumerate(program.stages):
        for call in stage:
            reads, writes = _outer_values(graph, call)
            born.update(dict.fromkeys(writes, number))
            dies.update(dict.fromkeys([*reads, *writes], number))
    for value in program.offsets:
        size = stored_bytes(graph, value, target)
        end = len(program.stages) if value in graph.outputs else dies.get(value, 0)
        lives.append(Lifetime(value, size, born.get(value, 0), end))
        if program.offsets[value] < 0 or program.offsets[value] + size > target.llb_bytes:
            yield f"{graph.name_of(value)} ends at {program.offsets[value] + size}, beyond the LLB"
    for index, one in enumerate(lives):
        for other in lives[index + 1 :]:
            together = one.born <= other.dies and other.born <= one.dies
            low, high = program.offsets[one.value], program.offsets[other.value]
            if together and low < high + other.size_bytes and high < low + one.size_bytes:
                yield f"{graph.name_of(one.value)} and {graph.name_of(other.value)} overlap in the LLB"


def _layouts_agree(graph: Graph, program: Program, target: Target) -> Iterator[str]:
    """Every kernel reads a value in the layout of the kernel that stored it, other values in the model's
    order.
    """
    laid: dict[int, Layout | None] = {}
    for number, stage in enumerate(program.stages):
        for call in stage:
            reads, writes = _outer_values(graph, call)
            layouts = _layouts(call)
            for value in reads:
                if layouts.get(value) != laid.get(value):
                    yield f"stage {number} reads {graph.name_of(value)} in another layout than it has"
            for value in writes:
                laid[value] = layouts.get(value)
                if value in graph.outputs and value in layouts:
                    yield f"the network's output {graph.name_of(value)} is not in the model's order"


def _layouts(call: KernelCall | HostCall) -> Mapping[int, Layout]:
    if isinstance(call, HostCall):
        return {}
    return {call.kernel.values[value]: layout for value, layout in call.kernel.workload.layouts.items()}


PROGRAM_RULES: dict[str, ProgramRule] = {
    "order respects data": _order_respects_data,
    "cores are disjoint": _cores_are_disjoint,
    "llb is not shared": _llb_is_not_shared,
    "layouts agree": _layouts_agree,
}
