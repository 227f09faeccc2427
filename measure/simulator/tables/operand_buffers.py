"""The time that a systolic array waits for operands and results, if each passes through a buffer of its own.

Each operand of a tile comes over a port of its own, in an order fixed beforehand, into a buffer that is used
by halves: one half is read while the other is filled. What the array asks for and the half in use does not
hold makes the next half the one in use, as often as it takes, round and round; so an operand that is used in
another order than it comes in is fetched again. Streamed operands come along the diagonals of their folds, in
which a skewed array takes them, held ones row by row. Results leave through a buffer that drains by halves.

Source of the mechanism: SCALE-Sim 2.0.2 (Samajdar et al., ISPASS 2020), double_buffered_scratchpad_mem.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.ir.dims import known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access
from tilewright.compiler_core.target_model.product import product_axes
from tilewright.compiler_core.target_model.target import Dataflow, SystolicUnit, signed
from tilewright.measure.simulator.tables.layout import Ints

BLOCKS = 100
"""The content of a buffer is tracked in hundredths of its size."""


@dataclass(frozen=True)
class Streams:
    """The cost of one tile: cycles that its array waits, and elements fetched of the left and the right
    operand.
    """

    wait_cycles: int
    fetched: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Operand:
    """An operand as the array takes it: addresses [folds, steps, lanes], -1 where a lane idles.

    Demand d asks for fold `order[d]` from cycle `start[d]` on; with `skewed`, lane l takes its elements l
    cycles later. `fetch` are the addresses in the order in which they come.
    """

    cells: Ints
    fetch: Ints
    order: Ints
    start: Ints
    skewed: bool


@dataclass(frozen=True, eq=False)
class _Results:
    """The results of a fold: `rows` by `columns`, row r of column c in cycle `start` + r + c."""

    start: Ints
    rows: Ints
    columns: Ints


@lru_cache(maxsize=4096)
def streams_of(graph: Graph, op: Op, lengths: tuple[int, ...], unit: SystolicUnit, stored: DType) -> Streams:
    """The streams of one tile of a contraction: `lengths` of its domain axes, from the origin on."""
    if 0 in lengths:
        return Streams(0, (0, 0))
    *operands, results = _as_taken(graph, op, lengths, unit)
    pace = dict(unit.cycles_per_step)[signed(stored)]
    size = unit.operand_buffer_kib * 1024 // stored.bytes
    half = size // 2
    half_cycles = ceil(half * stored.bytes / unit.operand_bytes_per_cycle)
    refill = half_cycles + unit.operand_latency_cycles
    asked, late, fetched = [], [], []
    for operand in operands:
        cells, fetch = _numbered(operand)
        missed = (
            _misses(cells, *fetch, operand.order, operand.start, operand.skewed, -(-size // BLOCKS), half)
            * pace
        )
        asked.append(missed)
        late.append(np.arange(1, len(missed) + 1) * refill - 2 - missed)
        fetched.append(min(half, len(operand.fetch)) + half * len(missed))
    cycle = np.concatenate(asked)
    by_cycle = np.argsort(cycle, kind="stable")
    wait = _wait(
        cycle[by_cycle],
        np.concatenate(late)[by_cycle],
        results.start * pace,
        results.rows,
        results.columns,
        pace,
        size,
        half_cycles,
    )
    return Streams(int(wait), (fetched[0], fetched[1]))


def _as_taken(
    graph: Graph, op: Op, lengths: Sequence[int], unit: SystolicUnit
) -> tuple[_Operand, _Operand, _Results]:
    axes = product_axes(op, unit)
    left = _addresses(graph, op.operands[0], lengths, (axes.batch, op.reduction_axes, axes.m_outer + axes.m))
    right = _addresses(graph, op.operands[1], lengths, (axes.batch, op.reduction_axes, axes.n))
    if unit.dataflow is Dataflow.OS:
        return _holding_outputs(left, right, unit)
    if unit.dataflow is Dataflow.WS:
        moved, held, results = _holding_operand(left, right, unit)
        return moved, held, results
    moved, held, results = _holding_operand(right, left, unit)
    return held, moved, results


def _addresses(graph: Graph, access: Access, lengths: Sequence[int], groups: Sequence[Sequence[int]]) -> Ints:
    """Row-major places of an operand's elements over the product of groups of axes; -1: outside of it."""
    sizes = [int(np.prod([lengths[axis] for axis in group], dtype=np.int64)) for group in groups]
    at = {}
    for place, group in enumerate(groups):
        line = np.arange(sizes[place]).reshape([-1 if other == place else 1 for other in range(len(groups))])
        for axis in reversed(group):
            line, at[axis] = np.divmod(line, lengths[axis])
    places: Ints = np.zeros(sizes, dtype=np.int64)
    inside = np.ones(sizes, dtype=bool)
    for expr, extent in zip(access.exprs, graph.shape(access.value), strict=True):
        index = known(expr.offset, "an index offset") + np.zeros(sizes, dtype=np.int64)
        for axis, coefficient in expr.terms:
            index += known(coefficient, "an index coefficient") * at[axis]
        index //= known(expr.divisor, "an index divisor")
        if modulus := known(expr.modulus, "an index modulus"):
            index %= modulus
        inside &= (index >= 0) & (index < extent)
        places = places * extent + index
    return np.where(inside, places, -1)


