"""The verifier: what must hold of every Program, whatever produced it. One rule, one function, one row.

Rules look at the Program's own tables, never at how the lowering came by them; a rule that is broken gives a
Finding that names the kernel, the buffer or value, and what is wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from compiler_core.errors import VerifyError
from compiler_core.graph import Graph
from compiler_core.index_map import clamped_interval
from compiler_core.ops import AxisKind, Unit
from compiler_core.placement import Lifetime, stored_bytes
from compiler_core.program import FROM_MEMORY, Action, Buffer, HostCall, KernelCall, KernelProgram, Program
from compiler_core.regions import Span
from compiler_core.target import Target


@dataclass(frozen=True)
class Finding:
    """A broken rule: its name, where, and what is wrong."""

    rule: str
    where: str
    what: str


KernelRule = Callable[[KernelProgram, Target], Iterator[str]]
ProgramRule = Callable[[Graph, Program, Target], Iterator[str]]


def verify_program(graph: Graph, program: Program, target: Target) -> list[Finding]:
    """Every broken rule of `program`: none when it is sound. Kernels that share a lowering count once."""
    found: list[Finding] = []
    seen: set[int] = set()
    for number, stage in enumerate(program.stages):
        for call in stage:
            if isinstance(call, KernelCall) and id(call.program) not in seen:
                seen.add(id(call.program))
                found.extend(verify_kernel(call.program, target, f"stage {number}"))
    for name, rule in PROGRAM_RULES.items():
        found.extend(Finding(name, "program", what) for what in rule(graph, program, target))
    return found


def verify_kernel(program: KernelProgram, target: Target, where: str = "kernel") -> list[Finding]:
    """Every broken kernel rule of one lowered kernel."""
    return [
        Finding(name, where, what) for name, rule in KERNEL_RULES.items() for what in rule(program, target)
    ]


def require_sound(graph: Graph, program: Program, target: Target) -> None:
    """VerifyError with the first finding, if there is one."""
    found = verify_program(graph, program, target)
    if found:
        first = found[0]
        raise VerifyError(f"{first.where} breaks rule {first.rule!r}: {first.what} ({len(found)} findings)")


def _loops_cover(program: KernelProgram, target: Target) -> Iterator[str]:
    """The tiles of every loop cover its extent and no tile is empty; scans and reductions are serial."""
    if sorted(loop.dim for loop in program.loops) != list(range(len(program.loops))):
        yield "a dim of the interval tables has no loop, or two"
    for loop in program.loops:
        if loop.extent and not (loop.count - 1) * loop.tile < loop.extent <= loop.count * loop.tile:
            yield f"{loop.count} tiles of {loop.tile} do not cover {loop.extent}"
    root = program.workload.graph.ops[-1]
    for loop in program.loops:
        serial = loop.dim >= root.rank or root.axis_kinds[loop.dim] is AxisKind.SCAN
        if loop.parallel == serial:
            yield f"the loop over dim {loop.dim} is {'parallel' if loop.parallel else 'serial'}"


def _stored_once(program: KernelProgram, target: Target) -> Iterator[str]:
    """Every element of every stored value is stored by exactly one tile."""
    stores = [step for step in program.steps if step.action is Action.STORE]
    stored = sorted(program.buffers[step.buffer].value for step in stores)
    if stored != sorted(program.workload.graph.outputs):
        yield f"values {stored} are stored, the kernel's outputs are {program.workload.graph.outputs}"
    tiled = {loop.dim for loop in program.loops if loop.count > 1} - {loop.dim for loop in program.reductions}
    for step in stores:
        buffer = program.buffers[step.buffer]
        shape = program.workload.graph.shape(buffer.value)
        moved: set[int] = set()
        for dim, (span, extent) in enumerate(zip(buffer.region, shape, strict=True)):
            moved |= _moving_dims(span)
            if not _end_to_end(span, extent):
                yield f"dim {dim} of value {buffer.value} is not cut into disjoint tiles that cover it"
        if not tiled <= moved:
            yield f"value {buffer.value} is stored again by tiles of dims {sorted(tiled - moved)}"
        if not tiled <= set(step.moves) or not step.late:
            yield f"value {buffer.value} is not stored once in every tile"


def _end_to_end(span: Span, extent: int) -> bool:
    if len(_moving_dims(span)) > 1:
        return False
    low, high = np.ravel(span[0]), np.ravel(span[1])
    if low[0] != 0 or high[-1] != extent:
        return False
    return bool(
        np.array_equal(np.broadcast_to(low, np.broadcast_shapes(low.shape, high.shape))[1:], high[:-1])
    )


def _moving_dims(span: Span) -> set[int]:
    shape = np.broadcast_shapes(span[0].shape, span[1].shape)
    return {dim for dim, n in enumerate(shape) if n > 1}


def _reads_are_held(program: KernelProgram, target: Target) -> Iterator[str]:
    """Every index an op may read lies in what the buffer it reads from holds, at every tile."""
    for step in program.steps:
        if step.action is not Action.COMPUTE:
            continue
        op = program.workload.graph.ops[step.op]
        box = dict(enumerate(program.domains[step.op]))
        for access, read in zip(op.operands, step.reads, strict=True):
            if read == FROM_MEMORY:
                continue
            held = program.buffers[read]
            shape = program.workload.graph.shape(access.value)
            for dim, expr in enumerate(access.exprs):
                low, high = clamped_interval(expr, box, shape[dim])
                inside = (held.region[dim][0] <= low) & (high <= held.region[dim][1])
                if held.value != access.value or not np.all(inside | (high <= low)):
                    yield f"op {step.op} ({op.kind}) reads outside buffer {read} in dim {dim}"


def _contents_are_current(program: KernelProgram, target: Target) -> Iterator[str]:
    """What a buffer holds moves only with loops whose change refills it; an op's box likewise."""
    for number, step in enumerate(program.steps):
        spans = list(program.buffers[step.buffer].region)
        if step.action is Action.COMPUTE:
            spans += program.domains[step.op]
        stale = set().union(*map(_moving_dims, spans)) - set(step.moves) if spans else set()
        if stale:
            yield f"step {number} is stale when the loops over dims {sorted(stale)} advance"


