"""A lowered kernel as a readable loop nest.

    for d1 in 512 by 64              8 tiles, shared by 8 cores
      load w [64, 128, 3, 3] f16 from constant, 2 x 147456 bytes
      for r0 in 128 by 32            4 steps
        load x [1, 32, 9, 9] f16 from llb, 2 x 5184 bytes
        conv2 [1, 64, 7, 7] = contract(x, w)    matrix
      relu [1, 64, 7, 7] = max(conv2)           vector
      store relu [1, 64, 7, 7] to llb

A line stands in the innermost loop that it moves with, or that one of its operands is loaded in: what stands
outside a loop, or says so, is kept while it turns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tilewright.compiler_core.ir.names import shortened
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.lowering.program import Buffer, KernelProgram, Loop
from tilewright.compiler_core.lowering.steps import FROM_MEMORY, Action, Step
from tilewright.compiler_core.target_model.target import Target

NameOf = Callable[[int], str]
MOST_NAME = 28
INDENT = "  "


class NestLine(NamedTuple):
    """A step inside so many loops. One that is `sunk` stands deeper than it moves, beside what it reads."""

    step: Step
    depth: int
    sunk: bool


@dataclass(frozen=True)
class _Writer:
    """`name_of` gives the name of a kernel's value for people; `loops` come outermost first."""

    kernel: KernelProgram
    target: Target
    name_of: NameOf
    loops: tuple[Loop, ...]

    def lines(self, depth: int, placed: list[NestLine]) -> Iterator[str]:
        """The lines inside the first `depth` loops: the steps of this depth around the next loop."""
        inside = INDENT * depth
        here = [each for each in placed if each.depth == depth]
        deeper = [each for each in placed if each.depth > depth]
        yield from (f"{inside}{self.line(each)}" for each in here if not (deeper and each.step.late))
        if deeper:
            yield f"{inside}{self.loop(self.loops[depth])}"
            yield from self.lines(depth + 1, deeper)
            yield from (f"{inside}{self.line(each)}" for each in here if each.step.late)

    def loop(self, loop: Loop) -> str:
        """The head of a loop."""
        rank = self.kernel.workload.graph.ops[-1].rank
        name = f"d{loop.dim}" if loop.dim < rank else f"r{loop.dim - rank}"
        turns = f"{loop.count} {'tiles' if loop.parallel else 'steps'}"
        return f"for {name} in {loop.extent} by {loop.tile}   # {turns}"

    def line(self, placed: NestLine) -> str:
        """One instruction template."""
        step = placed.step
        buffer = self.kernel.buffers[step.buffer]
        shown, late = self.tile(buffer), "   # one tile behind" if step.lag else ""
        if placed.sunk:
            late += "   # kept while this loop turns"
        if step.action is Action.COMPUTE:
            op = self.kernel.workload.graph.ops[step.op]
            reads = [
                self.name(access.value) if read == FROM_MEMORY else self.name(self.kernel.buffers[read].value)
                for access, read in zip(op.operands, step.reads, strict=False)
            ]
            unit = "" if op.row.unit is Unit.NONE else f"   # {op.row.unit}"
            sums = "+=" if step.op == self.kernel.anchor and op.reduction_axes else "="
            return f"{shown} {sums} {op.kind}({', '.join(reads)}){unit}{late}"
        level = self.kernel.workload.level_of(buffer.value)
        way = "from" if step.action is Action.LOAD else "to"
        streamed = "" if buffer.element_bytes else "streamed through "
        room = f"{streamed}{buffer.slots} x {buffer.slot_bytes} bytes"
        return f"{step.action} {shown} {way} {level}   # {room}{late}"

    def tile(self, buffer: Buffer) -> str:
        """A value with the extents of its largest tile, in the type that the target keeps it in."""
        extents = [int((high - low).max()) for low, high in buffer.region]
        stored = self.target.storage_dtype(self.kernel.workload.graph.values[buffer.value].dtype)
        sums = buffer.element_bytes > stored.bytes
        kept = dict(self.target.dtypes).get(stored, stored) if sums else stored
        return f"{self.name(buffer.value)}{extents} {kept}"

    def name(self, value: int) -> str:
        """The name of a value for people, cut."""
        return shortened(self.name_of(value), MOST_NAME)


def loop_nest(kernel: KernelProgram, target: Target, name_of: NameOf) -> tuple[str, ...]:
    """The lines of a lowered kernel; `name_of` gives the name of a Workload's value for people."""
    turning = tuple(loop for loop in kernel.loops if loop.count > 1)
    depth_of = {loop.dim: index + 1 for index, loop in enumerate(turning)}
    serial = {loop.dim for loop in kernel.reductions}
    placed: list[NestLine] = []
    made_at: dict[int, int] = {}  # by buffer, the depth at which it is filled
    for step in kernel.steps:
        moves = [dim for dim in step.moves if dim in depth_of and not (step.late and dim in serial)]
        depth = max((depth_of[dim] for dim in moves), default=0)
        if step.late:  # after the last step of the reduction, inside every loop of tiles
            depth = max([depth, *(level for dim, level in depth_of.items() if dim not in serial)])
        source = max((made_at.get(read, 0) for read in step.reads), default=0)
        sunk = source > depth and not step.late  # what reads a tile stands below the line that loads it
        if sunk:
            depth = source
        if step.action is not Action.STORE:
            made_at[step.buffer] = depth
        placed.append(NestLine(step, depth, sunk))
    room = "in caches" if target.caches else f"of the {target.l1_bytes} of L1"
    shared = (
        f"{kernel.parallel_tiles} tiles, {_most_tiles(kernel)} at most on each of {kernel.cores} cores; "
        f"{kernel.l1_bytes} bytes {room}"
    )
    return (f"# {shared}", *_Writer(kernel, target, name_of, turning).lines(0, placed))


def _most_tiles(kernel: KernelProgram) -> int:
    return max(len(kernel.tiles_of(core)) for core in range(kernel.cores))
