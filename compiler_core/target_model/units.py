"""Cycles of one operation on one tile, in closed form: matrix unit, vector unit, DMA.

Every function is plain arithmetic over int64 and a small int64 table, so the same source works on Python
integers, on numpy arrays of tiles at once, and inside numba (`numba.njit(matrix_cycles)`). All results are
whole cycles, rounded up, so that timelines add exactly.

A product is six extents: batch, m_outer, m (rows: the two innermost row axes, further ones count into batch),
n (columns), taps and k (reduction: window taps, and the innermost reduction axis).
"""

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.target_model.target import (
    CubeShape,
    CubeUnit,
    Dataflow,
    MatrixUnit,
    Memory,
    SimdUnit,
    SystolicUnit,
    Target,
    signed,
)

Table: TypeAlias = npt.NDArray[np.int64]
Whole: TypeAlias = Any
"""int, numpy integer or int64 array; arrays broadcast."""

# Columns of a matrix table: a row is one allowed way to lay a product on the unit.
SWAPPED, JOINS_ROWS, JOINS_TAPS, STREAMS_DEPTH, OVERLAPS = 0, 1, 2, 3, 4
BATCH, M_OUTER, M, N, TAPS, K = 5, 6, 7, 8, 9, 10
CYCLES, LOAD, FILL, UNITS, START_UP = 11, 12, 13, 14, 15
MATRIX_COLUMNS = 16

# Columns of a DMA table.
ENGINE_RATE, PORT_RATE, SETUP, LATENCY, BURST, RUN_LIMIT = 0, 1, 2, 3, 4, 5
DMA_COLUMNS = 6
MILLI = 1000
"""Rates are in thousandths of a byte per cycle; 0 stands for an infinite one."""


def matrix_table(target: Target, stored: DType) -> Table:
    """The ways `target` has for products of a stored dtype, int64 [ways, MATRIX_COLUMNS]; none: empty."""
    return _matrix_table(target.matrix, stored)


@lru_cache(maxsize=256)
def _matrix_table(matrix: MatrixUnit, stored: DType) -> Table:
    if isinstance(matrix, SimdUnit):
        # Lanes and ports as equal units: which axes fill them is the schedule's choice.
        table = np.ones((1, MATRIX_COLUMNS), dtype=np.int64)
        table[:, [SWAPPED, STREAMS_DEPTH, LOAD, FILL, START_UP]] = 0
        table[:, UNITS] = matrix.fma_ports * matrix.lanes(stored)
        table.setflags(write=False)
        return table
    if isinstance(matrix, SystolicUnit):
        ways = _systolic_ways(matrix, stored)
    else:
        ways = [_cube_way(matrix, s, depthwise=False) for s in matrix.shapes if s.dtype is signed(stored)]
        ways += [_cube_way(matrix, s, depthwise=True) for s in matrix.depthwise if s.dtype is signed(stored)]
    if matrix.swaps:
        ways += [{**way, SWAPPED: 1 - way[SWAPPED]} for way in ways if way[BATCH] == 1]
    table = np.ones((len(ways), MATRIX_COLUMNS), dtype=np.int64)
    for row, way in zip(table, ways, strict=True):
        row[list(way)] = list(way.values())
        row[[UNITS, START_UP]] = matrix.units, matrix.start_up_cycles
    table.setflags(write=False)
    return table


def _cube_way(unit: CubeUnit, shape: CubeShape, *, depthwise: bool) -> dict[int, int]:
    return {
        SWAPPED: 0,
        JOINS_ROWS: int(unit.joins_rows),
        JOINS_TAPS: int(unit.joins_taps),
        STREAMS_DEPTH: 0,
        OVERLAPS: 1,
        BATCH: shape.n if depthwise else 1,
        M_OUTER: shape.m_outer,
        M: shape.m,
        N: 1 if depthwise else shape.n,
        TAPS: shape.taps,
        K: shape.k,
        CYCLES: shape.cycles,
        LOAD: shape.load_cycles,
        FILL: shape.load_cycles,
    }


def _systolic_ways(unit: SystolicUnit, stored: DType) -> list[dict[int, int]]:
    """One way: the operand held in the grid is cut into folds of rows x cols, the third extent streams.

    A fold that overlaps nothing takes stream + fill. OS holds outputs (m by n) and streams the reduction; WS
    holds weights (k by n), loads them in `rows` steps and streams rows; IS is WS with m and n swapped.
    """
    cycles = dict(unit.cycles_per_step).get(signed(stored))
    if cycles is None:
        return []
    holds_outputs = unit.dataflow is Dataflow.OS
    fill = (1 if holds_outputs else 2) * unit.rows + unit.cols - 2
    return [
        {
            SWAPPED: int(unit.dataflow is Dataflow.IS),
            JOINS_ROWS: 1,
            JOINS_TAPS: int(unit.joins_taps or holds_outputs),
            STREAMS_DEPTH: int(holds_outputs),
            OVERLAPS: int(unit.overlap_folds),
            BATCH: 1,
            M_OUTER: 1,
            M: unit.rows if holds_outputs else 1,
            N: unit.cols,
            TAPS: 1,
            K: 1 if holds_outputs else unit.rows,
            CYCLES: cycles,
            LOAD: unit.rows * cycles,
            FILL: fill * cycles,
        }
    ]


