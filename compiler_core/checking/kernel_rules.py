"""Rules of the verifier about one lowered kernel. One rule, one function, one row of KERNEL_RULES.

Rules use the kernel's own tables only, and no code of the lowering.
"""

from collections.abc import Callable, Iterator

import numpy as np

from tilewright.compiler_core.checking.room_rules import fillings_are_kept, fits, room_is_not_shared
from tilewright.compiler_core.ir.index_map import clamped_interval
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Span
from tilewright.compiler_core.lowering.steps import FROM_MEMORY, Action
from tilewright.compiler_core.target_model.target import Target

KernelRule = Callable[[KernelProgram, Target], Iterator[str]]


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
    """Every index that an op may read lies inside the region in its buffer, at every tile."""
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
    """The region of a buffer moves only with loops whose change refills it; an op's box likewise."""
    for number, step in enumerate(program.steps):
        spans = list(program.buffers[step.buffer].region)
        if step.action is Action.COMPUTE:
            spans += program.domains[step.op]
        stale = set().union(*map(_moving_dims, spans)) - set(step.moves) if spans else set()
        if stale:
            yield f"step {number} is stale when the loops over dims {sorted(stale)} advance"


def _reads_follow_writes(program: KernelProgram, target: Target) -> Iterator[str]:
    """A buffer is filled before it is read, for each position by a step no further behind than its reader; a
    split reduction is read only when it is complete.
    """
    filled: dict[int, bool] = {}
    split = any(loop.count > 1 for loop in program.reductions)
    for number, step in sorted(enumerate(program.steps), key=lambda numbered: numbered[1].lag):
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
    for index, op in enumerate(program.workload.graph.ops):
        for axis in op.reduction_axes:
            span = program.domains[index][axis]
            if index != program.anchor and not (np.all(span[0] == 0) and np.all(span[1] == op.extents[axis])):
                yield f"op {index} folds only part of its axis {axis}"
            if index == program.anchor and not _end_to_end(span, op.extents[axis]):
                yield f"the anchor does not fold each element of its axis {axis} exactly once"
    tiled = {loop.dim for loop in program.loops if loop.count > 1}
    for step in program.steps:
        if split and step.op == program.anchor and not tiled <= set(step.moves):
            yield f"the split reduction of op {step.op} is not started anew in every tile"


def _filled_as_stated(program: KernelProgram, target: Target) -> Iterator[str]:
    """The region of a buffer equals its table: an op's result over the op's box, or a part of an outer
    operand.
    """
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
    for index, op in enumerate(ops[:-1]):
        for axis, kind in enumerate(op.axis_kinds):
            if kind is AxisKind.SCAN and np.any(program.domains[index][axis][0] != 0):
                yield f"the scan of op {index} starts in the middle without a carry"


KERNEL_RULES: dict[str, KernelRule] = {
    "loops cover": _loops_cover,
    "stored once": _stored_once,
    "reads are held": _reads_are_held,
    "filled as stated": _filled_as_stated,
    "contents are current": _contents_are_current,
    "reads follow writes": _reads_follow_writes,
    "reductions complete": _reductions_complete,
    "scans carry": _scans_carry,
    "fits": fits,
    "room is not shared": room_is_not_shared,
    "fillings are kept": fillings_are_kept,
}
