"""The Space of a Workload: the knobs of a kernel, and which rows of them are worth asking for.

Validity is decided for thousands of rows at once, exactly as the lowering would decide it: rows are sorted by
which loops they cut, each cut has one outline, and cuts that fill L1 alike are added up together.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.lowering.lower import (
    ALIGNMENT_BYTES,
    disjoint,
    fits_matrix_unit,
    inner_result_axes,
    moves_enough,
)
from tilewright.compiler_core.lowering.outline import BufferOutline, Outline, SlotKnob, buffer_outline
from tilewright.compiler_core.lowering.regions import NO_ANCHOR
from tilewright.compiler_core.target_model.product import limited_axes
from tilewright.search_space.knobs import Rows
from tilewright.search_space.rules import IN_FLIGHT, Counts, KnobLayout, core_counts
from tilewright.search_space.space import Space

RULES = "2"
"""Version of the validity rules: part of every space's digest."""

Truths: TypeAlias = npt.NDArray[np.bool_]
SizeKey: TypeAlias = tuple[int, bool | None, int]
"""What the bytes of a buffer depend on: value, who reads it, bytes of an element."""
Room: TypeAlias = tuple[tuple[SizeKey, ...], SlotKnob, bool, bool]
"""One storage: who takes turns in it, its slots, whether it has one more, whether in the accumulators."""


def kernel_space(layout: KnobLayout) -> Space:
    """The Space of one kernel: tile sizes, reduction splits, loop order, buffering, cores."""
    validity = Validity(layout)
    return Space(
        knobs=layout.knobs,
        feasible=validity.feasible,
        rules=f"{RULES} {layout.regions.workload.family_digest} {layout.target.digest}",
        canonical=validity.canonical,
    )


@dataclass(frozen=True)
class CutRules:
    """What holds for all rows that cut the same loops.

    `unused` are the columns of slot knobs that change nothing, `first_order[i]` is the first loop order that
    orders the cut loops as order i does. `rooms[n]` fill L1 with n + 1 tiles in flight; without `stores_once`
    no row is valid.
    """

    unused: tuple[int, ...]
    first_order: Rows
    rooms: tuple[tuple[Room, ...], ...]
    stores_once: bool