def _reads_follow_writes(program: KernelProgram, target: Target) -> Iterator[str]:
    """A buffer is filled before it is read; a split reduction is read only when it is complete."""
    filled: dict[int, bool] = {}
    split = any(loop.count > 1 for loop in program.reductions)
    for number, step in enumerate(program.steps):
        for read in (
            step.reads if step.action is Action.COMPUTE else (step.buffer,) * (step.action is Action.STORE)
        ):
            if read == FROM_MEMORY:
                continue
            if read not in filled:
                yield f"step {number} uses buffer {read} before any step fills it"
            elif filled[read] and not step.late:
                yield f"step {number} runs at every reduction step but reads a buffer filled at the last"
            producer = program.workload.graph.producer.get(program.buffers[read].value)
            if split and producer is not None and producer == program.anchor and not step.late:
                yield f"step {number} reads the partial sums of buffer {read}"
        if step.action is not Action.STORE:
            if step.buffer in filled:
                yield f"buffer {step.buffer} is filled by two steps"
            filled[step.buffer] = step.late


def _reductions_complete(program: KernelProgram, target: Target) -> Iterator[str]:
    """Reduction axes are whole in every tile; the anchor's are cut end to end, anew in every tile."""
    split = any(loop.count > 1 for loop in program.reductions)
    for at, op in enumerate(program.workload.graph.ops):
        for axis in op.reduction_axes:
            span = program.domains[at][axis]
            if at != program.anchor and not (np.all(span[0] == 0) and np.all(span[1] == op.extents[axis])):
                yield f"op {at} folds only part of its axis {axis}"
            if at == program.anchor and not _end_to_end(span, op.extents[axis]):
                yield f"the anchor does not fold each element of its axis {axis} exactly once"
    tiled = {loop.dim for loop in program.loops if loop.count > 1}
    for step in program.steps:
        if split and step.op == program.anchor and not tiled <= set(step.moves):
            yield f"the split reduction of op {step.op} is not started anew in every tile"


def _filled_as_stated(program: KernelProgram, target: Target) -> Iterator[str]:
    """A buffer holds what its table says: an op's result over the op's box, or a part of an outer operand."""
    graph = program.workload.graph
    for number, step in enumerate(program.steps):
        buffer = program.buffers[step.buffer]
        shape = graph.shape(buffer.value)
        if step.action is Action.COMPUTE:
            op = graph.ops[step.op]
            box = program.domains[step.op][: op.rank]
            same = all(_equal(span, own) for span, own in zip(buffer.region, box, strict=True))
            if op.result != buffer.value or not same:
                yield f"step {number} fills buffer {step.buffer} with something else than its table says"
        elif step.action is Action.LOAD and buffer.value not in graph.inputs:
            yield f"step {number} loads value {buffer.value}, which is no operand of the kernel"
        for dim, ((low, high), extent) in enumerate(zip(buffer.region, shape, strict=True)):
            if np.any(low < 0) or np.any(high > extent) or np.any(high < low):
                yield f"buffer {step.buffer} leaves dim {dim} of value {buffer.value}"


def _equal(one: Span, other: Span) -> bool:
    return bool(np.all(one[0] == other[0]) and np.all(one[1] == other[1]))


def _scans_carry(program: KernelProgram, target: Target) -> Iterator[str]:
    """A scan that is not the root starts from the first element in every tile."""
    ops = program.workload.graph.ops
    for at, op in enumerate(ops[:-1]):
        for axis, kind in enumerate(op.axis_kinds):
            if kind is AxisKind.SCAN and np.any(program.domains[at][axis][0] != 0):
                yield f"the scan of op {at} starts in the middle without a carry"


