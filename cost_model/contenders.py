"""The rows of lowest draft among many, without the whole draft of most.

A draft only grows as a kernel's steps are added to it. So a row is given up as soon as what is known of it is
more than the drafts of enough rows before it: random rows of tiny tiles are, before their first step.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.compiled import compiled, jitable
from tilewright.cost_model.row_demand import (
    DEMAND_COLUMNS,
    FAR_PORT,
    FIRST_LOAD,
    LAST_STORE,
    LOAD_CYCLES,
    MATRIX_CYCLES,
    NEAR_PORT,
    NOTHING,
    STEPS,
    STORE_CYCLES,
    TILES,
    VECTOR_CYCLES,
    Nests,
    StepTables,
    TargetTables,
    TermTables,
    add_step,
    begin_row,
    innermost_of,
    read_widths,
)
from tilewright.search_space.knobs import Rows
from tilewright.search_space.row_tables import (
    ACCUMULATOR,
    IN_FLIGHT,
    LOAD,
    ORDER,
    STORE,
    Boxes,
    Ints,
    RowTables,
    slots_in,
)

Floats = npt.NDArray[np.float64]
SLACK = 1.0 + 1e-9
"""A row is given up only where it is above by more than any rounding."""


class Pipeline(NamedTuple):
    """The other terms of a draft (analytic.py), in cycles: the `least` of the ports, `dispatch` a step,
    `once` a kernel; the turns by rank with two tiles in flight; whether an anchor that is not the root is
    `chained` to its readers.
    """

    least: float
    dispatch: float
    once: float
    turns: Ints
    chained: bool


@compiled
def contenders(
    rows: Rows,
    count: int,
    tables: RowTables,
    boxes: Boxes,
    nests: Nests,
    written: tuple[StepTables, TermTables, TargetTables],
    pipeline: Pipeline,
) -> npt.NDArray[np.bool_]:
    """Which rows may be among the `count` of lowest draft: all that are, and few others."""
    steps, terms, machine = written
    loops = tables.loop_column.shape[0]
    positions, counts, through = (
        np.zeros(loops, np.int64),
        np.zeros(loops, np.int64),
        np.zeros(loops, np.int64),
    )
    widths = np.zeros(terms.dim.shape[0], dtype=np.int64)
    asked = np.zeros(DEMAND_COLUMNS, dtype=np.int64)
    parts = np.zeros((pipeline.turns.shape[0], 2), dtype=np.int64)
    lowest = np.full(count, np.inf)
    drafts = np.full(rows.shape[0], np.inf)
    for i in range(rows.shape[0]):
        row = rows[i]
        order = row[tables.columns[ORDER]]
        asked[:] = 0
        parts[:, :] = 0
        parallel = begin_row(row, positions, counts, through, nests.loop[order], tables, asked)
        most = lowest[count - 1] * SLACK
        above = _draft(row, asked, parts, tables, pipeline, False) > most
        for step in range(steps.kind.shape[0]):
            if above:
                break
            if steps.kind[step] != NOTHING:
                innermost = innermost_of(step, steps, counts, nests.rank[order])
                fired = 1 if innermost < 0 else through[innermost]
                times = max(1, -(-fired * asked[TILES] // parallel))
                read_widths(step, positions, steps, terms, tables, boxes, widths)
                add_step(step, times, widths, steps, terms, machine, asked, parts)
                above = _draft(row, asked, parts, tables, pipeline, False) > most
        if above:
            continue
        drafts[i] = _draft(row, asked, parts, tables, pipeline, True)
        if drafts[i] < lowest[count - 1]:
            at = count - 1
            while at > 0 and lowest[at - 1] > drafts[i]:
                lowest[at] = lowest[at - 1]
                at -= 1
            lowest[at] = drafts[i]
    return np.asarray(drafts <= lowest[count - 1] * SLACK)


@jitable
def _draft(row: Rows, asked: Ints, parts: Ints, tables: RowTables, pipeline: Pipeline, whole: bool) -> float:
    """The draft in cycles when all steps are in (`whole`), before that no more than it will be."""
    compute = _compute(row, asked, parts, tables, pipeline, whole)
    load, store = float(asked[LOAD_CYCLES]), float(asked[STORE_CYCLES])
    steady = load + compute if slots_in(row, LOAD, tables) == 1 else max(load, compute)
    steady = steady + store if slots_in(row, STORE, tables) == 1 else max(steady, store)
    busiest = max(asked[NEAR_PORT], asked[FAR_PORT], pipeline.least)
    apart = max(steady + asked[FIRST_LOAD] + asked[LAST_STORE], busiest)
    return float(apart + asked[STEPS] * pipeline.dispatch + pipeline.once)


@jitable
def _compute(
    row: Rows, asked: Ints, parts: Ints, tables: RowTables, pipeline: Pipeline, whole: bool
) -> float:
    """The time of the two units together (`KernelModel._compute_cycles`)."""
    matrix, vector = float(asked[MATRIX_CYCLES]), float(asked[VECTOR_CYCLES])
    every, busier = matrix + vector, max(matrix, vector)
    turns = parts.shape[0]
    if turns == 1:
        return every if pipeline.chained and slots_in(row, ACCUMULATOR, tables) == 1 else busier
    alone = slots_in(row, IN_FLIGHT, tables) == 1
    if not whole:
        return every / 2.0 if alone else busier
    repeated = 1.0 - 1.0 / asked[STEPS]
    if alone:
        return float(every - min(parts[0, 0], parts[turns - 1, 1]) * repeated)
    beside = 0.0
    for turn in range(turns):
        following = pipeline.turns[(turn + 1) % turns]
        beside += max(parts[pipeline.turns[turn], 1], parts[following, 0])
    return float(every + (max(beside, busier) - every) * repeated)
