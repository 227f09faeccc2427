"""Program: a Schedule lowered for a Target. Flat interval tables and loop descriptors; instructions are a view.

A kernel is one loop nest. Its parallel loops are numbered through, outermost slowest, and cut into one
contiguous run of tiles per core; inside each tile the core walks the scan and reduction loops. A `Step` is an
instruction template: it fires when one of the loops it moves with has changed since it last fired, `late`
steps only at the last reduction step of a tile.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from compiler_core.regions import Span
from compiler_core.schedule import CoreRange
from compiler_core.workload import Kernel, Workload

FROM_MEMORY = -1
"""A read that goes past L1: rows by an indexed DMA."""


class Action(StrEnum):
    """What an instruction does."""

    LOAD = "load"
    COMPUTE = "compute"
    STORE = "store"
    FREE = "free"


@dataclass(frozen=True)
class Loop:
    """One loop of the nest: `count` tiles of `tile` over `extent`; `dim` is its dim in the interval tables."""

    dim: int
    extent: int
    tile: int
    count: int
    parallel: bool


@dataclass(frozen=True, eq=False)
class Buffer:
    """Room in L1 for the tiles of one value.

    `region` has the interval of each dim of the value per tile. `slots` copies of `slot_bytes` lie from
    `offset` on; buffers with the same `storage` take turns in the same room.
    """

    value: int
    region: tuple[Span, ...]
    element_bytes: int
    slots: int
    slot_bytes: int
    storage: int
    offset: int


@dataclass(frozen=True, eq=False)
class Step:
    """An instruction template. LOAD fills `buffer`; COMPUTE runs `op`, reads a buffer per operand
    (or FROM_MEMORY) and fills `buffer`; STORE empties it. `moves` are positions in the loop nest.
    """

    action: Action
    buffer: int
    moves: tuple[int, ...]
    late: bool
    op: int = -1
    reads: tuple[int, ...] = ()


@dataclass(frozen=True)
class Instruction:
    """One instruction of the lazy view: `tile` is the position of every loop, `slot` the copy of the buffer."""

    action: Action
    step: int
    buffer: int
    slot: int
    tile: tuple[int, ...]


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
        return range(
            core * self.parallel_tiles // self.cores, (core + 1) * self.parallel_tiles // self.cores
        )

    def position(self, parallel_tile: int, serial_step: int) -> tuple[int, ...]:
        """The position of every loop of the nest."""
        at: list[int] = []
        for loop in reversed(self.loops):
            if loop.parallel:
                parallel_tile, index = divmod(parallel_tile, loop.count)
            else:
                serial_step, index = divmod(serial_step, loop.count)
            at.append(index)
        return tuple(reversed(at))

    def at(self, span: Span, position: tuple[int, ...]) -> tuple[int, int]:
        """One interval of a table, at a position of the loop nest."""
        low, high = span
        index = [0] * low.ndim
        for loop, at in zip(self.loops, position, strict=True):
            index[loop.dim] = at
        return (
            int(low[tuple(i if n > 1 else 0 for i, n in zip(index, low.shape, strict=True))]),
            int(high[tuple(i if n > 1 else 0 for i, n in zip(index, high.shape, strict=True))]),
        )

    def instructions(self, core: int) -> Iterator[Instruction]:
        """Everything core `core` executes, in order. A slot is freed after the last step that uses it."""
        fired: dict[int, tuple[int, ...]] = {}
        version = [-1] * len(self.buffers)
        walk = self._walk(core)
        position = next(walk, None)
        while position is not None:
            following = next(walk, None)
            for number in self._firing(position, fired):
                step = self.steps[number]
                fired[number] = position
                if step.action is not Action.STORE and self._starts_anew(step, position):
                    version[step.buffer] += 1
                yield Instruction(step.action, number, step.buffer, self._slot(step.buffer, version), position)
            for buffer in self._dying(position, following, fired):
                yield Instruction(Action.FREE, -1, buffer, self._slot(buffer, version), position)
            position = following

    def _slot(self, buffer: int, version: list[int]) -> int:
        return max(0, version[buffer]) % self.buffers[buffer].slots

    def _walk(self, core: int) -> Iterator[tuple[int, ...]]:
        for tile in self.tiles_of(core):
            for serial in range(self.serial_steps):
                yield self.position(tile, serial)

    def _is_last(self, position: tuple[int, ...]) -> bool:
        return all(
            at == loop.count - 1 for loop, at in zip(self.loops, position, strict=True) if self._reduces(loop)
        )

    def _reduces(self, loop: Loop) -> bool:
        return not loop.parallel and loop.dim in self.reduction_dims

    @cached_property
    def reduction_dims(self) -> frozenset[int]:
        """Dims of the interval tables that belong to the anchor's reduction."""
        rank = self.workload.graph.ops[-1].rank
        return frozenset(loop.dim for loop in self.loops if loop.dim >= rank)

    def _starts_anew(self, step: Step, position: tuple[int, ...]) -> bool:
        """Whether a step fills a fresh slot: an accumulating op does so only at its first reduction step."""
        if step.action is Action.COMPUTE and step.op == self.anchor:
            return all(
                at == 0 for loop, at in zip(self.loops, position, strict=True) if self._reduces(loop)
            )
        return True

    def _firing(self, position: tuple[int, ...], fired: Mapping[int, tuple[int, ...]]) -> Iterator[int]:
        last = self._is_last(position)
        for number, step in enumerate(self.steps):
            if step.late and not last:
                continue
            before = fired.get(number)
            if before is None or any(before[loop] != position[loop] for loop in step.moves):
                yield number

    def _dying(
        self, position: tuple[int, ...], following: tuple[int, ...] | None, fired: Mapping[int, tuple[int, ...]]
    ) -> Iterator[int]:
        """Buffers whose present contents no later step uses."""
        last = self._is_last(position)
        for number, step in enumerate(self.steps):
            if step.action is Action.STORE or number not in fired or (step.late and not last):
                continue
            if step.op >= 0 and step.op == self.anchor and not last:
                continue
            if following is None or self._refills(step, position, following):
                yield step.buffer

    def _refills(self, step: Step, position: tuple[int, ...], following: tuple[int, ...]) -> bool:
        """Whether the step's next firing comes before any further use of what it left now."""
        if step.late or step.op == self.anchor:
            return any(
                position[loop] != following[loop]
                for loop in step.moves
                if not self._reduces(self.loops[loop])
            )
        return any(position[loop] != following[loop] for loop in step.moves)


@dataclass(frozen=True, eq=False)
class KernelCall:
    """A lowered kernel in its place: the group it came from, whose values and ops it works on, its cores."""

    kernel: Kernel
    program: KernelProgram
    cores: CoreRange


@dataclass(frozen=True, eq=False)
class Program:
    """Stages in order; kernels of a stage run side by side, a barrier ends it.

    `offsets` places values that live in the LLB between kernels, in bytes; `llb_bytes` is the arena.
    """

    stages: tuple[tuple[KernelCall, ...], ...]
    offsets: Mapping[int, int]
    llb_bytes: int
