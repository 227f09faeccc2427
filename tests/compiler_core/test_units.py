"""Cycles of single units: SCALE-Sim's figures, hand-worked cases, numba and numpy alike, bounds below."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.target_model.file import list_targets, load_target
from tilewright.compiler_core.target_model.target import CubeShape, CubeUnit, Dataflow, Memory, SystolicUnit
from tilewright.compiler_core.target_model.unit_bounds import (
    least_moved_bytes,
    matrix_least_cycles,
    port_least_cycles,
    vector_least_cycles,
)
from tilewright.compiler_core.target_model.units import (
    Table,
    load_table,
    matrix_cycles,
    matrix_table,
    moved_bytes,
    store_table,
    stream_cycles,
    transfer_cycles,
    vector_cycles,
)

REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference"
SCALESIM, VELA = REFERENCE / "scalesim.csv", REFERENCE / "vela.csv"
ASCEND = load_target("ascend910")
GEMM = st.tuples(*[st.integers(1, 40)] * 6)


def cycles(gemm: Sequence[Any] | npt.NDArray[np.int64], table: Table) -> Any:
    batch, m_outer, m, n, taps, k = gemm
    return matrix_cycles(batch, m_outer, m, n, taps, k, table)


def least_cycles(gemm: Sequence[Any] | npt.NDArray[np.int64], table: Table) -> Any:
    batch, m_outer, m, n, taps, k = gemm
    return matrix_least_cycles(batch, m_outer, m, n, taps, k, table)


def systolic(rows: int, cols: int, dataflow: str, **flags: bool | int) -> Table:
    unit = SystolicUnit(rows, cols, Dataflow(dataflow), ((DType.F16, 1), (DType.I8, 1)), **flags)  # type: ignore[arg-type]
    return matrix_table(replace(ASCEND, matrix=unit), DType.F16)


def cube(*shapes: CubeShape, **flags: bool) -> Table:
    return matrix_table(replace(ASCEND, matrix=CubeUnit(shapes, **flags)), DType.F16)  # type: ignore[arg-type]


@pytest.mark.skipif(not SCALESIM.is_file(), reason=f"no reference table at {SCALESIM}")
def test_every_scalesim_row_is_met_exactly() -> None:
    with SCALESIM.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 200
    for row in rows:
        table = systolic(int(row["rows"]), int(row["cols"]), row["dataflow"], overlap_folds=False)
        m, k, n = (int(row[name]) for name in "MKN")
        assert matrix_cycles(1, 1, m, n, 1, k, table) == int(row["compute_cycles"]), row


def vela_product(network: str) -> tuple[int, ...] | None:
    """The operation that a network of one is named after: batch, height, width, n, taps, channels."""
    kind, *numbers = network.split("_")
    side, *channels = [int(number) for number in numbers]
    if kind == "conv1x1":
        return 1, side, side, channels[1], 1, channels[0]
    if kind == "conv3x3":
        return 1, side, side, channels[0], 9, channels[0]
    if kind == "stem7x7":
        return 1, side // 2, side // 2, channels[1], 49, channels[0]
    if kind == "dw3x3":
        return channels[0], side, side, 1, 9, 1
    return (1, 1, 1, channels[0], 1, side) if kind == "fc" else None


@pytest.mark.skipif(not VELA.is_file(), reason=f"no reference table at {VELA}")
def test_ethos_presets_follow_velas_compute_cycles() -> None:
    with VELA.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["network"].startswith(("mbv1", "resblock"))]
    errors = []
    for row in rows:
        target = load_target(row["accelerator"].replace("-", "_"))
        batch, height, width, n, taps, k = vela_product(row["network"]) or (0,) * 6
        # Two cores take half of the columns each, as Vela deals them.
        gemm = (batch, height, width, -(-n // target.cores), taps, k)
        ours = cycles(gemm, matrix_table(target, DType.I8))
        errors.append(abs(ours / int(row["npu_cycles"]) - 1))
    assert len(errors) >= 10
    assert np.median(errors) <= 0.05
    assert np.quantile(errors, 0.9) <= 0.25


def test_fold_equations_by_hand() -> None:
    # 2 x 3 folds of a 16 x 16 array: 129 + 30 each; 9 x 2 folds of 33 + 46; 9 x 3 folds of 17 + 46.
    assert matrix_cycles(1, 1, 33, 17, 1, 129, systolic(16, 16, "os", overlap_folds=False)) == 3 * 2 * 159
    assert matrix_cycles(1, 1, 33, 17, 1, 129, systolic(16, 16, "ws", overlap_folds=False)) == 9 * 2 * 79
    assert matrix_cycles(1, 1, 33, 17, 1, 129, systolic(16, 16, "is", overlap_folds=False)) == 9 * 3 * 63


def test_overlapped_folds_fill_and_drain_once() -> None:
    # 18 folds: 17 at the pace of 33 rows, the last with its fill of 16 + 16 + 14.
    assert matrix_cycles(1, 1, 33, 17, 1, 129, systolic(16, 16, "ws")) == 17 * 33 + 33 + 46
    # Fewer rows than the array is high: a fold takes as long as loading its weights.
    assert matrix_cycles(1, 1, 4, 17, 1, 129, systolic(16, 16, "ws")) == 17 * 16 + 4 + 46


@given(GEMM, st.sampled_from(["os", "ws", "is"]), st.integers(1, 9), st.integers(1, 9))
def test_overlap_never_costs(gemm: tuple[int, ...], dataflow: str, rows: int, cols: int) -> None:
    apart = cycles(gemm, systolic(rows, cols, dataflow, overlap_folds=False))
    assert cycles(gemm, systolic(rows, cols, dataflow)) <= apart


def test_folds_are_dealt_to_several_arrays() -> None:
    one = systolic(128, 128, "ws", overlap_folds=False)
    four = systolic(128, 128, "ws", overlap_folds=False, units=4)
    assert 4 * matrix_cycles(1, 1, 256, 512, 1, 512, four) == matrix_cycles(1, 1, 256, 512, 1, 512, one)
    assert matrix_cycles(1, 1, 256, 128, 1, 128, four) == matrix_cycles(1, 1, 256, 128, 1, 128, one)


def test_cube_pads_every_extent() -> None:
    table = cube(CubeShape(DType.F16, 16, 16, 16))
    assert matrix_cycles(1, 1, 16, 16, 1, 16, table) == 1
    assert matrix_cycles(1, 1, 17, 16, 1, 16, table) == 2
    assert matrix_cycles(3, 1, 17, 1, 1, 33, table) == 3 * 2 * 3
    assert matrix_cycles(1, 1, 17, 16, 1, 0, table) == 0


def test_taps_and_rows_join_where_the_unit_joins_them() -> None:
    shape = CubeShape(DType.F16, 4, 8, 16, m_outer=2)
    together, apart = cube(shape), cube(shape, joins_rows=False, joins_taps=False)
    # 7 x 7 rows: 49 in blocks of 8, or 4 blocks of 2 by 2 blocks of 4. 9 taps of 3: 27 in blocks of 16, or 9.
    assert matrix_cycles(1, 7, 7, 8, 9, 3, together) == 7 * 2
    assert matrix_cycles(1, 7, 7, 8, 9, 3, apart) == 8 * 9


def test_the_best_shape_and_side_is_taken() -> None:
    wide = CubeShape(DType.F16, 1, 32, 8)
    assert matrix_cycles(1, 1, 32, 1, 1, 8, cube(wide)) == 32
    assert matrix_cycles(1, 1, 32, 1, 1, 8, cube(wide, swaps=True)) == 1
    by_taps = CubeShape(DType.F16, 1, 32, 2, taps=4)
    assert matrix_cycles(1, 1, 1, 32, 9, 2, cube(wide, joins_taps=False)) == 9
    assert matrix_cycles(1, 1, 1, 32, 9, 2, cube(wide, by_taps, joins_taps=False)) == 3


def test_weights_of_a_block_hide_behind_its_rows() -> None:
    table = cube(CubeShape(DType.F16, 4, 8, 8, load_cycles=10))
    assert matrix_cycles(1, 1, 80, 16, 1, 8, table) == 20 + 20 + 10
    assert matrix_cycles(1, 1, 4, 16, 1, 8, table) == 10 + 1 + 10


def test_depthwise_shapes_take_channels_as_columns() -> None:
    ethos = matrix_table(load_target("ethos_u55_256"), DType.I8)
    # 32 channels, 4 x 4 outputs, 3 x 3 taps: 4 blocks of 8 channels, 4 micro-blocks, 3 steps of four taps.
    steady = 4 * 3 * max(4 * 4, 32)
    assert matrix_cycles(32, 4, 4, 1, 9, 1, ethos) == steady - 32 + 16 + 32 + 16
    assert load_target("ethos_u55_256").matrix.start_up_cycles == 16


def test_no_way_for_a_dtype_the_unit_does_not_take() -> None:
    assert matrix_table(ASCEND, DType.I32).shape[0] == 0
    assert (matrix_table(ASCEND, DType.U8) == matrix_table(ASCEND, DType.I8)).all()


@pytest.mark.parametrize("name", list_targets())
def test_peak_is_reached_on_whole_blocks_and_never_exceeded(name: str) -> None:
    target = load_target(name)
    stored = target.dtypes[0][0]
    table = matrix_table(target, stored)
    peak = target.peak_macs_per_cycle(stored) / target.cores
    rng = np.random.default_rng(7)
    gemms = rng.integers(1, 300, size=(6, 2000))
    assert (np.prod(gemms, axis=0) / cycles(gemms, table) <= peak).all()
    big = (1, 224, 224, 512, 1, 2016)
    assert np.prod(big) / cycles(big, table) > 0.95 * peak


def test_numpy_numba_and_plain_python_agree() -> None:
    compiled: Any = numba.njit(matrix_cycles)
    rng = np.random.default_rng(5)
    gemms = rng.integers(0, 70, size=(6, 400))
    for name in list_targets():
        target = load_target(name)
        table = matrix_table(target, target.dtypes[0][0])
        at_once = cycles(gemms, table)
        assert at_once.dtype == np.int64
        for index, gemm in enumerate(gemms.T.tolist()):
            assert cycles(gemm, table) == compiled(*gemm, table) == at_once[index]


def test_vector_numba_and_dma_numba_agree_with_python() -> None:
    table = load_table(ASCEND, ASCEND.llb)
    move: Any = numba.njit(moved_bytes)
    stream: Any = numba.njit(stream_cycles)
    vector: Any = numba.njit(vector_cycles)
    rng = np.random.default_rng(6)
    for size, run, sharers in rng.integers(0, 5000, size=(200, 3)).tolist():
        moved = moved_bytes(size, run, table)
        assert move(size, run, table) == moved
        assert stream(moved, sharers, table) == stream_cycles(moved, sharers, table)
        assert vector(size, run, 64, 9) == vector_cycles(size, run, 64, 9)


def cuts(draw: st.DrawFn, extent: int) -> list[int]:
    """An extent cut into tiles of any sizes."""
    marks = sorted(draw(st.sets(st.integers(1, max(1, extent - 1)), max_size=3)))
    edges = [0, *(mark for mark in marks if mark < extent), extent]
    return [high - low for low, high in pairwise(edges)]


@st.composite
def tilings(draw: st.DrawFn) -> tuple[tuple[int, ...], list[npt.NDArray[np.int64]]]:
    whole = draw(GEMM)
    grid = np.meshgrid(*(cuts(draw, extent) for extent in whole), indexing="ij")
    return whole, [axis.ravel().astype(np.int64) for axis in grid]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A random matrix unit: several shapes that share no divisor, swaps, several arrays."""
    if draw(st.booleans()):
        return systolic(
            draw(st.integers(1, 12)),
            draw(st.integers(1, 12)),
            draw(st.sampled_from(["os", "ws", "is"])),
            overlap_folds=draw(st.booleans()),
            joins_taps=draw(st.booleans()),
            swaps=draw(st.booleans()),
            units=draw(st.integers(1, 3)),
            start_up_cycles=draw(st.integers(0, 5)),
        )
    side = st.integers(1, 9)
    shape = st.builds(
        CubeShape, st.just(DType.F16), side, side, side, side, side, side, load_cycles=st.integers(0, 20)
    )
    unit = CubeUnit(
        tuple(draw(st.lists(shape, min_size=1, max_size=3))),
        tuple(draw(st.lists(shape, max_size=1))),
        joins_rows=draw(st.booleans()),
        joins_taps=draw(st.booleans()),
        swaps=draw(st.booleans()),
        start_up_cycles=draw(st.integers(0, 5)),
        units=draw(st.integers(1, 3)),
    )
    return matrix_table(replace(ASCEND, matrix=unit), DType.F16)