def _cut(matrices: Ints, lanes: int) -> Ints:
    """[batch, steps, columns] -> [batch, folds, steps, lanes], idle lanes -1."""
    batch, steps, columns = matrices.shape
    folds = -(-columns // lanes)
    padded = np.pad(matrices, ((0, 0), (0, 0), (0, folds * lanes - columns)), constant_values=-1)
    return padded.reshape(batch, steps, folds, lanes).transpose(0, 2, 1, 3)


def _along_diagonals(folds: Ints) -> Ints:
    """Addresses of all folds, one below the other, in the order in which skewed lanes take them."""
    stacked = folds.reshape(-1, folds.shape[-1])
    step, lane = np.indices(stacked.shape)
    order = np.lexsort((-step.ravel(), (step + lane).ravel()))
    return stacked.ravel()[order]


def _begins(folds: int, stream: int, fill: int, unit: SystolicUnit) -> Ints:
    """The steps in which folds begin that stream `stream` steps, as units.matrix_cycles has them."""
    return np.arange(folds) * (max(stream, unit.rows) if unit.overlap_folds else stream + fill)


def _widths(extent: int, lanes: int) -> Ints:
    """The used width of each fold of an extent."""
    return np.minimum(lanes, extent - np.arange(0, extent, lanes))


def _holding_outputs(left: Ints, right: Ints, unit: SystolicUnit) -> tuple[_Operand, _Operand, _Results]:
    """Both operands [batch, depth, lanes] stream; rows of folds follow each other under a column of them."""
    depth = left.shape[1]
    tall, wide = _cut(left, unit.rows), _cut(right, unit.cols)
    batch, folds_down, folds_across = len(left), tall.shape[1], wide.shape[1]
    each, across, down = (each_axis.ravel() for each_axis in np.indices((batch, folds_across, folds_down)))
    begin = _begins(len(each), depth, unit.rows + unit.cols - 2, unit)
    rows, columns = _widths(left.shape[2], unit.rows)[down], _widths(right.shape[2], unit.cols)[across]
    return (
        _Operand(_flat(tall), _along_diagonals(tall), each * folds_down + down, begin, True),
        _Operand(_flat(wide), _along_diagonals(wide), each * folds_across + across, begin, True),
        _Results(begin + depth - 1, rows, columns),
    )


def _holding_operand(moved: Ints, held: Ints, unit: SystolicUnit) -> tuple[_Operand, _Operand, _Results]:
    """`held` [batch, depth, lanes] is loaded, last row first; then `moved` streams along the depth."""
    steps = moved.shape[2]
    streams, columns = _cut(moved.transpose(0, 2, 1), unit.rows), _cut(held, unit.cols)
    batch, folds_down, folds_across = len(moved), streams.shape[1], columns.shape[1]
    depth = folds_down * unit.rows
    grids = np.pad(columns, ((0, 0), (0, 0), (0, depth - columns.shape[2]), (0, 0)), constant_values=-1)
    grids = grids.reshape(-1, unit.rows, unit.cols)[:, ::-1]
    each, across, down = (each_axis.ravel() for each_axis in np.indices((batch, folds_across, folds_down)))
    begin = _begins(len(each), steps, 2 * unit.rows + unit.cols - 2, unit)
    width = _widths(held.shape[2], unit.cols)[across]
    return (
        _Operand(
            _flat(streams), _along_diagonals(streams), each * folds_down + down, begin + unit.rows, True
        ),
        _Operand(grids, columns.ravel(), np.arange(len(each)), begin, False),
        _Results(begin + 2 * unit.rows - 1, np.full(len(each), steps), width),
    )


def _flat(folds: Ints) -> Ints:
    """[batch, folds, steps, lanes] -> [all folds, steps, lanes]."""
    return folds.reshape(-1, *folds.shape[2:])


def _numbered(operand: _Operand) -> tuple[Ints, tuple[Ints, Ints]]:
    """Cells as numbers of addresses; n is fetched in places `places[first[n] : first[n + 1]]`."""
    fetch = operand.fetch[operand.fetch >= 0]
    addresses, number = np.unique(fetch, return_inverse=True)
    cells = np.where(operand.cells >= 0, np.searchsorted(addresses, operand.cells), -1)
    first = np.concatenate([[0], np.cumsum(np.bincount(number, minlength=len(addresses)))])
    return cells, (np.argsort(number, kind="stable"), first)


@compiled
def _misses(
    cells: Ints, places: Ints, first: Ints, order: Ints, start: Ints, skewed: bool, block: int, half: int
) -> Ints:
    """The steps in which the half in use does not hold what is asked for, one for each half fetched anew."""
    blocks = places.shape[0] // block + 1
    used = min(blocks, -(-half // block))
    turn = min(blocks - used, -(-half // block))
    window = 0
    missed = []
    steps, lanes = cells.shape[1], cells.shape[2]
    for demand in range(order.shape[0]):
        for moment in range(steps + lanes - 1 if skewed else steps):
            for lane in range(lanes):
                step = moment - lane if skewed else moment
                if step < 0 or step >= steps or cells[order[demand], step, lane] < 0:
                    continue
                cell = cells[order[demand], step, lane]
                held = False
                while not held:
                    for index in range(first[cell], first[cell + 1]):
                        if (places[index] // block - window) % blocks < used:
                            held = True
                            break
                    if not held:
                        window = (window + turn) % blocks
                        missed.append(start[demand] + moment)
    return np.array(missed, dtype=np.int64)


@compiled
def _wait(
    asked: Ints, late: Ints, start: Ints, rows: Ints, columns: Ints, pace: int, size: int, half_cycles: int
) -> int:
    """Cycles lost at the end: halves that came late, asked for in cycle `asked`, and results without room."""
    wait = 0
    fill = 0
    room = size
    drained = 0
    for fold in range(start.shape[0]):
        for moment in range(rows[fold] + columns[fold] - 1):
            cycle = start[fold] + moment * pace
            while fill < asked.shape[0] and asked[fill] <= cycle:
                wait = max(wait, late[fill])
                fill += 1
            for _ in range(min(moment, columns[fold] - 1) - max(0, moment - rows[fold] + 1) + 1):
                room -= 1
                if cycle + wait < drained:
                    if room <= 0:
                        wait = drained - cycle
                elif room < size - size // 2:
                    room += size // 2
                    drained = cycle + wait + half_cycles
    while fill < asked.shape[0]:
        wait = max(wait, late[fill])
        fill += 1
    return wait
