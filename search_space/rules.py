"""Which knobs a kernel on a target offers, and which combinations fit: the Space of a Workload.

Validity is decided for thousands of rows at once, without lowering them: rows are sorted by which loops they
cut, each cut has one outline, and bytes are products of widths looked up by tile size.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations

import numpy as np
import numpy.typing as npt

from compiler_core.lower import ALIGNMENT_BYTES, disjoint, inner_result_axes, moves_enough
from compiler_core.ops import AxisKind
from compiler_core.outline import BufferOutline, Outline, SlotKnob, outline
from compiler_core.regions import NO_ANCHOR, Regions
from compiler_core.target import Target
from compiler_core.tile import loop_sizes
from search_space.knobs import Knob, Rows
from search_space.space import Space

RULES = "2"
"""Version of the validity rules: part of every space's digest."""
MOST_ORDERED_AXES = 4
"""Loop orders of more axes than this are limited to the choice of the innermost loop."""

Counts = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]


def kernel_space(layout: "KnobLayout") -> Space:
    """The Space of one kernel: tile sizes, reduction splits, loop order, buffering, cores."""
    return Space(
        knobs=layout.knobs,
        feasible=layout.feasible,
        rules=f"{RULES} {layout.regions.workload.family_digest} {layout.target.digest}",
        canonical=layout.canonical,
    )


def core_counts(cores: int) -> tuple[int, ...]:
    """Powers of two below `cores`, and `cores`."""
    return (*(1 << k for k in range(cores.bit_length()) if 1 << k < cores), cores)


def cores_with_work(tiles: int, cores: int) -> int:
    """The smallest listed core count that gives every tile a core of its own, or all cores."""
    return next((count for count in core_counts(cores) if count >= tiles), cores)