@given(tilings(), tables())
def test_no_tiling_beats_the_least_work(
    tiling: tuple[tuple[int, ...], list[npt.NDArray[np.int64]]], table: Table
) -> None:
    whole, tiles = tiling
    assert least_cycles(whole, table) <= cycles(tiles, table).sum()


@given(tilings(), st.sampled_from(list_targets()))
def test_no_tiling_beats_the_least_work_of_a_preset(
    tiling: tuple[tuple[int, ...], list[npt.NDArray[np.int64]]], name: str
) -> None:
    target = load_target(name)
    table = matrix_table(target, target.dtypes[0][0])
    whole, tiles = tiling
    assert least_cycles(whole, table) <= cycles(tiles, table).sum()


@given(GEMM)
def test_least_work_of_a_single_way_is_exact_but_for_fill(gemm: tuple[int, ...]) -> None:
    table = cube(CubeShape(DType.F16, 4, 8, 3))
    assert least_cycles(gemm, table) == cycles(gemm, table)


def test_least_work_takes_many_products_at_once() -> None:
    rng = np.random.default_rng(3)
    gemms = rng.integers(0, 99, size=(6, 50))
    table = matrix_table(load_target("ethos_u65_512"), DType.I8)
    at_once = least_cycles(gemms, table)
    assert at_once.tolist() == [int(least_cycles(gemm, table)) for gemm in gemms.T.tolist()]


