"""The static rules of a kernel's rows as compiled code: canonical form, and whether a row is feasible."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.compiled import compiled, jitable
from tilewright.search_space.knobs import Rows
from tilewright.search_space.row_tables import (
    ABSENT,
    CORES,
    IN_FLIGHT,
    ORDER,
    Boxes,
    Ints,
    RowTables,
    cut_of,
    elements,
    read_positions,
    slots_in,
    tiles_of,
    width,
)

Truths = npt.NDArray[np.bool_]

ONE_SLOT = -1
"""A storage whose slots no knob chooses."""


class CutTables(NamedTuple):
    """Rules for rows by the loops they cut. `cuts` ascend, a bit a loop; rule r is of `cuts[r]`.

    `valid[r]`: whether any row of the cut is. `first_order[r, i]`: the first loop order that orders the cut
    loops as order i does. `unused[r, c]`: whether the knob of column c changes nothing. `way[r, t]`: how L1
    is filled with t + 1 tiles in flight.
    """

    cuts: Ints
    valid: Truths
    first_order: Ints
    unused: Truths
    way: Ints


class Rooms(NamedTuple):
    """Ways to fill L1: way w has storages `first_storage[w]` to `first_storage[w + 1]`.

    Storage s has as many slots as knob `slots[s]` says (ONE_SLOT: one) and `more[s]`, lies in the accumulator
    memory if `accumulator[s]`, and is as large as its largest tenant: tenant t, of those from
    `first_tenant[s]` on, is buffer `buffer[t]` with `element_bytes[t]` an element.
    """

    first_storage: Ints
    slots: Ints
    more: Ints
    accumulator: Truths
    first_tenant: Ints
    buffer: Ints
    element_bytes: Ints


class RowLimits(NamedTuple):
    """Sizes of the memories; storages are rounded up to `alignment_bytes`."""

    l1_bytes: int
    accumulator_bytes: int
    alignment_bytes: int


@jitable
def rule_of(cut: int, cuts: Ints) -> int:
    """The place of a cut among those known; ABSENT where it is none of them."""
    at = np.searchsorted(cuts, cut)
    return int(at) if at < cuts.shape[0] and cuts[at] == cut else ABSENT


@compiled
def rules_of(rows: Rows, tables: RowTables, cuts: Ints, rules: Ints) -> int:
    """Fill in the rule of every row; returns a cut that has none yet, ABSENT where all have one."""
    positions = np.zeros(tables.loop_column.shape[0], dtype=np.int64)
    for i in range(rows.shape[0]):
        read_positions(rows[i], tables, positions)
        cut = cut_of(positions, tables)
        rules[i] = rule_of(cut, cuts)
        if rules[i] < 0:
            return cut
    return ABSENT


@compiled
def make_canonical(rows: Rows, rules: Ints, tables: RowTables, cuts: CutTables) -> None:
    """Give every choice that changes nothing its first value."""
    order = tables.columns[ORDER]
    for i in range(rows.shape[0]):
        rule = rules[i]
        rows[i, order] = cuts.first_order[rule, rows[i, order]]
        for column in range(rows.shape[1]):
            if cuts.unused[rule, column]:
                rows[i, column] = 0


@compiled
def find_feasible(
    rows: Rows,
    rules: Ints,
    tables: RowTables,
    cuts: CutTables,
    rooms: Rooms,
    boxes: Boxes,
    tests: Boxes,
    limits: RowLimits,
) -> Truths:
    """Whether rows are canonical, fit L1 and accumulators, store values once, and keep cores busy.

    `tests` has tables of truths by tile sizes, all of which have to hold.
    """
    good = np.zeros(rows.shape[0], dtype=np.bool_)
    positions = np.zeros(tables.loop_column.shape[0], dtype=np.int64)
    for i in range(rows.shape[0]):
        row, rule = rows[i], rules[i]
        if not cuts.valid[rule] or not _is_canonical(row, rule, tables, cuts):
            continue
        read_positions(row, tables, positions)
        if not _keeps_cores_busy(row, positions, tables) or not _passes(tests, positions):
            continue
        way = cuts.way[rule, slots_in(row, IN_FLIGHT, tables) - 1]
        good[i] = _fits(row, way, positions, tables, rooms, boxes, limits)
    return good


@jitable
def _is_canonical(row: Rows, rule: int, tables: RowTables, cuts: CutTables) -> bool:
    order = tables.columns[ORDER]
    canonical = cuts.first_order[rule, row[order]] == row[order]
    for column in range(row.shape[0]):
        canonical = canonical and (row[column] == 0 or not cuts.unused[rule, column])
    return bool(canonical)


@jitable
def _keeps_cores_busy(row: Rows, positions: Ints, tables: RowTables) -> bool:
    """No core idles by choice: the smallest listed core count that has a tile each, or fewer; two tiles are
    in flight only where a core has two of them.
    """
    tiles = tiles_of(positions, tables, True)
    at = row[tables.columns[CORES]]
    if at > 0 and tables.core_counts[at - 1] >= tiles:
        return False
    if slots_in(row, IN_FLIGHT, tables) == 1:
        return True
    return tiles > tables.core_counts[at] or tiles_of(positions, tables, False) > 1


@jitable
def _passes(tests: Boxes, positions: Ints) -> bool:
    passed = True
    for test in range(tests.base.shape[0] - 1):
        passed = passed and width(tests, test, positions) != 0
    return passed


@jitable
def _fits(
    row: Rows, way: int, positions: Ints, tables: RowTables, rooms: Rooms, boxes: Boxes, limits: RowLimits
) -> bool:
    """Whether the storages of a row fit, each as large as its largest tenant."""
    l1, accumulators = 0, 0
    for storage in range(rooms.first_storage[way], rooms.first_storage[way + 1]):
        largest = 1
        for tenant in range(rooms.first_tenant[storage], rooms.first_tenant[storage + 1]):
            size = elements(boxes, rooms.buffer[tenant], positions) * rooms.element_bytes[tenant]
            largest = max(largest, size)
        slots = 1 if rooms.slots[storage] < 0 else slots_in(row, rooms.slots[storage], tables)
        units = -(-largest // limits.alignment_bytes)
        taken = units * limits.alignment_bytes * (slots + rooms.more[storage])
        if rooms.accumulator[storage]:
            accumulators += taken
        else:
            l1 += taken
    return l1 <= limits.l1_bytes and accumulators <= limits.accumulator_bytes
