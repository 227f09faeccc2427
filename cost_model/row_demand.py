"""The demand of a kernel's Configs as compiled code: one row after the other, step by step."""

from typing import NamedTuple

import numpy as np

from tilewright.compiler_core.compiled import compiled, jitable
from tilewright.compiler_core.target_model import units
from tilewright.search_space.knobs import Rows
from tilewright.search_space.row_tables import (
    CORES,
    ORDER,
    Boxes,
    Ints,
    RowTables,
    elements,
    read_positions,
    tiles_of,
    width,
)

_SETUP, _PORT_RATE, _MILLI = units.SETUP, units.PORT_RATE, units.MILLI
_ROLES = 6
_matrix_cycles = jitable(units.matrix_cycles)
_vector_cycles = jitable(units.vector_cycles)
_moved_bytes = jitable(units.moved_bytes)
_stream_cycles = jitable(units.stream_cycles)

LOAD, STORE, GATHER, POINTS, CONTRACTION, NOTHING = range(6)
"""Kinds of steps: moves, rows by an indexed DMA, an op point by point, a product, and steps without time."""
APART = -1
"""Extent of a dim that no run of elements reaches into."""

# Columns of a demand.
LOAD_CYCLES, MATRIX_CYCLES, VECTOR_CYCLES, STORE_CYCLES, FIRST_LOAD, LAST_STORE = range(6)
TILES, STEPS, USED_CORES, LOAD_BYTES, L1_ELEMENTS, NEAR_PORT, FAR_PORT = range(6, 13)
DEMAND_COLUMNS = 13


class StepTables(NamedTuple):
    """The steps of a kernel when every loop is cut; step s does `kind[s]`.

    It moves with the loops `loop[first_loop[s] : first_loop[s + 1]]` and fills buffer `fills[s]`, or ABSENT.
    A move has `element_bytes[s]`, goes by row `near[s]` of `dma`, and by `far[s]` where it does not stay in
    the LLB (else ABSENT); it crosses the LLB's port if `crosses_llb[s]`, lies in one piece if `packed[s]`,
    otherwise as its terms say; `late[s]` loads are not waited for. An op takes `lane_ops[s]` operations on
    `lanes[s]` lanes a point; a product has the rows of `ways` from `first_way[s]` on. `handover[s]`: how
    often work was handed from unit to unit before it.
    """

    kind: Ints
    first_loop: Ints
    loop: Ints
    fills: Ints
    element_bytes: Ints
    near: Ints
    far: Ints
    crosses_llb: Ints
    packed: Ints
    late: Ints
    blocked: Ints
    block: Ints
    first_term: Ints
    lane_ops: Ints
    lanes: Ints
    first_way: Ints
    handover: Ints


class TermTables(NamedTuple):
    """The dims of a step, in order: of a move from the outermost to the innermost, of an op its axes.

    Term t is as wide as dim `dim[t]` of the boxes, else as the tile of loop `loop[t]`, else `extent[t]`,
    which is what a move's dim is cut from. `role[t]`: the extent of a product that an axis counts into.
    """

    dim: Ints
    loop: Ints
    extent: Ints
    role: Ints


class TargetTables(NamedTuple):
    """The costs of a target: rows of DMA and matrix tables (units.py)."""

    dma: Ints
    ways: Ints
    start_up: int
    vector_contracts: bool


class Nests(NamedTuple):
    """Per loop order, the rank of every loop in the nest, outermost first, and the loops by rank."""

    rank: Ints
    loop: Ints