@given(st.integers(0, 10**6), st.integers(0, 16), st.integers(1, 300), st.integers(0, 9))
def test_vector_least_is_below(points: int, lane_ops: int, lanes: int, start_up: int) -> None:
    halves = [points // 3, points - points // 3]
    spent = sum(vector_cycles(part, lane_ops, lanes, start_up) for part in halves)
    assert vector_least_cycles(points, lane_ops, lanes) <= spent


def test_vector_by_hand() -> None:
    assert vector_cycles(1000, 8, 128, 16) == 8 * 8 + 16
    assert vector_cycles(0, 8, 128, 16) == 0


def slow(outstanding: int = 1000) -> Table:
    """A port of 10 bytes a cycle in bursts of 32 with 100 cycles latency; the engine moves 20."""
    memory = Memory(kib=1, gbps=10.0, latency_cycles=100, burst_bytes=32)
    dma = replace(ASCEND.dma, bytes_per_cycle=20.0, setup_cycles=7, outstanding=outstanding)
    return load_table(replace(ASCEND, dma=dma), memory)


def test_dma_by_hand() -> None:
    table = slow()
    assert transfer_cycles(640, 640, 1, table) == 7 + 100 + 64
    assert transfer_cycles(640, 640, 3, table) == 7 + 100 + 192
    # Runs of 40 bytes take two bursts of 32 each.
    assert transfer_cycles(640, 40, 1, table) == 7 + 100 + 103
    assert transfer_cycles(0, 40, 1, table) == 0
    # Two bursts in flight: 64 bytes every 100 cycles.
    assert transfer_cycles(640, 640, 1, slow(outstanding=2)) == 7 + 100 + 1000


def test_engines_that_keep_runs_short_move_more() -> None:
    ethos = load_target("ethos_u65_256")
    assert moved_bytes(1600, 1600, store_table(ethos, ethos.dram)) == 8 * 1600
    assert moved_bytes(1600, 1600, load_table(ethos, ethos.dram)) == 4 * 1600
    assert moved_bytes(1600, 1600, load_table(ethos, ethos.dram, constant=True)) == 13 * 128


def test_infinite_bandwidth_takes_no_time() -> None:
    memory = Memory(kib=0, gbps=float("inf"), latency_cycles=0, burst_bytes=1)
    dma = replace(ASCEND.dma, bytes_per_cycle=float("inf"), setup_cycles=0)
    assert transfer_cycles(10**9, 1, 32, load_table(replace(ASCEND, dma=dma), memory)) == 0


@given(st.integers(0, 10**5), st.integers(1, 2000), st.sampled_from(list_targets()), st.booleans())
def test_bytes_and_port_time_are_never_below_the_least(size: int, run: int, name: str, store: bool) -> None:
    target = load_target(name)
    for memory in (target.llb, target.dram):
        table = (store_table if store else load_table)(target, memory)
        moved = moved_bytes(size, run, table)
        assert moved >= least_moved_bytes(size, table) >= size
        assert stream_cycles(moved, 1, table) >= port_least_cycles(size, table)


@given(
    st.integers(1, 10**5), st.integers(1, 999), st.integers(1, 8), st.floats(0.01, 1e4), st.floats(1.0, 9.0)
)
def test_more_bandwidth_is_never_slower(
    size: int, run: int, sharers: int, gbps: float, factor: float
) -> None:
    memory = Memory(kib=1, gbps=gbps, latency_cycles=10, burst_bytes=64)
    before = transfer_cycles(size, run, sharers, load_table(ASCEND, memory))
    after = transfer_cycles(size, run, sharers, load_table(ASCEND, replace(memory, gbps=gbps * factor)))
    assert after <= before