@dataclass(frozen=True, eq=False)
class KnobLayout:
    """Where each knob of a kernel's Space stands, and what its value positions mean."""

    regions: Regions
    target: Target
    _widths: dict[tuple[int, int, bool | None], tuple[Counts, tuple[int, ...]]] = field(default_factory=dict)
    _disjoint: dict[tuple[int, int], tuple[Truths, tuple[int, ...]]] = field(default_factory=dict)
    _equal_orders: dict[frozenset[int], Rows] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Useful tile sizes per loop, ascending."""
        return loop_sizes(self.regions, self.target)

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The knobs in column order: one per loop worth cutting, then order, slots, cores."""
        return tuple(knob for knob, _ in self._columns)

    @cached_property
    def tiled_loops(self) -> tuple[int, ...]:
        """Loops with more than one useful size, in column order: loop k's column is its place here."""
        return tuple(loop for loop, sizes in enumerate(self.sizes) if len(sizes) > 1)

    @cached_property
    def _columns(self) -> tuple[tuple[Knob, str], ...]:
        return tuple(self._make_columns())

    def _make_columns(self) -> Iterator[tuple[Knob, str]]:
        rank = self.regions.graph.ops[self.regions.root].rank
        for loop in self.tiled_loops:
            name = f"tile_{loop}" if loop < rank else f"reduction_tile_{loop - rank}"
            yield Knob(name, self.sizes[loop]), "tile"
        yield Knob("loop_order", tuple(map(order_text, self.orders)), ordered=False), "order"
        yield Knob("load_slots", (1, 2, 3)), "load"
        if self.regions.anchor != NO_ANCHOR and self.regions.anchor != self.regions.root:
            yield Knob("accumulator_slots", (1, 2)), "accumulator"
        yield Knob("store_slots", (1, 2)), "store"
        yield Knob("cores", core_counts(self.target.cores)), "cores"

    @cached_property
    def orders(self) -> tuple[tuple[int, ...], ...]:
        """Loop orders of the parallel axes longer than one, outermost first; the model's order first."""
        axes = [d for d in self.tiled_loops if self.regions.loops[d].kind is AxisKind.PARALLEL]
        if len(axes) <= MOST_ORDERED_AXES:
            return tuple(permutations(axes))
        return tuple((*(d for d in axes if d != innermost), innermost) for innermost in reversed(axes))

    def column(self, kind: str) -> int:
        """The column of the knob that is the only one of its kind; -1 where the kernel has none."""
        return self._column_of.get(kind, -1)

    @cached_property
    def _column_of(self) -> dict[str, int]:
        return {kind: at for at, (_, kind) in enumerate(self._columns)}

    def loop_positions(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Position of the chosen size in `sizes` of every loop, [n, loops]."""
        positions = np.zeros((len(rows), len(self.sizes)), dtype=np.int64)
        for at, loop in enumerate(self.tiled_loops):
            positions[:, loop] = rows[:, at]
        return positions

    def canonical(self, rows: Rows) -> Rows:
        """Rows with one value for every choice that changes nothing: unused slots, order of uncut loops."""
        settled = rows.copy()
        order = self.column("order")
        for cut, chosen in self.by_cut(self.loop_positions(rows)):
            used = {buffer.slots for buffer in outline(self.regions, cut, self.target).buffers}
            for knob in (SlotKnob.LOAD, SlotKnob.ACCUMULATOR, SlotKnob.STORE):
                if knob not in used and self.column(knob) >= 0:
                    settled[chosen, self.column(knob)] = 0
            settled[chosen, order] = self._first_equal_order(cut)[rows[chosen, order]]
        return settled

    def _first_equal_order(self, cut: frozenset[int]) -> Rows:
        """For every loop order, the position of the first that orders the loops in `cut` alike."""
        if cut not in self._equal_orders:
            among_cut = [tuple(d for d in order if d in cut) for order in self.orders]
            first = [among_cut.index(order) for order in among_cut]
            self._equal_orders[cut] = np.array(first, dtype=np.int32)
        return self._equal_orders[cut]

    def feasible(self, rows: Rows) -> Truths:
        """Whether rows are canonical, fit L1 and accumulators, store values once, and keep cores busy."""
        positions = self.loop_positions(rows)
        good = np.zeros(len(rows), dtype=np.bool_)
        bytes_of: dict[tuple[int, bool | None, int], Counts] = {}
        for cut, chosen in self.by_cut(positions):
            plan = outline(self.regions, cut, self.target)
            for buffer in plan.buffers:
                if _size_key(buffer) not in bytes_of:
                    bytes_of[_size_key(buffer)] = self._slot_bytes(buffer, positions)
            good[chosen] = self._fits(plan, rows[chosen], chosen, bytes_of) & self._stores_once(
                cut, positions[chosen]
            )
        good &= (self.canonical(rows) == rows).all(axis=1)
        return np.asarray(good & self._cores_have_work(rows, positions), dtype=np.bool_)

    def _slot_bytes(self, buffer: BufferOutline, positions: npt.NDArray[np.int64]) -> Counts:
        size = self.elements(buffer.value, buffer.read_early, positions) * buffer.element_bytes
        return np.asarray(-(-np.maximum(size, 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES, dtype=np.int64)

    def by_cut(
        self, positions: npt.NDArray[np.int64]
    ) -> Iterator[tuple[frozenset[int], npt.NDArray[np.intp]]]:
        """Rows grouped by the set of loops they cut."""
        whole = np.array([len(sizes) - 1 for sizes in self.sizes])
        is_cut = positions < whole
        code = is_cut @ (1 << np.arange(len(self.sizes), dtype=np.int64))
        for value in np.unique(code):
            chosen = np.flatnonzero(code == value)
            yield frozenset(np.flatnonzero(is_cut[chosen[0]]).tolist()), chosen

    def slots(self, rows: Rows, knob: SlotKnob) -> Counts:
        """Copies of a buffer in every row."""
        at = self.column(str(knob)) if knob is not SlotKnob.ONE else -1
        return np.ones(len(rows), dtype=np.int64) if at < 0 else rows[:, at].astype(np.int64) + 1

    def _fits(
        self,
        plan: Outline,
        rows: Rows,
        chosen: npt.NDArray[np.intp],
        bytes_of: dict[tuple[int, bool | None, int], Counts],
    ) -> Truths:
        total = {False: np.zeros(len(rows), dtype=np.int64), True: np.zeros(len(rows), dtype=np.int64)}
        for held in plan.storages:
            first = plan.buffers[held[0]]
            largest = bytes_of[_size_key(first)][chosen]
            for at in held[1:]:
                largest = np.maximum(largest, bytes_of[_size_key(plan.buffers[at])][chosen])
            total[first.accumulator] += largest * self.slots(rows, first.slots)
        return (total[False] <= self.target.l1_bytes) & (total[True] <= self.target.accumulator_bytes)

    def elements(self, value: int, read_early: bool | None, positions: npt.NDArray[np.int64]) -> Counts:
        """The most elements an L1 buffer holds in any tile, [n]."""
        elements = np.ones(len(positions), dtype=np.int64)
        for dim in range(self.regions.rank_of(value)):
            elements *= self.width(value, dim, read_early, positions)
        return elements

    def width(
        self, value: int, dim: int, read_early: bool | None, positions: npt.NDArray[np.int64]
    ) -> Counts:
        """The widest interval of one dim of an L1 buffer in any tile, [n]."""
        table, moves = self._width_table(value, dim, read_early)
        if not moves:
            return np.full(len(positions), int(table), dtype=np.int64)
        return np.asarray(table[tuple([positions[:, loop] for loop in moves])], dtype=np.int64)

    def _width_table(self, value: int, dim: int, read_early: bool | None) -> tuple[Counts, tuple[int, ...]]:
        """The widest interval of a dim for every combination of sizes of the loops it moves with; these."""
        key = (value, dim, read_early)
        if key not in self._widths:
            moves = self.regions.buffer_moves(value, dim, read_early)
            table = np.empty([len(self.sizes[loop]) for loop in moves], dtype=np.int64)
            for index, sizes in self._combinations(moves):
                table[index] = self.regions.widest(value, dim, sizes, read_early)
            self._widths[key] = table, moves
        return self._widths[key]

    def _stores_once(self, cut: frozenset[int], positions: npt.NDArray[np.int64]) -> Truths:
        if len(self.regions.graph.outputs) == 1:
            return np.ones(len(positions), dtype=np.bool_)
        good = np.full(len(positions), moves_enough(self.regions, cut), dtype=np.bool_)
        if good.any():
            for at, axis in inner_result_axes(self.regions):
                table, moves = self._disjoint_table(at, axis)
                good &= table[tuple(positions[:, loop] for loop in moves)]
        return good

    def _disjoint_table(self, at: int, axis: int) -> tuple[Truths, tuple[int, ...]]:
        """Whether tiles of an axis are disjoint, for every combination of sizes of its loops; these loops."""
        key = (at, axis)
        if key not in self._disjoint:
            moves = self.regions.axis_moves(at, axis)
            table = np.empty([len(self.sizes[loop]) for loop in moves], dtype=np.bool_)
            for index, sizes in self._combinations(moves):
                table[index] = disjoint(self.regions, at, axis, sizes)
            self._disjoint[key] = table, moves
        return self._disjoint[key]

    def _combinations(self, loops: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Every combination of sizes of `loops` as positions and as sizes of all loops, the others whole."""
        sizes = [values[-1] for values in self.sizes]
        for index in np.ndindex(*(len(self.sizes[loop]) for loop in loops)):
            for loop, at in zip(loops, index, strict=True):
                sizes[loop] = self.sizes[loop][at]
            yield index, tuple(sizes)

    def parallel_tiles(self, positions: npt.NDArray[np.int64]) -> Counts:
        """Tiles to share out among cores, [n]."""
        tiles = np.ones(len(positions), dtype=np.int64)
        for loop, axis in enumerate(self.regions.loops):
            if axis.kind is AxisKind.PARALLEL:
                counts = np.array([max(1, -(-axis.extent // size)) for size in self.sizes[loop]])
                tiles *= counts[positions[:, loop]]
        return tiles

    def _cores_have_work(self, rows: Rows, positions: npt.NDArray[np.int64]) -> Truths:
        """No core idles by choice: the smallest listed core count that has a tile each, or fewer."""
        counts = np.array(core_counts(self.target.cores))
        at = rows[:, self.column("cores")]
        smaller = counts[np.maximum(at - 1, 0)]
        return np.asarray((at == 0) | (smaller < self.parallel_tiles(positions)), dtype=np.bool_)


def _size_key(buffer: BufferOutline) -> tuple[int, bool | None, int]:
    """What the bytes of a buffer depend on: the same whatever loops are cut and whoever shares its room."""
    return buffer.value, buffer.read_early, buffer.element_bytes


def order_text(order: tuple[int, ...]) -> str:
    """A loop order as a knob value: "0 2 3", outermost first."""
    return " ".join(map(str, order))
