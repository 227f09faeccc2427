"""The knobs of a kernel on a target, and the meaning of rows of their positions: sizes, slots, widths.

Everything is answered for thousands of rows at once, without lowering them: widths come from tables by tile
size.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.regions import NO_ANCHOR, Regions
from tilewright.compiler_core.lowering.steps import SlotKnob
from tilewright.compiler_core.lowering.tile import granule_of, loop_sizes
from tilewright.compiler_core.lowering.turns import handovers_of
from tilewright.compiler_core.lowering.widths import BufferKey, Widths
from tilewright.compiler_core.target_model.target import SimdUnit, Target
from tilewright.search_space.blocking import NAMES, blocking_knobs
from tilewright.search_space.knobs import Knob, Rows
from tilewright.search_space.row_tables import ABSENT, Boxes, RowTables, flat_tables, ints, starts

MOST_ORDERED_AXES = 4
"""Loop orders of more axes than this are limited to the choice of the innermost loop."""
IN_FLIGHT = "in_flight"
"""Kind of the column of `tiles_in_flight`."""

Counts = npt.NDArray[np.int64]


def core_counts(cores: int) -> tuple[int, ...]:
    """Powers of two below `cores`, and `cores`."""
    return (*(1 << k for k in range(cores.bit_length()) if 1 << k < cores), cores)


def cores_with_work(tiles: int, cores: int) -> int:
    """The smallest listed core count that gives every tile a core of its own, or all cores."""
    return next((count for count in core_counts(cores) if count >= tiles), cores)


@dataclass(frozen=True, eq=False)
class KnobLayout:
    """The column of each knob of a kernel's Space, and the meaning of its value positions."""

    regions: Regions
    target: Target

    @cached_property
    def widths(self) -> Widths:
        """The widest tiles of every buffer by tile sizes."""
        return Widths(self.regions, self.sizes)

    @cached_property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Useful tile sizes per loop, ascending."""
        return loop_sizes(self.regions, self.target)

    @cached_property
    def knobs(self) -> tuple[Knob, ...]:
        """The knobs in column order: one per loop worth cutting, then order, slots, cores."""
        return tuple(knob for knob, _ in self._columns)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of the knob of each column."""
        return tuple([kind for _, kind in self._columns])

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
        if isinstance(self.target.matrix, SimdUnit):
            for knob in blocking_knobs(self.regions, self.target.matrix, granule_of(self.target)):
                yield knob, knob.name
            yield Knob("cores", core_counts(self.target.cores)), "cores"
            return
        if not self.target.fixed_slots:
            yield Knob("load_slots", (1, 2, 3)), "load"
            if self.regions.anchor != NO_ANCHOR and self.regions.anchor != self.regions.root:
                yield Knob("accumulator_slots", (1, 2)), "accumulator"
        yield Knob("store_slots", (1, 2)), "store"
        if not self.target.fixed_slots and max(self.turns) > 0:
            yield Knob("tiles_in_flight", (1, 2), absent=1), IN_FLIGHT
        yield Knob("cores", core_counts(self.target.cores)), "cores"

    @cached_property
    def handovers(self) -> tuple[int, ...]:
        """Per op, how often work is handed from unit to unit before it."""
        return handovers_of(self.regions.graph, self.target)

    @cached_property
    def turns(self) -> tuple[int, ...]:
        """The turn of every op on the units; with one turn there is nothing to overlap."""
        return tuple([passed // 2 for passed in self.handovers])

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
        return {kind: index for index, (_, kind) in enumerate(self._columns)}

    @cached_property
    def _blocking_columns(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """The whole numbers that the blocking's knobs stand for, by knob; texts count from 0."""
        return {
            knob.name: np.array([v if isinstance(v, int) else index for index, v in enumerate(knob.values)])
            for knob, kind in self._columns
            if kind in NAMES
        }

    def blocking(self, rows: Rows) -> dict[str, npt.NDArray[np.int64]]:
        """The values of the register knobs in every row, [n] each; empty where a target has none to block."""
        return {name: column[rows[:, self.column(name)]] for name, column in self._blocking_columns.items()}

    def loop_positions(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Position of the chosen size in `sizes` of every loop, [n, loops]."""
        positions = np.zeros((len(rows), len(self.sizes)), dtype=np.int64)
        for index, loop in enumerate(self.tiled_loops):
            positions[:, loop] = rows[:, index]
        return positions

    @cached_property
    def tables(self) -> RowTables:
        """The knobs as integers."""
        loops, target = self.regions.loops, self.target
        loop_column = [ABSENT] * len(loops)
        for column, loop in enumerate(self.tiled_loops):
            loop_column[loop] = column
        tiles = [
            max(1, -(-loop.extent // size))
            for loop, sizes in zip(loops, self.sizes, strict=True)
            for size in sizes
        ]
        others = ("order", SlotKnob.LOAD, SlotKnob.ACCUMULATOR, SlotKnob.STORE, IN_FLIGHT, "cores")
        return RowTables(
            loop_column=ints(loop_column),
            first_size=starts(self.sizes),
            sizes=ints([size for sizes in self.sizes for size in sizes]),
            tiles=ints(tiles),
            parallel=np.array([loop.kind is AxisKind.PARALLEL for loop in loops], dtype=np.bool_),
            columns=ints([self.column(str(kind)) for kind in others]),
            fixed_slots=target.fixed_slots,
            core_counts=ints(list(core_counts(target.cores))),
        )

    @cached_property
    def boxes(self) -> Boxes:
        """The width tables of every buffer, numbered as `widths.buffers`."""
        return flat_tables(self.widths.tables)

    def slots(self, rows: Rows, knob: SlotKnob) -> Counts:
        """Copies of a buffer in every row."""
        if knob in (SlotKnob.LOAD, SlotKnob.ACCUMULATOR) and self.target.fixed_slots:
            return np.full(len(rows), self.target.fixed_slots, dtype=np.int64)
        at = self.column(str(knob)) if knob is not SlotKnob.ONE else -1
        return np.ones(len(rows), dtype=np.int64) if at < 0 else rows[:, at].astype(np.int64) + 1

    def tiles_in_flight(self, rows: Rows) -> Counts:
        """Tiles of a core that are worked on at the same time, in every row."""
        at = self.column(IN_FLIGHT)
        return np.ones(len(rows), dtype=np.int64) if at < 0 else rows[:, at].astype(np.int64) + 1

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
        buffer = self.widths.buffers[BufferKey(value, read_early)]
        table, moves = self.widths.tables[buffer][dim]
        if not moves:
            return np.full(len(positions), int(table), dtype=np.int64)
        return np.asarray(table[tuple([positions[:, loop] for loop in moves])], dtype=np.int64)

    def combinations(self, loops: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Every combination of sizes of `loops` as positions and as sizes of all loops, the others whole."""
        sizes = [values[-1] for values in self.sizes]
        for index in np.ndindex(*(len(self.sizes[loop]) for loop in loops)):
            for loop, position in zip(loops, index, strict=True):
                sizes[loop] = self.sizes[loop][position]
            yield index, tuple(sizes)

    def parallel_tiles(self, positions: npt.NDArray[np.int64]) -> Counts:
        """Tiles to share out among cores, [n]."""
        return self._tiles(positions, parallel=True)

    def serial_steps(self, positions: npt.NDArray[np.int64]) -> Counts:
        """Scan and reduction steps inside one tile, [n]."""
        return self._tiles(positions, parallel=False)

    def _tiles(self, positions: npt.NDArray[np.int64], *, parallel: bool) -> Counts:
        tiles = np.ones(len(positions), dtype=np.int64)
        for loop, axis in enumerate(self.regions.loops):
            if (axis.kind is AxisKind.PARALLEL) == parallel:
                counts = np.array([max(1, -(-axis.extent // size)) for size in self.sizes[loop]])
                tiles *= counts[positions[:, loop]]
        return tiles


def order_text(order: tuple[int, ...]) -> str:
    """A loop order as a knob value: "0 2 3", outermost first."""
    return " ".join(map(str, order))
