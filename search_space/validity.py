"""The Space of a Workload: the knobs of a kernel, and which of their rows are valid and canonical.

Validity is decided for thousands of rows at once, exactly as the lowering would decide it: each set of loops
that rows cut has one outline, written down as tables, and compiled code (row_rules.py) looks every row up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.lowering.lower import (
    ALIGNMENT_BYTES,
    disjoint,
    fits_matrix_unit,
    inner_result_axes,
)
from tilewright.compiler_core.lowering.regions import NO_ANCHOR
from tilewright.compiler_core.lowering.tile import granule_of
from tilewright.compiler_core.lowering.widths import WidthTable
from tilewright.compiler_core.target_model.product import limited_axes
from tilewright.compiler_core.target_model.target import SimdUnit
from tilewright.search_space.blocking import INNER, ROW, ROWS, VECTOR, core_of, fits_registers
from tilewright.search_space.cut_rules import Cuts, WrittenRule, cuts_of
from tilewright.search_space.knobs import Rows
from tilewright.search_space.row_rules import (
    RowLimits,
    find_feasible,
    make_canonical,
    rules_of,
)
from tilewright.search_space.row_tables import Boxes, Ints, flat_tables
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.space import Space

RULES = "2"
"""Version of the validity rules: part of every space's digest."""

Truths: TypeAlias = npt.NDArray[np.bool_]


def kernel_space(layout: KnobLayout) -> Space:
    """The Space of one kernel: tile sizes, reduction splits, loop order, buffering, cores."""
    validity = Validity(layout)
    return Space(
        knobs=layout.knobs,
        feasible=validity.feasible,
        rules=f"{RULES} {layout.regions.workload.family_digest} {layout.target.digest}",
        canonical=validity.canonical,
    )


@dataclass(eq=False)
class Validity:
    """The static rules of one kernel's Space; those of a cut are found when a row has it."""

    layout: KnobLayout

    @cached_property
    def _cuts(self) -> Cuts:
        return cuts_of(self.layout)

    def canonical(self, rows: Rows) -> Rows:
        """Rows with one value for every choice that changes nothing: unused slots, order of uncut loops."""
        settled = np.array(rows, dtype=np.int32)
        if len(rows):
            rules, written = self._rules(settled)
            make_canonical.for_rows(len(rows))(settled, rules, self.layout.tables, written.cuts)
        without_rows = self._without_rows(settled)
        for name in (ROWS, INNER):
            if self.layout.column(name) >= 0:
                settled[without_rows, self.layout.column(name)] = 0
        return settled

    def _without_rows(self, rows: Rows) -> Truths:
        """Rows of a Space whose vectors lie along the axis that their registers' rows would."""
        blocking = self.layout.blocking(rows)
        return blocking[ROW] == blocking[VECTOR] if ROW in blocking else np.zeros(len(rows), dtype=np.bool_)

    def _registers_suffice(self, rows: Rows) -> Truths:
        target, blocking = self.layout.target, self.layout.blocking(rows)
        if not isinstance(target.matrix, SimdUnit) or VECTOR not in blocking:
            return np.ones(len(rows), dtype=np.bool_)
        op, lanes = core_of(self.layout.regions), granule_of(target)
        good = fits_registers(blocking, op, target.matrix.registers, lanes)
        inner = self.layout.column(INNER)
        return good if inner < 0 else good & (~self._without_rows(rows) | (rows[:, inner] == 0))

    def feasible(self, rows: Rows) -> Truths:
        """Whether rows are canonical, fit L1 and accumulators, store values once, and keep cores busy."""
        if not len(rows):
            return np.zeros(0, dtype=np.bool_)
        rows = np.ascontiguousarray(rows, dtype=np.int32)
        rules, written = self._rules(rows)
        layout = self.layout
        found = find_feasible.for_rows(len(rows))(
            rows, rules, layout.tables, written.cuts, written.rooms, layout.boxes, self._tests, self._limits
        )
        return np.asarray(found & self._registers_suffice(rows))

    def _rules(self, rows: Rows) -> tuple[Ints, WrittenRule]:
        """By row the place of its rule in the tables, and these."""
        rules = np.zeros(len(rows), dtype=np.int64)
        written = self._cuts.written or self._cuts.write(self.layout, ())
        while (unknown := self._find(rows, written, rules)) >= 0:
            written = self._cuts.write(self.layout, (unknown, *self._others(rows)))
        return rules, written

    def _find(self, rows: Rows, written: WrittenRule, rules: Ints) -> int:
        return rules_of.for_rows(len(rows))(rows, self.layout.tables, written.cuts.cuts, rules)

    def _others(self, rows: Rows) -> list[int]:
        """The cuts of all rows."""
        positions = self.layout.loop_positions(rows)
        whole = np.array([len(sizes) - 1 for sizes in self.layout.sizes], dtype=np.int64)
        codes = (positions < whole) @ (1 << np.arange(len(whole), dtype=np.int64))
        return list(map(int, np.unique(codes)))

    @cached_property
    def _limits(self) -> RowLimits:
        target = self.layout.target
        return RowLimits(target.l1_bytes, target.accumulator_bytes, ALIGNMENT_BYTES)

    @cached_property
    def _tests(self) -> Boxes:
        """Tables of truths by tile sizes, all of which have to hold."""
        tests = [*self._disjoint(), *self._block()]
        return flat_tables([tests])

    def _disjoint(self) -> Iterable[WidthTable]:
        """Per dim of a value stored besides the root's: whether tiles are disjoint, by sizes of its loops."""
        regions = self.layout.regions
        for op, axis in inner_result_axes(regions):
            moves = regions.axis_moves(op, axis)
            table = np.empty([len(self.layout.sizes[loop]) for loop in moves], dtype=np.int64)
            for index, sizes in self.layout.combinations(moves):
                table[index] = disjoint(regions, op, axis, sizes)
            yield WidthTable(table, moves)

    def _block(self) -> Iterable[WidthTable]:
        """Whether the matrix unit takes the anchor's tile, by sizes of the loops its columns move with."""
        regions, target = self.layout.regions, self.layout.target
        if regions.anchor == NO_ANCHOR:
            return
        op = regions.graph.ops[regions.anchor]
        axes = limited_axes(op, target)
        if axes:
            moves = tuple(sorted({d for axis in axes for d in regions.buffer_moves(op.result, axis, None)}))
            table = np.empty([len(self.layout.sizes[loop]) for loop in moves], dtype=np.int64)
            for index, sizes in self.layout.combinations(moves):
                table[index] = fits_matrix_unit(regions, sizes, target)
            yield WidthTable(table, moves)
