"""Program: a Schedule lowered for a Target: flat interval tables, loop descriptors, instructions as a view.

A kernel is one loop nest. Its parallel loops are numbered through, outermost slowest, and cut into one
contiguous run of tiles per core; inside each tile the core walks the scan and reduction loops. A `Step` is an
instruction template: it fires when one of the loops it moves with has changed since it last fired, `late`
steps only at the last reduction step of a tile. A step with a `lag` works on an earlier position of the nest
than the steps beside it: so two tiles of a core can be in flight.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise, repeat
from typing import TypeAlias

from tilewright.compiler_core.ir.workload import Kernel, Workload
from tilewright.compiler_core.lowering.regions import Span
from tilewright.compiler_core.lowering.schedule import CoreRange
from tilewright.compiler_core.lowering.steps import FROM_MEMORY, Action, Step

Position: TypeAlias = tuple[int, ...]
"""A tile number in every dim of the interval tables."""


@dataclass(frozen=True)
class Loop:
    """One loop of the nest: `count` tiles of `tile` over `extent`; `dim`: its dim of the interval tables."""

    dim: int
    extent: int
    tile: int
    count: int
    parallel: bool


@dataclass(frozen=True, eq=False)
class Buffer:
    """Room in L1 for the tiles of one value.

    `region` has the interval of each dim of the value per tile. `slots` copies of `slot_bytes` lie from
    `offset` on; buffers with the same `storage` take turns in the same room. `accumulator`: the room is in
    the target's accumulator memory instead.
    """

    value: int
    region: tuple[Span, ...]
    element_bytes: int
    slots: int
    slot_bytes: int
    storage: int
    offset: int
    accumulator: bool


@dataclass(frozen=True)
class Instruction:
    """One instruction of the lazy view: `tile` is the tile number in every dim of the interval tables, `slot`
    the copy of the buffer, `sources` those of the buffers that its step reads.
    """

    action: Action
    step: int
    buffer: int
    slot: int
    tile: tuple[int, ...]
    sources: tuple[int, ...] = ()


@dataclass
class _Visit:
    """A position of the nest while steps work on it, the one after it, and which filling of each buffer is of
    this position.
    """

    position: Position
    following: Position | None
    versions: list[int]


@dataclass(frozen=True, eq=False)
class KernelProgram:
    """One kernel, lowered. `domains[op]` has the interval of every domain axis of that op per tile."""

    workload: Workload
    loops: tuple[Loop, ...]
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    domains: tuple[tuple[Span, ...], ...]
    anchor: int
    cores: int
    l1_bytes: int

    @cached_property
    def parallel_tiles(self) -> int:
        """Tiles to share out among cores."""
        total = 1
        for loop in self.loops:
            total *= loop.count if loop.parallel else 1
        return total

    @cached_property
    def serial_steps(self) -> int:
        """Scan and reduction steps inside one tile."""
        total = 1
        for loop in self.loops:
            total *= 1 if loop.parallel else loop.count
        return total

    def tiles_of(self, core: int) -> range:
        """The contiguous run of parallel tiles of a core, empty for cores that idle."""
        return range(core * self.parallel_tiles // self.cores, (core + 1) * self.parallel_tiles // self.cores)

    def position(self, parallel_tile: int, serial_step: int) -> tuple[int, ...]:
        """The tile number in every dim of the interval tables."""
        at = [0] * len(self.loops)
        for loop in reversed(self.loops):
            if loop.parallel:
                parallel_tile, at[loop.dim] = divmod(parallel_tile, loop.count)
            else:
                serial_step, at[loop.dim] = divmod(serial_step, loop.count)
        return tuple(at)

    @staticmethod
    def at(span: Span, position: tuple[int, ...]) -> tuple[int, int]:
        """One interval of a table, at a tile."""
        low, high = span
        return (
            int(low[tuple(i if n > 1 else 0 for i, n in zip(position, low.shape, strict=True))]),
            int(high[tuple(i if n > 1 else 0 for i, n in zip(position, high.shape, strict=True))]),
        )

    def instructions(self, core: int) -> Iterator[Instruction]:
        """Everything core `core` executes, in order. A slot is freed after the last step that uses it."""
        return self.instructions_of(self.tiles_of(core))

    def instructions_of(self, tiles: Sequence[int]) -> Iterator[Instruction]:
        """The instructions of a core that does these parallel tiles one after the other."""
        fired: dict[int, Position] = {}
        version = [-1] * len(self.buffers)
        visits: list[_Visit | None] = [None] * (self.most_lag + 1)
        walk = chain(self._walk(tiles), repeat(None, self.most_lag + 1))
        for position, following in pairwise(walk):
            now = None if position is None else _Visit(position, following, [*version])
            visits = [now, *visits[:-1]]
            for number, step in enumerate(self.steps):
                visit = visits[step.lag]
                if visit is not None:
                    yield from self._at(visit, number, fired, version)

    def _at(
        self, visit: _Visit, number: int, fired: dict[int, Position], version: list[int]
    ) -> Iterator[Instruction]:
        """The instruction of step `number` at a position, and the slots that are free after it."""
        step, position = self.steps[number], visit.position
        fires = self._fires(number, position, fired)
        if step.action is not Action.STORE:
            version[step.buffer] += fires and self._starts_anew(step, position)
            visit.versions[step.buffer] = version[step.buffer]
        if fires:
            fired[number] = position
            slot, sources = self._slot(step.buffer, visit), [self._slot(read, visit) for read in step.reads]
            yield Instruction(step.action, number, step.buffer, slot, position, tuple(sources))
        for buffer in self._released[number]:
            if self._dies(self._filler[buffer], visit, fired):
                yield Instruction(Action.FREE, -1, buffer, self._slot(buffer, visit), position)

    def _slot(self, buffer: int, visit: _Visit) -> int:
        return max(0, visit.versions[buffer]) % self.buffers[buffer].slots if buffer != FROM_MEMORY else -1

    @cached_property
    def most_lag(self) -> int:
        """The largest lag of a step, in positions."""
        return max([step.lag for step in self.steps], default=0)

    @cached_property
    def _filler(self) -> Mapping[int, int]:
        """The step that fills each buffer."""
        return {
            step.buffer: index for index, step in enumerate(self.steps) if step.action is not Action.STORE
        }

    @cached_property
    def _released(self) -> Sequence[Sequence[int]]:
        """Per step, the buffers that it is the last to use at a position."""
        last: dict[int, int] = {}
        for index in sorted(range(len(self.steps)), key=lambda at: (self.steps[at].lag, at)):
            for buffer in (*self.steps[index].reads, self.steps[index].buffer):
                last[buffer] = index
        last.pop(FROM_MEMORY, None)
        return [[buffer for buffer in last if last[buffer] == index] for index in range(len(self.steps))]

    def _walk(self, tiles: Sequence[int]) -> Iterator[tuple[int, ...]]:
        for tile in tiles:
            for serial in range(self.serial_steps):
                yield self.position(tile, serial)

    @cached_property
    def reductions(self) -> tuple[Loop, ...]:
        """The loops of the anchor's reduction."""
        rank = self.workload.graph.ops[-1].rank
        return tuple(loop for loop in self.loops if loop.dim >= rank)

    def _is_last(self, position: tuple[int, ...]) -> bool:
        return all(position[loop.dim] == loop.count - 1 for loop in self.reductions)

    def _starts_anew(self, step: Step, position: tuple[int, ...]) -> bool:
        """Whether a step fills a fresh slot: an accumulating op does so only at its first reduction step."""
        if step.action is Action.COMPUTE and step.op == self.anchor:
            return all(position[loop.dim] == 0 for loop in self.reductions)
        return True

    def _fires(self, number: int, position: Position, fired: Mapping[int, Position]) -> bool:
        step = self.steps[number]
        if step.late and not self._is_last(position):
            return False
        before = fired.get(number)
        return before is None or any(before[dim] != position[dim] for dim in step.moves)

    def _dies(self, filler: int, visit: _Visit, fired: Mapping[int, Position]) -> bool:
        """Whether no later step uses what step `filler` has left at a position."""
        step = self.steps[filler]
        lasts = step.late or (step.action is Action.COMPUTE and step.op == self.anchor)
        if filler not in fired or (lasts and not self._is_last(visit.position)):
            return False
        return visit.following is None or self._refills(step, visit.position, visit.following)

    def _refills(self, step: Step, position: tuple[int, ...], following: tuple[int, ...]) -> bool:
        """Whether the step's next firing comes before any further use of its present result."""
        ignored = {loop.dim for loop in self.reductions} if step.late or step.op == self.anchor else set()
        return any(position[dim] != following[dim] for dim in step.moves if dim not in ignored)


@dataclass(frozen=True, eq=False)
class KernelCall:
    """A lowered kernel in its place: the group it came from, whose values and ops it works on, its cores."""

    kernel: Kernel
    program: KernelProgram
    cores: CoreRange


@dataclass(frozen=True)
class HostCall:
    """An op without structured form: `op` (position in graph.ops) runs on the host, over the host link."""

    op: int


@dataclass(frozen=True, eq=False)
class Program:
    """Stages in order; kernels of a stage run side by side, a barrier ends it.

    `offsets` places values that live in the LLB between kernels, in bytes; `llb_bytes` is the arena.
    """

    stages: tuple[tuple[KernelCall | HostCall, ...], ...]
    offsets: Mapping[int, int]
    llb_bytes: int
