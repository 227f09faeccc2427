"""Lower one kernel: Workload and Tiling to loops, buffers and steps. ConfigError where it cannot be.

The steps of a tile come in the order of the ops; each outer operand is loaded just before its first reader.
Every L1 byte is accounted for: `KernelProgram.l1_bytes` counts all slots of all buffers.
"""

from dataclasses import dataclass, replace

import numpy as np

from compiler_core.errors import ConfigError
from compiler_core.ops import AxisKind, Unit
from compiler_core.program import FROM_MEMORY, Action, Buffer, KernelProgram, Loop, Step
from compiler_core.regions import Regions, Span
from compiler_core.schedule import Tiling
from compiler_core.target import Target

ALIGNMENT_BYTES = 32


def lower_kernel(regions: Regions, tiling: Tiling, cores: int, target: Target) -> KernelProgram:
    """The kernel of `regions.workload` under `tiling` on `cores` cores of `target`.

    Raises ConfigError when a tile is out of range, a split breaks a rule, or the working set exceeds L1.
    """
    sizes = (*tiling.tile, *tiling.reduction_tile)
    _check_sizes(regions, tiling, sizes)
    loops = _nest(regions, tiling, sizes)
    nest_position = {loop.dim: at for at, loop in enumerate(loops)}
    draft = _Draft(regions, tiling, target, sizes, nest_position)
    draft.emit()
    buffers = _place(draft.buffers, draft.shares)
    l1_bytes = max((b.offset + b.slots * b.slot_bytes for b in buffers), default=0)
    if l1_bytes > target.l1_bytes:
        raise ConfigError(f"the tile {list(sizes)} needs {l1_bytes} bytes of L1, a core has {target.l1_bytes}")
    domains = tuple(
        tuple(regions.axis_span(at, axis, sizes) for axis in range(len(op.domain)))
        for at, op in enumerate(regions.graph.ops)
    )
    return KernelProgram(
        regions.workload, loops, buffers, tuple(draft.steps), domains, regions.anchor, cores, l1_bytes
    )


def _check_sizes(regions: Regions, tiling: Tiling, sizes: tuple[int, ...]) -> None:
    if len(sizes) != len(regions.loops) or sorted(tiling.loop_order) != list(range(len(tiling.tile))):
        raise ConfigError(f"a tiling of {len(sizes)} sizes does not fit a kernel of {len(regions.loops)} loops")
    for loop, size in zip(regions.loops, sizes, strict=True):
        if not 1 <= size <= max(1, loop.extent):
            raise ConfigError(f"tile size {size} is outside 1..{loop.extent}")
    if any(size < loop.extent for loop, size in zip(regions.loops, sizes, strict=True)):
        _check_stored_inner(regions, sizes)


def _check_stored_inner(regions: Regions, sizes: tuple[int, ...]) -> None:
    """A value stored besides the root's must be cut into disjoint tiles, each stored once.

    An inner value that does not move with some parallel loop would be stored once per tile of it.
    """
    cut = {
        at
        for at, loop in enumerate(regions.loops)
        if sizes[at] < loop.extent and loop.kind is not AxisKind.REDUCTION
    }
    for value in regions.graph.outputs[1:]:
        at = regions.graph.producer[value]
        op = regions.graph.ops[at]
        moved: set[int] = set()
        for axis in op.result_axes:
            low, high = regions.axis_span(at, axis, sizes)
            moved |= regions.moves[at][axis]
            if not _partitions((low, high), op.extents[axis]):
                raise ConfigError(f"stored inner value {value} is not cut into disjoint tiles by {list(sizes)}")
        if not cut <= moved:
            raise ConfigError(f"stored inner value {value} would be stored more than once by {list(sizes)}")


def _partitions(span: Span, extent: int) -> bool:
    """Whether the intervals, which move with at most one loop, lie end to end from 0 to `extent`."""
    if sum(n > 1 for n in span[0].shape) > 1:
        return False
    low, high = span[0].reshape(-1), span[1].reshape(-1)
    return bool(low[0] == 0 and high[-1] == extent and np.array_equal(low[1:], high[:-1]))


