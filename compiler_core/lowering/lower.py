"""Lower one kernel: Workload and Tiling to loops, buffers and steps. ConfigError where it cannot be.

Every byte is accounted for: `KernelProgram.l1_bytes` counts all slots of all buffers of a core.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.outline import outline
from tilewright.compiler_core.lowering.program import Buffer, KernelProgram, Loop
from tilewright.compiler_core.lowering.regions import NO_ANCHOR, Regions, Span
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.lowering.steps import BufferOutline, Outline, SlotKnob
from tilewright.compiler_core.target_model.product import limited_axes
from tilewright.compiler_core.target_model.target import CubeUnit, Target

ALIGNMENT_BYTES = 32


def lower_kernel(regions: Regions, tiling: Tiling, cores: int, target: Target) -> KernelProgram:
    """The kernel of `regions.workload` under `tiling` on `cores` cores of `target`.

    Raises ConfigError when a tile is out of range, a split breaks a rule, or the working set exceeds L1 or
    the accumulator memory.
    """
    sizes = (*tiling.tile, *tiling.reduction_tile)
    _check_sizes(regions, tiling, sizes)
    cut = frozenset(d for d, loop in enumerate(regions.loops) if sizes[d] < loop.extent)
    if not storable(regions, cut, sizes):
        raise ConfigError(
            f"a value stored besides the root's is not cut into disjoint tiles by {list(sizes)}"
        )
    if not fits_matrix_unit(regions, sizes, target):
        raise ConfigError(f"the tile {list(sizes)} has more columns than the matrix unit takes at once")
    plan = outline(regions, cut, target, tiling.tiles_in_flight)
    storages = tuple(
        storages_of(plan, lambda b: regions.buffer_elements(b.value, sizes, b.read_early), tiling, target)
    )
    l1_bytes, accumulator_bytes = room_of(storages)
    _check_room(sizes, l1_bytes, target.l1_bytes, "L1")
    _check_room(sizes, accumulator_bytes, target.accumulator_bytes, "accumulator memory")
    return KernelProgram(
        workload=regions.workload,
        loops=_nest(regions, tiling, sizes),
        buffers=_place(regions, plan, storages, sizes),
        steps=plan.steps,
        domains=tuple(
            tuple(regions.axis_span(index, axis, sizes) for axis in range(len(op.domain)))
            for index, op in enumerate(regions.graph.ops)
        ),
        anchor=regions.anchor,
        cores=cores,
        l1_bytes=l1_bytes,
    )


def _check_sizes(regions: Regions, tiling: Tiling, sizes: tuple[int, ...]) -> None:
    if len(sizes) != len(regions.loops) or sorted(tiling.loop_order) != list(range(len(tiling.tile))):
        raise ConfigError(
            f"a tiling of {len(sizes)} sizes does not fit a kernel of {len(regions.loops)} loops"
        )
    if tiling.tiles_in_flight not in (1, 2):
        raise ConfigError(f"{tiling.tiles_in_flight} tiles are in flight on a core; there can be 1 or 2")
    for loop, size in zip(regions.loops, sizes, strict=True):
        if not 1 <= size <= max(1, loop.extent):
            raise ConfigError(f"tile size {size} is outside 1..{loop.extent}")


def storable(regions: Regions, cut: frozenset[int], sizes: tuple[int, ...]) -> bool:
    """Whether every value stored besides the root's is cut into disjoint tiles, each stored once."""
    return moves_enough(regions, cut) and all(
        disjoint(regions, op, axis, sizes) for op, axis in inner_result_axes(regions)
    )


def fits_matrix_unit(regions: Regions, sizes: tuple[int, ...], target: Target) -> bool:
    """Whether no tile of the anchor has more columns than a block of the matrix unit."""
    if regions.anchor == NO_ANCHOR or not isinstance(target.matrix, CubeUnit):
        return True
    op = regions.graph.ops[regions.anchor]
    axes = limited_axes(op, target)
    return (
        not axes
        or prod([regions.widest(op.result, axis, sizes, None) for axis in axes]) <= target.matrix.largest_n
    )


def inner_result_axes(regions: Regions) -> list[tuple[int, int]]:
    """Op and axis for every dim of the values stored besides the root's."""
    stored = [regions.graph.producer[value] for value in regions.graph.outputs[1:]]
    return [(index, axis) for index in stored for axis in regions.graph.ops[index].result_axes]


