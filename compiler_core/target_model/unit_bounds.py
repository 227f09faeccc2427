"""Least work of a whole operation on each unit: never above its cost in units.py under any tiling.

Sums over all cores, in cycles of one core's unit (or of the shared port): divide by the cores for a bound on
time. Work in float64 where a quotient is needed, rounded toward less before it is rounded up.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.target_model.units import (
    BATCH,
    BURST,
    CYCLES,
    FILL,
    JOINS_ROWS,
    JOINS_TAPS,
    LOAD,
    M_OUTER,
    MILLI,
    OVERLAPS,
    PORT_RATE,
    RUN_LIMIT,
    START_UP,
    STREAMS_DEPTH,
    SWAPPED,
    TAPS,
    UNITS,
    K,
    M,
    N,
    Table,
    Whole,
)

SLACK = 1.0 - 1e-12
Floats = npt.NDArray[np.float64]


def matrix_least_cycles(
    batch: Whole, m_outer: Whole, m: Whole, n: Whole, taps: Whole, k: Whole, table: Table
) -> Whole:
    """Work of a product on matrix units over all its tiles, however it is cut, whichever way each tile takes.

    Let phi(x) be x rounded up to the greatest common divisor of the ways' units in that extent. Over any cut
    the product of phi adds up to at least phi of the whole, and a way spends on a tile at least

        1 / prod min(unit, phi(whole))        blocks per unit of phi volume (extents held in the unit)
        max(cycles / min(unit, phi), load / phi)     cycles per block and phi of what streams past it

    so the least over ways of their product, times the phi volume of the whole, is a bound. With one way it is
    exact but for start-up and fill.
    """
    joins_rows = bool((table[:, [JOINS_ROWS, SWAPPED]] > 0).any())
    joins_taps = bool((table[:, JOINS_TAPS] > 0).any())
    rows = (m_outer * m,) if joins_rows else (m_outer, m)
    depth = (taps * k,) if joins_taps else (taps, k)
    extents = (batch, *rows, n, *depth)
    units = np.array([_units(way, joins_rows, joins_taps) for way in table])
    phi = [
        np.asarray(-(-extent // divisor) * divisor, dtype=np.float64)
        for extent, divisor in zip(extents, np.gcd.reduce(units, axis=0), strict=True)
    ]
    volume = np.prod(np.broadcast_arrays(*phi), axis=0)
    weights = [_weight(way, unit, phi, len(rows)) for way, unit in zip(table, units, strict=True)]
    work = np.ceil(volume * np.minimum.reduce(np.broadcast_arrays(*weights)) * SLACK).astype(np.int64)
    return (work + table[:, START_UP].min()) * (batch * m_outer * m * n * taps * k > 0)


def _units(way: Table, joins_rows: bool, joins_taps: bool) -> list[int]:
    """The unit of a way in each extent, in the order of `extents`."""
    rows = [way[M_OUTER] * way[M]] if joins_rows else [way[M_OUTER], way[M]]
    columns = way[N]
    if way[SWAPPED]:
        rows, columns = [way[N]], way[M_OUTER] * way[M]
    depth = [way[TAPS] * way[K]] if joins_taps else [way[TAPS], way[K]]
    return [way[BATCH], *rows, columns, *depth]


def _weight(way: Table, unit: Table, phi: list[Floats], row_extents: int) -> Floats:
    """Cycles a way spends at least per unit of phi volume."""
    if way[STREAMS_DEPTH]:
        streams = range(row_extents + 2, len(phi))
    else:
        streams = range(row_extents + 1, row_extents + 2) if way[SWAPPED] else range(1, row_extents + 1)
    held: Any = float(way[UNITS])
    step: Any = 1.0
    whole: Any = 1.0
    for index, extent in enumerate(phi):
        reach = np.maximum(np.minimum(float(unit[index]), extent), 1.0)
        if index in streams:
            step, whole = step * reach, whole * np.maximum(extent, 1.0)
        else:
            held = held * reach
    if way[OVERLAPS]:
        block = np.maximum(way[CYCLES] / step, way[LOAD] / whole)
    else:
        block = way[CYCLES] / step + way[FILL] / whole
    return np.asarray(block / held)


def vector_least_cycles(points: Whole, lane_ops: Whole, lanes: Whole) -> Whole:
    """Work of a vector operation over all its tiles."""
    return -(-(points * lane_ops) // lanes)


def least_moved_bytes(size: Whole, table: Table) -> Whole:
    """Bytes that `size` bytes move at least: runs the engine keeps shorter than a burst cost whole bursts."""
    if 0 < table[RUN_LIMIT] < table[BURST]:
        return -(-size // table[RUN_LIMIT]) * table[BURST]
    return size


def port_least_cycles(size: Whole, table: Table) -> Whole:
    """Time of the shared port for `size` bytes over all cores; 0 where its bandwidth is infinite."""
    if table[PORT_RATE] == 0:
        return size * 0
    return -(-(least_moved_bytes(size, table) * MILLI) // table[PORT_RATE])
