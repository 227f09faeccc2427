"""Rules about memory: slots fit into L1 or the accumulators, and live slots do not overlap."""

from collections.abc import Iterator

from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.lowering.program import Buffer, KernelProgram
from tilewright.compiler_core.lowering.steps import Action
from tilewright.compiler_core.target_model.target import Target


def fits(program: KernelProgram, target: Target) -> Iterator[str]:
    """All slots lie inside L1 (or the accumulators) and every tile fits its slot."""
    for index, buffer in enumerate(program.buffers):
        room = target.accumulator_bytes if buffer.accumulator else target.l1_bytes
        end = buffer.offset + buffer.slots * buffer.slot_bytes
        if buffer.offset < 0 or end > room:
            yield f"buffer {index} lies at {buffer.offset} to {end}, outside {room} bytes"
        if buffer.slots < 1:
            yield f"buffer {index} has no slot"
        size = buffer.element_bytes
        for low, high in buffer.region:
            size *= int((high - low).max())
        if size > buffer.slot_bytes:
            yield f"buffer {index} needs {size} bytes, its slot has {buffer.slot_bytes}"
    if program.cores > target.cores:
        yield f"{program.cores} cores are asked for, {target.name} has {target.cores}"


def room_is_not_shared(program: KernelProgram, target: Target) -> Iterator[str]:
    """Buffers that overlap in L1 are tenants of one storage that are never needed at the same time."""
    lives = [_life(program, index) for index in range(len(program.buffers))]
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


def fillings_are_kept(program: KernelProgram, target: Target) -> Iterator[str]:
    """A step is at most one position behind; the buffers that it reads have a slot besides those filled
    meanwhile.
    """
    tiled = {loop.dim for loop in program.loops if loop.count > 1}
    filler = {
        step.buffer: index for index, step in enumerate(program.steps) if step.action is not Action.STORE
    }
    for index, step in enumerate(program.steps):
        if step.lag not in (0, 1):
            yield f"step {index} is {step.lag} positions behind, it may be 0 or 1"
        for buffer in (step.buffer, *step.reads) if step.action is not Action.LOAD else ():
            if buffer not in filler or not tiled & set(program.steps[filler[buffer]].moves):
                continue
            filled_since = step.lag - program.steps[filler[buffer]].lag - (index < filler[buffer])
            if filled_since >= program.buffers[buffer].slots:
                yield f"step {index} reads what buffer {buffer} held {filled_since} fillings ago"


def _overlap(a: Buffer, b: Buffer) -> bool:
    if a.accumulator is not b.accumulator:
        return False
    return a.offset < b.offset + b.slots * b.slot_bytes and b.offset < a.offset + a.slots * a.slot_bytes


def _life(program: KernelProgram, buffer: int) -> tuple[int, int]:
    """The first and last step that touch a buffer; one kept across tiles, or positions, is always needed."""
    uses = [n for n, step in enumerate(program.steps) if buffer in (*step.reads, step.buffer)]
    tiled = {loop.dim for loop in program.loops if loop.count > 1}
    filler = next((step for step in program.steps if step.buffer == buffer), None)
    if filler is not None and filler.late:
        tiled -= {loop.dim for loop in program.reductions}
    lags = {program.steps[number].lag for number in uses}
    if len(lags) != 1 or filler is None or not tiled <= set(filler.moves):
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