@compiled
def demands(
    rows: Rows,
    tables: RowTables,
    boxes: Boxes,
    nests: Nests,
    steps: StepTables,
    terms: TermTables,
    machine: TargetTables,
    parts: Ints,
) -> Ints:
    """The demand of every row, int64 [rows, DEMAND_COLUMNS], on its busiest core.

    Fills in `parts` [turns, 2, rows]: cycles of each turn on the unit that begins and on the other.
    """
    demand = np.zeros((rows.shape[0], DEMAND_COLUMNS), dtype=np.int64)
    loops = tables.loop_column.shape[0]
    positions, counts, through = (
        np.zeros(loops, np.int64),
        np.zeros(loops, np.int64),
        np.zeros(loops, np.int64),
    )
    widths = np.zeros(terms.dim.shape[0], dtype=np.int64)
    for i in range(rows.shape[0]):
        row, asked = rows[i], demand[i]
        order = row[tables.columns[ORDER]]
        parallel = begin_row(row, positions, counts, through, nests.loop[order], tables, asked)
        for step in range(steps.kind.shape[0]):
            if steps.fills[step] >= 0:
                asked[L1_ELEMENTS] += elements(boxes, steps.fills[step], positions)
            if steps.kind[step] != NOTHING:
                innermost = innermost_of(step, steps, counts, nests.rank[order])
                fired = 1 if innermost < 0 else through[innermost]
                times = max(1, -(-fired * asked[TILES] // parallel))
                read_widths(step, positions, steps, terms, tables, boxes, widths)
                add_step(step, times, widths, steps, terms, machine, asked, parts[:, :, i])
    return demand


@jitable
def begin_row(
    row: Rows, positions: Ints, counts: Ints, through: Ints, nest: Ints, tables: RowTables, asked: Ints
) -> int:
    """Fill in what a row asks for before its steps; returns its tiles over all cores."""
    read_positions(row, tables, positions)
    _count_tiles(positions, nest, tables, counts, through)
    parallel = tiles_of(positions, tables, True)
    cores = min(tables.core_counts[row[tables.columns[CORES]]], parallel)
    asked[TILES] = -(-parallel // cores)
    asked[STEPS] = asked[TILES] * tiles_of(positions, tables, False)
    asked[USED_CORES] = cores
    return int(parallel)


@jitable
def add_step(
    step: int,
    times: int,
    widths: Ints,
    steps: StepTables,
    terms: TermTables,
    machine: TargetTables,
    asked: Ints,
    parts: Ints,
) -> None:
    """Add what a step asks for on its widest tile."""
    if steps.kind[step] == LOAD or steps.kind[step] == STORE:
        _move(step, widths, terms, steps, machine, times, asked)
    else:
        _compute(step, widths, terms, steps, machine, times, asked, parts)


@jitable
def _count_tiles(positions: Ints, nest: Ints, tables: RowTables, counts: Ints, through: Ints) -> None:
    """Tiles of every loop, and of the nest down to each rank."""
    total = 1
    for rank in range(nest.shape[0]):
        loop = nest[rank]
        counts[loop] = tables.tiles[tables.first_size[loop] + positions[loop]]
        total *= counts[loop]
        through[rank] = total


@jitable
def innermost_of(step: int, steps: StepTables, counts: Ints, rank: Ints) -> int:
    """The rank of the innermost cut loop that a step moves with; -1 where there is none."""
    innermost = -1
    for index in range(steps.first_loop[step], steps.first_loop[step + 1]):
        loop = steps.loop[index]
        if counts[loop] > 1:
            innermost = max(innermost, rank[loop])
    return innermost


@jitable
def read_widths(
    step: int,
    positions: Ints,
    steps: StepTables,
    terms: TermTables,
    tables: RowTables,
    boxes: Boxes,
    widths: Ints,
) -> None:
    """The widest tile of every term of a step."""
    for term in range(steps.first_term[step], steps.first_term[step + 1]):
        if terms.dim[term] >= 0:
            widths[term] = width(boxes, terms.dim[term], positions)
        elif terms.loop[term] >= 0:
            loop = terms.loop[term]
            widths[term] = tables.sizes[tables.first_size[loop] + positions[loop]]
        else:
            widths[term] = terms.extent[term]


@jitable
def _move(
    step: int,
    widths: Ints,
    terms: TermTables,
    steps: StepTables,
    machine: TargetTables,
    times: int,
    asked: Ints,
) -> None:
    """Add a load or store of the widest tile."""
    first, last = steps.first_term[step], steps.first_term[step + 1]
    size = steps.element_bytes[step]
    for term in range(first, last):
        size *= widths[term]
    if size == 0:
        return
    run = size
    if not steps.packed[step]:
        run = steps.element_bytes[step] * _run(
            widths[first:last], terms.extent[first:last], steps.blocked[step], steps.block[step]
        )
    cores, table = asked[USED_CORES], machine.dma[steps.near[step]]
    moved = _moved_bytes(size, run, table)
    crossing = _stream_cycles(moved, cores, table)
    if table[_PORT_RATE] > 0:
        port = NEAR_PORT if steps.crosses_llb[step] else FAR_PORT
        asked[port] += moved * _MILLI // table[_PORT_RATE] * times * cores
    if steps.far[step] >= 0:
        far = machine.dma[steps.far[step]]
        crossing = max(crossing, _stream_cycles(_moved_bytes(size, run, far), cores, far))
    cycles = table[_SETUP] + crossing
    if steps.kind[step] == STORE:
        asked[STORE_CYCLES] += cycles * times
        asked[LAST_STORE] += cycles
    else:
        asked[LOAD_CYCLES] += cycles * times
        asked[LOAD_BYTES] += size * times
        if not steps.late[step]:
            asked[FIRST_LOAD] += cycles


@jitable
def _run(lengths: Ints, extents: Ints, blocked: int, block: int) -> int:
    """Elements that lie together, of a box of `lengths` cut out of `extents` from the outermost dim on.

    Inside lie blocks of `block` along dim `blocked`.
    """
    run = 1
    if block > 1:
        run = min(lengths[blocked], block)
        if run < block:
            return int(run)
    for dim in range(extents.shape[0] - 1, -1, -1):
        if extents[dim] == APART:
            break
        run *= lengths[dim] // block if block > 1 and dim == blocked else lengths[dim]
        if lengths[dim] != extents[dim]:
            break
    return int(run)


@jitable
def _compute(
    step: int,
    widths: Ints,
    terms: TermTables,
    steps: StepTables,
    machine: TargetTables,
    times: int,
    asked: Ints,
    parts: Ints,
) -> None:
    """Add an op on the widest tile."""
    first, last = steps.first_term[step], steps.first_term[step + 1]
    points = 1
    for term in range(first, last):
        points *= widths[term]
    if steps.kind[step] == GATHER:
        table = machine.dma[steps.near[step]]
        moved = points * steps.element_bytes[step]
        asked[LOAD_CYCLES] += (table[_SETUP] + _stream_cycles(moved, asked[USED_CORES], table)) * times
        return
    vector = _vector_cycles(points, steps.lane_ops[step], steps.lanes[step], machine.start_up)
    matrix = 0
    ways = machine.ways[steps.first_way[step] : steps.first_way[step + 1]]
    if steps.kind[step] == CONTRACTION and ways.shape[0] > 0:
        role = np.ones(_ROLES, dtype=np.int64)
        for term in range(first, last):
            role[terms.role[term]] *= widths[term]
        matrix = _matrix_cycles(role[0], role[1], role[2], role[3], role[4], role[5], ways)
        if machine.vector_contracts and vector < matrix:
            matrix = 0
        else:
            vector = 0
    asked[MATRIX_CYCLES] += matrix * times
    asked[VECTOR_CYCLES] += vector * times
    turn, other = steps.handover[step] // 2, steps.handover[step] % 2
    parts[turn, other] += (matrix + vector) * times
