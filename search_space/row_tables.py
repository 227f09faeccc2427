"""A kernel's knobs and tile widths as integer tables, for code that answers thousands of rows one by one.

numba compiles the functions over these: row_rules.py, and cost_model's demand. The plain functions give the
same.
"""

from collections.abc import Sequence, Sized
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.compiled import jitable
from tilewright.compiler_core.lowering.widths import WidthTable
from tilewright.search_space.knobs import Rows

Ints = npt.NDArray[np.int64]
ORDER, LOAD, ACCUMULATOR, STORE, IN_FLIGHT, CORES = range(6)
"""The knobs that do not cut loops, in the order of `RowTables.columns`."""
ABSENT = -1


class RowTables(NamedTuple):
    """The columns of knobs in a row, and the meaning of their positions.

    Loop l has its position in column `loop_column[l]` (ABSENT: it has one size), the last of them leaves it
    whole; at position p it has `tiles[first_size[l] + p]` tiles of `sizes[first_size[l] + p]`. `columns` are
    those of the other knobs, ABSENT where a kernel has none; then `fixed_slots`, unless 0, holds. A row uses
    `core_counts` at its position of CORES, at most.
    """

    loop_column: Ints
    first_size: Ints
    sizes: Ints
    tiles: Ints
    parallel: npt.NDArray[np.bool_]
    columns: Ints
    fixed_slots: int
    core_counts: Ints


class Boxes(NamedTuple):
    """Width tables, flat: buffer b has dims `first_dim[b]` to `first_dim[b + 1]`.

    Dim d moves with the loops of its moves, from `first_move[d]` to `first_move[d + 1]`; its width is
    `widths[base[d] + sum of stride[m] * position of loop[m]]`.
    """

    first_dim: Ints
    base: Ints
    first_move: Ints
    loop: Ints
    stride: Ints
    widths: Ints


def flat_tables(tables: Sequence[Sequence[WidthTable]]) -> Boxes:
    """Tables by buffer and dim, one behind the other."""
    first_dim, base, first_move, loop, stride = [0], [0], [0], list[int](), list[int]()
    for dims in tables:
        for table in dims:
            steps = np.cumprod([1, *table.widths.shape[:0:-1]], dtype=np.int64)[::-1]
            loop += table.moves
            stride += steps.tolist()[: len(table.moves)]
            base.append(base[-1] + table.widths.size)
            first_move.append(len(loop))
        first_dim.append(len(base) - 1)
    values = [table.widths.reshape(-1) for dims in tables for table in dims]
    return Boxes(
        ints(first_dim),
        ints(base),
        ints(first_move),
        ints(loop),
        ints(stride),
        np.concatenate(values).astype(np.int64) if values else ints([]),
    )


def ints(values: list[int]) -> Ints:
    """A list as int64."""
    return np.array(values, dtype=np.int64)


def starts(parts: Sequence[Sized]) -> Ints:
    """The begin of each part when they lie one after the other, and the end of the last."""
    return np.cumsum([0, *map(len, parts)], dtype=np.int64)


@jitable
def read_positions(row: Rows, tables: RowTables, positions: Ints) -> None:
    """Fill in the position of the size of every loop."""
    for loop in range(positions.shape[0]):
        column = tables.loop_column[loop]
        positions[loop] = 0 if column < 0 else row[column]


@jitable
def cut_of(positions: Ints, tables: RowTables) -> int:
    """The loops with more than one tile, a bit each."""
    cut = 0
    for loop in range(positions.shape[0]):
        if tables.first_size[loop] + positions[loop] < tables.first_size[loop + 1] - 1:
            cut |= 1 << loop
    return cut


@jitable
def tiles_of(positions: Ints, tables: RowTables, parallel: bool) -> int:
    """Tiles to share out among cores, or steps inside each."""
    tiles = 1
    for loop in range(positions.shape[0]):
        if tables.parallel[loop] == parallel:
            tiles *= tables.tiles[tables.first_size[loop] + positions[loop]]
    return tiles


@jitable
def slots_in(row: Rows, knob: int, tables: RowTables) -> int:
    """Copies of a buffer, or tiles in flight, that a knob asks for; 1 where there is no such knob."""
    if tables.fixed_slots > 0 and knob in (LOAD, ACCUMULATOR):
        return tables.fixed_slots
    column = tables.columns[knob]
    return 1 if column < 0 else int(row[column]) + 1


@jitable
def width(boxes: Boxes, dim: int, positions: Ints) -> int:
    """The widest interval of a dim in any tile."""
    at = boxes.base[dim]
    for move in range(boxes.first_move[dim], boxes.first_move[dim + 1]):
        at += boxes.stride[move] * positions[boxes.loop[move]]
    return int(boxes.widths[at])


@jitable
def elements(boxes: Boxes, buffer: int, positions: Ints) -> int:
    """The most elements a buffer holds in any tile."""
    product = 1
    for dim in range(boxes.first_dim[buffer], boxes.first_dim[buffer + 1]):
        product *= width(boxes, dim, positions)
    return product