def _fits(program: KernelProgram, target: Target) -> Iterator[str]:
    """All slots lie inside L1 (or the accumulators) and every tile fits its slot."""
    for at, buffer in enumerate(program.buffers):
        room = target.accumulator_bytes if buffer.accumulator else target.l1_bytes
        end = buffer.offset + buffer.slots * buffer.slot_bytes
        if buffer.offset < 0 or end > room:
            yield f"buffer {at} lies at {buffer.offset} to {end}, outside {room} bytes"
        if buffer.slots < 1:
            yield f"buffer {at} has no slot"
        size = buffer.element_bytes
        for low, high in buffer.region:
            size *= int((high - low).max())
        if size > buffer.slot_bytes:
            yield f"buffer {at} needs {size} bytes, its slot has {buffer.slot_bytes}"
    if program.cores > target.cores:
        yield f"{program.cores} cores are asked for, {target.name} has {target.cores}"


def _room_is_not_shared(program: KernelProgram, target: Target) -> Iterator[str]:
    """Buffers that overlap in L1 are tenants of one storage that are never needed at the same time."""
    lives = [_life(program, at) for at in range(len(program.buffers))]
    for one in range(len(program.buffers)):
        for other in range(one + 1, len(program.buffers)):
            a, b = program.buffers[one], program.buffers[other]
            if not _overlap(a, b):
                continue
            if a.storage != b.storage:
                yield f"buffers {one} and {other} overlap"
                continue
            first, second = sorted((lives[one], lives[other]))
            if first[1] > second[0] or (
                first[1] == second[0] and not _in_place(program, second[0], one, other)
            ):
                yield f"buffers {one} and {other} share room while both are needed"


def _overlap(a: Buffer, b: Buffer) -> bool:
    if a.accumulator is not b.accumulator:
        return False
    return a.offset < b.offset + b.slots * b.slot_bytes and b.offset < a.offset + a.slots * a.slot_bytes


def _life(program: KernelProgram, buffer: int) -> tuple[int, int]:
    """The first and last step that touch a buffer; a buffer kept across tiles is always needed."""
    uses = [n for n, step in enumerate(program.steps) if buffer in (*step.reads, step.buffer)]
    tiled = {loop.dim for loop in program.loops if loop.count > 1}
    filler = next((step for step in program.steps if step.buffer == buffer), None)
    if filler is not None and filler.late:
        tiled -= {loop.dim for loop in program.reductions}
    if not uses or filler is None or not tiled <= set(filler.moves):
        return 0, len(program.steps)
    return uses[0], uses[-1]


def _in_place(program: KernelProgram, number: int, one: int, other: int) -> bool:
    """Whether step `number` overwrites, point by point, the operand it reads."""
    step = program.steps[number]
    if step.action is not Action.COMPUTE or {one, other} - {step.buffer, *step.reads}:
        return False
    op = program.workload.graph.ops[step.op]
    overwritten = [a for a, read in zip(op.operands, step.reads, strict=True) if read in (one, other)]
    narrow = program.buffers[step.buffer].element_bytes <= min(
        program.buffers[b].element_bytes for b in (one, other)
    )
    return (
        len(overwritten) == 1
        and overwritten[0].is_identity(op.rank)
        and not op.reduction_axes
        and op.row.unit is not Unit.MATRIX
        and narrow
    )


def _order_respects_data(graph: Graph, program: Program, target: Target) -> Iterator[str]:
    """Every kernel reads what earlier stages stored; every value is stored by exactly one kernel."""
    available = {*graph.inputs, *graph.constants}
    stored: set[int] = set()
    for number, stage in enumerate(program.stages):
        made: list[int] = []
        for call in stage:
            reads, writes = _outer_values(graph, call)
            for value in reads:
                if value not in available:
                    yield f"stage {number} reads {graph.name_of(value)} before it is stored"
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
    for at, one in enumerate(lives):
        for other in lives[at + 1 :]:
            together = one.born <= other.dies and other.born <= one.dies
            low, high = program.offsets[one.value], program.offsets[other.value]
            if together and low < high + other.size_bytes and high < low + one.size_bytes:
                yield f"{graph.name_of(one.value)} and {graph.name_of(other.value)} overlap in the LLB"


KERNEL_RULES: dict[str, KernelRule] = {
    "loops cover": _loops_cover,
    "stored once": _stored_once,
    "reads are held": _reads_are_held,
    "filled as stated": _filled_as_stated,
    "contents are current": _contents_are_current,
    "reads follow writes": _reads_follow_writes,
    "reductions complete": _reductions_complete,
    "scans carry": _scans_carry,
    "fits": _fits,
    "room is not shared": _room_is_not_shared,
}
PROGRAM_RULES: dict[str, ProgramRule] = {
    "order respects data": _order_respects_data,
    "cores are disjoint": _cores_are_disjoint,
    "llb is not shared": _llb_is_not_shared,
}