@dataclass(frozen=True, eq=False)
class Validity:
    """The static rules of one kernel's Space."""

    layout: KnobLayout
    _by_cut: dict[frozenset[int], CutRules] = field(default_factory=dict)

    def canonical(self, rows: Rows) -> Rows:
        """Rows with one value for every choice that changes nothing: unused slots, order of uncut loops."""
        settled = rows.copy()
        order = self.layout.column("order")
        for cut, chosen in self.layout.by_cut(self.layout.loop_positions(rows)):
            rules = self._rules(cut)
            settled[chosen, order] = rules.first_order[rows[chosen, order]]
            for column in rules.unused:
                settled[chosen, column] = 0
        return settled

    def feasible(self, rows: Rows) -> Truths:
        """Whether rows are canonical, fit L1 and accumulators, store values once, and keep cores busy."""
        positions = self.layout.loop_positions(rows)
        good = self._cores_have_work(rows, positions)
        in_flight = self.layout.tiles_in_flight(rows)
        order = self.layout.column("order")
        alike: dict[tuple[Room, ...], list[npt.NDArray[np.intp]]] = {}
        for cut, chosen in self.layout.by_cut(positions):
            rules = self._rules(cut)
            good[chosen] &= rules.stores_once
            chosen = chosen[good[chosen]]
            good[chosen] &= rules.first_order[rows[chosen, order]] == rows[chosen, order]
            for column in rules.unused:
                good[chosen] &= rows[chosen, column] == 0
            chosen = chosen[good[chosen]]
            for behind, rooms in enumerate(rules.rooms):
                alike.setdefault(rooms, []).append(chosen[in_flight[chosen] == behind + 1])
        for at, axis in self._inner_axes:
            table, moves = self._disjoint[at, axis]
            good &= table[tuple(positions[:, loop] for loop in moves)]
        if self._block is not None:
            table, moves = self._block
            good &= table[tuple(positions[:, loop] for loop in moves)]
        bytes_of = dict[SizeKey, Counts]()
        for rooms, parts in alike.items():
            chosen = np.concatenate(parts)
            chosen = chosen[good[chosen]]
            if len(chosen):
                good[chosen] = self._fits(rooms, rows, positions, chosen, bytes_of)
        return good

    def _rules(self, cut: frozenset[int]) -> CutRules:
        if cut not in self._by_cut:
            layout = self.layout
            among_cut = [tuple(d for d in order if d in cut) for order in layout.orders]
            first_order = np.array([among_cut.index(order) for order in among_cut], dtype=np.int32)
            if not moves_enough(layout.regions, cut):
                # No row of this cut is valid: its outline, the dear part, is never asked for.
                return self._by_cut.setdefault(cut, CutRules((), first_order, (), stores_once=False))
            flying = layout.column(IN_FLIGHT)
            plans = [
                buffer_outline(layout.regions, cut, layout.target, tiles)
                for tiles in ((1, 2) if cut and flying >= 0 else (1,))
            ]
            used = {buffer.slots for buffer in plans[0].buffers}
            unused = [
                layout.column(knob)
                for knob in (SlotKnob.LOAD, SlotKnob.ACCUMULATOR, SlotKnob.STORE)
                if knob not in used
            ]
            self._by_cut[cut] = CutRules(
                unused=tuple(column for column in (*unused, *(() if cut else (flying,))) if column >= 0),
                first_order=first_order,
                rooms=tuple(map(_rooms, plans)),
                stores_once=True,
            )
        return self._by_cut[cut]

    def _fits(
        self,
        rooms: tuple[Room, ...],
        rows: Rows,
        positions: npt.NDArray[np.int64],
        chosen: npt.NDArray[np.intp],
        bytes_of: dict[SizeKey, Counts],
    ) -> Truths:
        """Whether the storages of the rows `chosen` fit; `bytes_of` remembers sizes over all rows."""
        slots = {knob: self.layout.slots(rows[chosen], knob) for knob in SlotKnob}
        total = {False: np.zeros(len(chosen), dtype=np.int64), True: np.zeros(len(chosen), dtype=np.int64)}
        for tenants, knob, outlived, accumulator in rooms:
            for key in tenants:
                if key not in bytes_of:
                    bytes_of[key] = self._slot_bytes(key, positions)
            largest = bytes_of[tenants[0]][chosen]
            for key in tenants[1:]:
                largest = np.maximum(largest, bytes_of[key][chosen])
            total[accumulator] += largest * (slots[knob] + outlived)
        target = self.layout.target
        return (total[False] <= target.l1_bytes) & (total[True] <= target.accumulator_bytes)

    def _slot_bytes(self, key: SizeKey, positions: npt.NDArray[np.int64]) -> Counts:
        value, read_early, element_bytes = key
        size = self.layout.elements(value, read_early, positions) * element_bytes
        return np.asarray(-(-np.maximum(size, 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES, dtype=np.int64)

    @cached_property
    def _inner_axes(self) -> list[tuple[int, int]]:
        return inner_result_axes(self.layout.regions)

    @cached_property
    def _disjoint(self) -> dict[tuple[int, int], tuple[Truths, tuple[int, ...]]]:
        """Per dim of a value stored besides the root's: whether tiles are disjoint, by sizes of its loops."""
        tables = {}
        for at, axis in self._inner_axes:
            moves = self.layout.regions.axis_moves(at, axis)
            table = np.empty([len(self.layout.sizes[loop]) for loop in moves], dtype=np.bool_)
            for index, sizes in self.layout.combinations(moves):
                table[index] = disjoint(self.layout.regions, at, axis, sizes)
            tables[at, axis] = table, moves
        return tables

    @cached_property
    def _block(self) -> tuple[Truths, tuple[int, ...]] | None:
        """Whether the matrix unit takes the anchor's tile, by sizes of the loops its columns move with."""
        regions, target = self.layout.regions, self.layout.target
        if regions.anchor == NO_ANCHOR:
            return None
        op = regions.graph.ops[regions.anchor]
        axes = limited_axes(op, target)
        if not axes:
            return None
        moves = tuple(sorted({d for axis in axes for d in regions.buffer_moves(op.result, axis, None)}))
        table = np.empty([len(self.layout.sizes[loop]) for loop in moves], dtype=np.bool_)
        for index, sizes in self.layout.combinations(moves):
            table[index] = fits_matrix_unit(regions, sizes, target)
        return table, moves

    def _cores_have_work(self, rows: Rows, positions: npt.NDArray[np.int64]) -> Truths:
        """No core idles by choice: the smallest listed core count that has a tile each, or fewer; two tiles
        are in flight only where a core has two of them.
        """
        counts = np.array(core_counts(self.layout.target.cores))
        at = rows[:, self.layout.column("cores")]
        smaller = counts[np.maximum(at - 1, 0)]
        tiles = self.layout.parallel_tiles(positions)
        two = (tiles > counts[at]) | (self.layout.serial_steps(positions) > 1)
        needed = (at == 0) | (smaller < tiles)
        return np.asarray(needed & (two | (self.layout.tiles_in_flight(rows) == 1)), dtype=np.bool_)


def _rooms(plan: Outline) -> tuple[Room, ...]:
    firsts = [plan.buffers[held[0]] for held in plan.storages]
    return tuple(
        (tuple(_size_key(plan.buffers[at]) for at in held), first.slots, first.outlived, first.accumulator)
        for held, first in zip(plan.storages, firsts, strict=True)
    )


def _size_key(buffer: BufferOutline) -> SizeKey:
    return buffer.value, buffer.read_early, buffer.element_bytes