def moves_enough(regions: Regions, cut: frozenset[int]) -> bool:
    """Whether values stored besides the root's move with every tile loop of `cut`: none is stored twice."""
    tile_cut = {d for d in cut if regions.loops[d].kind is not AxisKind.REDUCTION}
    moved: dict[int, set[int]] = {}
    for op, axis in inner_result_axes(regions):
        moved.setdefault(op, set()).update(regions.axis_moves(op, axis))
    return all(tile_cut <= loops for loops in moved.values())


def disjoint(regions: Regions, at: int, axis: int, sizes: tuple[int, ...]) -> bool:
    """Whether the tiles of one axis of op `at` lie end to end over all of it."""
    return _partitions(regions.axis_span(at, axis, sizes), regions.graph.ops[at].extents[axis])


def _partitions(span: Span, extent: int) -> bool:
    """Whether the intervals, which move with at most one loop, lie end to end from 0 to `extent`."""
    if sum(n > 1 for n in span[0].shape) > 1:
        return False
    low, high = span[0].reshape(-1), span[1].reshape(-1)
    return bool(low[0] == 0 and high[-1] == extent and (low[1:] == high[:-1]).all())


def _check_room(sizes: tuple[int, ...], needed: int, room: int, where: str) -> None:
    if needed > room:
        raise ConfigError(f"the tile {list(sizes)} needs {needed} bytes of {where}, a core has {room}")


def _nest(regions: Regions, tiling: Tiling, sizes: tuple[int, ...]) -> tuple[Loop, ...]:
    """Loops outermost first: those of one tile, parallel ones as ordered, scans, reductions."""
    loops = regions.loops
    uncut = [d for d in sorted(tiling.loop_order) if sizes[d] >= loops[d].extent]
    ordered = [*uncut, *(d for d in tiling.loop_order if d not in uncut)]
    parallel = [d for d in ordered if loops[d].kind is AxisKind.PARALLEL]
    serial = [d for d, loop in enumerate(loops) if loop.kind is not AxisKind.PARALLEL]
    return tuple(
        Loop(d, loops[d].extent, sizes[d], max(1, -(-loops[d].extent // sizes[d])), d in parallel)
        for d in (*parallel, *serial)
    )


def slots_of(knob: SlotKnob, tiling: Tiling, target: Target) -> int:
    """Copies of a buffer under a Tiling, where the target leaves the choice."""
    return {
        SlotKnob.ONE: 1,
        SlotKnob.LOAD: target.fixed_slots or tiling.load_slots,
        SlotKnob.ACCUMULATOR: target.fixed_slots or tiling.accumulator_slots,
        SlotKnob.STORE: tiling.store_slots,
    }[knob]


@dataclass(frozen=True)
class Storage:
    """Room for the tiles of the buffers `held`, which take turns: `slots` copies of the largest."""

    held: tuple[int, ...]
    slots: int
    slot_bytes: int
    accumulator: bool


def storages_of(
    plan: Outline, elements_of: Callable[[BufferOutline], int], tiling: Tiling, target: Target
) -> Iterator[Storage]:
    """The storages of an outline; `elements_of` has the most elements of a buffer in any tile."""
    for held in plan.storages:
        first = plan.buffers[held[0]]
        slots = slots_of(first.slots, tiling, target) + first.outlived
        sizes = [elements_of(plan.buffers[index]) * plan.buffers[index].element_bytes for index in held]
        yield Storage(held, slots, max(map(_aligned, sizes)), first.accumulator)


def room_of(storages: Iterable[Storage]) -> tuple[int, int]:
    """Bytes that storages take in L1, and in the accumulator memory."""
    taken = [0, 0]
    for storage in storages:
        taken[storage.accumulator] += storage.slots * storage.slot_bytes
    return taken[0], taken[1]


def _place(
    regions: Regions, plan: Outline, storages: Sequence[Storage], sizes: tuple[int, ...]
) -> tuple[Buffer, ...]:
    """Buffers with their regions and offsets: storages one behind the other."""
    placed: dict[int, Buffer] = {}
    next_byte = {False: 0, True: 0}
    for number, storage in enumerate(storages):
        for index in storage.held:
            buffer = plan.buffers[index]
            dims = range(regions.rank_of(buffer.value))
            placed[index] = Buffer(
                value=buffer.value,
                region=tuple([regions.buffer_span(buffer.value, d, sizes, buffer.read_early) for d in dims]),
                element_bytes=buffer.element_bytes,
                slots=storage.slots,
                slot_bytes=storage.slot_bytes,
                storage=number,
                offset=next_byte[storage.accumulator],
                accumulator=storage.accumulator,
            )
        next_byte[storage.accumulator] += storage.slots * storage.slot_bytes
    return tuple(placed[index] for index in range(len(plan.buffers)))


def _aligned(size: int) -> int:
    return -(-max(size, 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