def _nest(regions: Regions, tiling: Tiling, sizes: tuple[int, ...]) -> tuple[Loop, ...]:
    """Loops outermost first: parallel ones in the tiling's order, then scans, then reductions."""
    parallel = [d for d in tiling.loop_order if regions.loops[d].kind is AxisKind.PARALLEL]
    serial = [d for d, loop in enumerate(regions.loops) if loop.kind is not AxisKind.PARALLEL]
    return tuple(
        Loop(
            dim,
            regions.loops[dim].extent,
            sizes[dim],
            max(1, -(-regions.loops[dim].extent // sizes[dim])),
            regions.loops[dim].kind is AxisKind.PARALLEL,
        )
        for dim in (*parallel, *serial)
    )


@dataclass(frozen=True)
class _Sharing:
    """What decides whether a buffer may take turns with others: fresh in every tile, one slot, born and dead."""

    shareable: bool
    late: bool
    born: int
    dies: int
    in_place_of: int


class _Draft:
    """Collects steps and buffers of one kernel, in execution order: early ops, then late ops, then stores."""

    def __init__(
        self,
        regions: Regions,
        tiling: Tiling,
        target: Target,
        sizes: tuple[int, ...],
        nest_position: dict[int, int],
    ) -> None:
        self.regions = regions
        self.tiling = tiling
        self.target = target
        self.sizes = sizes
        self.nest_position = nest_position
        self.steps: list[Step] = []
        self.buffers: list[Buffer] = []
        self.shares: list[_Sharing] = []
        self.loaded: dict[tuple[int, bool], int] = {}
        self.computed: dict[int, int] = {}

    def emit(self) -> None:
        graph = self.regions.graph
        early = self.regions.early
        for late in (False, True):
            for at in range(len(graph.ops)):
                if (at not in early) == late:
                    self._emit_op(at, late)
        for value in graph.outputs:
            buffer = self.computed[value]
            self.steps.append(Step(Action.STORE, buffer, self._parallel_moves(), late=True))
        self._set_deaths()

    def _moving(self, dims: frozenset[int]) -> tuple[int, ...]:
        """Loops of the nest (positions) that are really cut, among table dims."""
        return tuple(
            sorted(
                self.nest_position[dim]
                for dim in dims
                if self.sizes[dim] < self.regions.loops[dim].extent
            )
        )

    def _parallel_moves(self) -> tuple[int, ...]:
        loops = self.regions.loops
        return self._moving(
            frozenset(d for d, loop in enumerate(loops) if loop.kind is not AxisKind.REDUCTION)
        )

    def _emit_op(self, at: int, late: bool) -> None:
        graph = self.regions.graph
        op = graph.ops[at]
        reads: list[int] = []
        for access in op.operands:
            if access.value in self.computed:
                reads.append(self.computed[access.value])
            elif access.is_data_dependent:
                reads.append(FROM_MEMORY)
            else:
                reads.append(self._load(access.value, late))
        region = tuple(self.regions.axis_span(at, axis, self.sizes) for axis in op.result_axes)
        stored = op.result in graph.outputs
        anchor = at == self.regions.anchor
        wide = anchor or (op.row.unit is Unit.MATRIX)
        dtype = graph.values[op.result].dtype
        element = self.target.accumulator_bytes(dtype) if wide else self.target.storage_bytes(dtype)
        cut = self._moving(frozenset[int]().union(*self.regions.moves[at]))
        all_loops = self._moving(frozenset(range(len(self.sizes))))
        if anchor and any(not self._is_parallel(loop) for loop in cut):
            # A split reduction starts over in every tile, also in tiles that its result does not move with.
            cut = all_loops
        slots = 1
        if stored and self._parallel_moves():
            slots = self.tiling.store_slots
        elif anchor and self._parallel_moves():
            slots = self.tiling.accumulator_slots
        fresh = set(cut) >= set(self._parallel_moves() if late else all_loops)
        self.computed[op.result] = self._add_buffer(
            op.result,
            region,
            element,
            slots,
            _Sharing(
                shareable=not stored and not anchor and slots == 1 and fresh,
                late=late,
                born=len(self.steps),
                dies=len(self.steps),
                in_place_of=self._in_place(at, reads),
            ),
        )
        self.steps.append(Step(Action.COMPUTE, self.computed[op.result], cut, late, at, tuple(reads)))

    def _is_parallel(self, position: int) -> bool:
        dim = next(d for d, at in self.nest_position.items() if at == position)
        return self.regions.loops[dim].kind is AxisKind.PARALLEL

    def _in_place(self, at: int, reads: list[int]) -> int:
        """The buffer an elementwise op may overwrite: read point by point, by no one later."""
        op = self.regions.graph.ops[at]
        if op.reduction_axes or op.row.unit is Unit.MATRIX:
            return -1
        for access, read in zip(op.operands, reads, strict=True):
            once = sum(a.value == access.value for a in op.operands) == 1
            if read != FROM_MEMORY and once and access.is_identity(op.rank):
                last = max(self.regions.graph.readers[access.value]) == at
                if last and access.value in self.regions.graph.producer:
                    return read
        return -1

    def _load(self, value: int, late: bool) -> int:
        early = not late
        if (value, late) in self.loaded:
            return self.loaded[value, late]
        shape = self.regions.graph.shape(value)
        region = tuple(self.regions.value_span(value, dim, self.sizes, early) for dim in range(len(shape)))
        cut = self._moving(self.regions.value_moves(value, early))
        element = self.target.storage_bytes(self.regions.graph.values[value].dtype)
        buffer = self._add_buffer(
            value,
            region,
            element,
            self.tiling.load_slots if cut else 1,
            _Sharing(False, late, len(self.steps), len(self.steps), -1),
        )
        self.loaded[value, late] = buffer
        self.steps.append(Step(Action.LOAD, buffer, cut, late))
        return buffer

    def _add_buffer(
        self, value: int, region: tuple[Span, ...], element: int, slots: int, sharing: _Sharing
    ) -> int:
        size = element
        for low, high in region:
            size *= int((high - low).max())
        aligned = -(-max(size, 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        self.buffers.append(Buffer(value, region, element, slots, aligned, -1, -1))
        self.shares.append(sharing)
        return len(self.buffers) - 1

    def _set_deaths(self) -> None:
        for number, step in enumerate(self.steps):
            for buffer in (*step.reads, step.buffer):
                if buffer != FROM_MEMORY:
                    self.shares[buffer] = replace(self.shares[buffer], dies=number)


def _place(buffers: list[Buffer], shares: list[_Sharing]) -> tuple[Buffer, ...]:
    """Give every buffer its storage and offset; short-lived ones take turns, elementwise ops work in place."""
    storage_of: list[int] = []
    tenants: list[list[int]] = []
    for at, sharing in enumerate(shares):
        chosen = -1
        if sharing.shareable:
            chosen = next(
                (s for s, held in enumerate(tenants) if _may_join(at, held, buffers, shares)), -1
            )
        if chosen < 0:
            tenants.append([])
            chosen = len(tenants) - 1
        tenants[chosen].append(at)
        storage_of.append(chosen)
    offsets: list[int] = []
    room: list[int] = []
    at_byte = 0
    for held in tenants:
        slot_bytes = max(buffers[b].slot_bytes for b in held)
        offsets.append(at_byte)
        room.append(slot_bytes)
        at_byte += slot_bytes * buffers[held[0]].slots
    return tuple(
        replace(buffer, storage=storage, offset=offsets[storage], slot_bytes=room[storage])
        for buffer, storage in zip(buffers, storage_of, strict=True)
    )


def _may_join(at: int, held: list[int], buffers: list[Buffer], shares: list[_Sharing]) -> bool:
    """Whether buffer `at` may take a storage whose tenants have all died, or whose last one it overwrites."""
    mine = shares[at]
    for other in held:
        theirs = shares[other]
        if not theirs.shareable or theirs.late != mine.late:
            return False
        in_place = mine.in_place_of == other and buffers[other].element_bytes >= buffers[at].element_bytes
        if theirs.dies > mine.born or (theirs.dies == mine.born and not in_place):
            return False
    return True