def matrix_cycles(
    batch: Whole, m_outer: Whole, m: Whole, n: Whole, taps: Whole, k: Whole, table: Table
) -> Whole:
    """Cycles of a product on the matrix unit in the best way of a table (at least one); 0 for an empty tile.

    Extents are padded to the unit's. With `stream` the steps of the extent that streams past a block, `load`
    the cycles to bring in the next block and `blocks` how many there are,

        overlapped   (blocks - 1) * max(stream, load) + stream + fill + start-up
        otherwise    blocks * (stream + fill) + start-up

    Sources: SCALE-Sim's fold equations (Samajdar et al., ISPASS 2020) without overlap; ONNXim (Ham et al.,
    IEEE Computer Architecture Letters, 2024) with it.
    """
    best = batch * 0 + (1 << 62)
    for index in range(table.shape[0]):
        way = table[index]
        rows_outer, rows, columns = m_outer, m, n
        if way[SWAPPED] == 1:
            rows_outer, rows, columns = 1 + 0 * m_outer, n, m_outer * m
        if way[JOINS_ROWS] == 1 or way[SWAPPED] == 1:
            row_steps = -(-(rows_outer * rows) // (way[M_OUTER] * way[M]))
        else:
            row_steps = -(-rows_outer // way[M_OUTER]) * -(-rows // way[M])
        if way[JOINS_TAPS] == 1:
            depth_steps = -(-(taps * k) // (way[TAPS] * way[K]))
        else:
            depth_steps = -(-taps // way[TAPS]) * -(-k // way[K])
        blocks = -(-batch // way[BATCH]) * -(-columns // way[N])
        if way[STREAMS_DEPTH] == 1:
            blocks, stream = blocks * row_steps, depth_steps * way[CYCLES]
        else:
            blocks, stream = blocks * depth_steps, row_steps * way[CYCLES]
        blocks = -(-blocks // way[UNITS])
        if way[OVERLAPS] == 1:
            time = (blocks - 1) * np.maximum(stream, way[LOAD]) + stream + way[FILL]
        else:
            time = blocks * (stream + way[FILL])
        best = np.minimum(best, time + way[START_UP])
    return best * (batch * m_outer * m * n * taps * k > 0)


def vector_cycles(points: Whole, lane_ops: Whole, lanes: Whole, start_up: Whole) -> Whole:
    """Cycles of `lane_ops` operations on each of `points` points, `lanes` at once; 0 for none of either."""
    return (-(-points // lanes) * lane_ops + start_up) * (points * lane_ops > 0)


def crosses_llb(target: Target, level: Level) -> bool:
    """Whether values at `level` move to and from L1 through the LLB's port."""
    bypassed = {Level.CONSTANT: target.weights_bypass_llb, Level.DRAM: target.values_bypass_llb}
    return target.llb_bytes > 0 and not bypassed.get(level, False)


def load_table(target: Target, memory: Memory, *, constant: bool = False) -> Table:
    """The rates of loads from the LLB or DRAM of `target`, int64 [6]; `constant`: packed in tile order."""
    return _dma_table(target, memory, 0 if constant else target.dma.load_run_bytes)


def store_table(target: Target, memory: Memory) -> Table:
    """The rates of stores to the LLB or DRAM of `target`, int64 [6]."""
    return _dma_table(target, memory, target.dma.store_run_bytes)


def _dma_table(target: Target, memory: Memory, run_limit: int) -> Table:
    engine = milli_rate(target.dma.bytes_per_cycle)
    if memory.latency_cycles:
        in_flight = target.dma.outstanding * memory.burst_bytes * MILLI // memory.latency_cycles
        engine = min(engine or in_flight, max(1, in_flight))
    return np.array(
        [
            engine,
            milli_rate(memory.gbps * 1000.0 / target.frequency_mhz),
            target.dma.setup_cycles,
            memory.latency_cycles,
            memory.burst_bytes,
            run_limit,
        ],
        dtype=np.int64,
    )


def milli_rate(bytes_per_cycle: float) -> int:
    """A bandwidth as a table holds it: thousandths of a byte per cycle, at least one, 0 when infinite."""
    return 0 if bytes_per_cycle == np.inf else max(1, round(bytes_per_cycle * MILLI))


def moved_bytes(size: Whole, run: Whole, table: Table) -> Whole:
    """Bytes that cross the port for `size` bytes lying in runs of `run`: each run is rounded up to bursts."""
    whole = np.maximum(run, 1)
    if table[RUN_LIMIT] > 0:
        whole = np.minimum(whole, table[RUN_LIMIT])
    tail = size % whole
    bursts = size // whole * -(-whole // table[BURST]) + -(-tail // table[BURST])
    return bursts * table[BURST]


def stream_cycles(moved: Whole, sharers: Whole, table: Table) -> Whole:
    """Cycles in which `moved` bytes cross: the slower of the engine and its share of the port."""
    time = moved * 0
    if table[ENGINE_RATE] > 0:
        time = np.maximum(time, -(-(moved * MILLI) // table[ENGINE_RATE]))
    if table[PORT_RATE] > 0:
        time = np.maximum(time, -(-(moved * MILLI * sharers) // table[PORT_RATE]))
    return time


def transfer_cycles(size: Whole, run: Whole, sharers: Whole, table: Table) -> Whole:
    """Cycles of one DMA alone, from issue to the last byte; 0 for no bytes. A composition, not for numba."""
    crossing = stream_cycles(moved_bytes(size, run, table), sharers, table)
    return (table[SETUP] + table[LATENCY] + crossing) * (size > 0)
