"""Tile sizes worth trying, and default tilings: legal, on all cores, never larger than L1."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.random_graphs import Builder, graphs, same
from tests.small_networks import split_matmul
from tests.targets import small_target
from tilewright.compiler_core.checking.verify import verify_kernel
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, affine, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import plan_graph, plan_groups
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.tile import (
    MOST_SIZES,
    MOST_TILES,
    default_tiling,
    loop_sizes,
    useful_sizes,
)
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.transforms.fuse import FusionPolicy, group_greedily


def test_sizes_of_56_under_a_unit_of_16() -> None:
    expected = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 19, 28, 32, 48, 56)
    assert useful_sizes(56, 16) == expected


@given(extent=st.integers(0, 5000), granule=st.sampled_from([1, 4, 8, 16, 128]))
def test_sizes_ascend_from_one_to_the_extent_and_each_has_an_effect(extent: int, granule: int) -> None:
    sizes = useful_sizes(extent, granule)
    assert list(sizes) == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (1, max(1, extent))
    assert len(sizes) <= MOST_SIZES + 2
    for size in sizes[1:]:
        fewer_tiles = -(-extent // size) < -(-extent // (size - 1))
        assert fewer_tiles or size % granule == 0


@given(
    extent=st.integers(1, 1 << 44),
    granule=st.sampled_from([1, 4, 16, 128]),
    most_tiles=st.sampled_from([1, 3, 1000, MOST_TILES]),
)
def test_no_size_makes_too_many_tiles(extent: int, granule: int, most_tiles: int) -> None:
    sizes = useful_sizes(extent, granule, most_tiles)
    assert list(sizes) == sorted(set(sizes))
    assert sizes[-1] == extent
    assert -(-extent // sizes[0]) <= most_tiles
    assert len(sizes) <= MOST_SIZES + 2


@given(st.data())
def test_default_tilings_are_sound_and_busy(data: Any) -> None:
    """Where cores idle there was nothing left to cut: every parallel loop is at tiles of one."""
    graph, _ = data.draw(graphs(most_steps=4))
    target = small_target(cores=data.draw(st.integers(1, 8)), l1_kib=data.draw(st.sampled_from([4, 64])))
    groups = group_greedily(graph, FusionPolicy())
    for regions in plan_groups(graph, groups, target).regions.values():
        try:
            tiling = default_tiling(regions, target)
        except ConfigError:
            assert target.l1_kib == 4
            continue
        program = lower_kernel(regions, tiling, target.cores, target)
        assert verify_kernel(program, target) == []
        idle = program.parallel_tiles < target.cores
        sizes = zip(regions.loops, (*tiling.tile, *tiling.reduction_tile), strict=True)
        assert not idle or all(size == 1 for loop, size in sizes if loop.kind is AxisKind.PARALLEL)


def _softmax(b: Builder, rows: int, width: int) -> None:
    x = b.input((rows, width))
    most = b.op("max", (rows,), (width,), (Access(x, (axis_index(0), axis_index(1))),))
    each = b.op("sub", (rows, width), (), (same(x, 2), Access(most, (axis_index(0),))))
    power = b.op("exp", (rows, width), (), (same(each, 2),))
    total = b.op("sum", (rows,), (width,), (Access(power, (axis_index(0), axis_index(1))),))
    b.op("div", (rows, width), (), (same(power, 2), Access(total, (axis_index(0),))))


def _concat(b: Builder, operands: int, width: int) -> None:
    parts = [b.input((4, width)) for _ in range(operands)]
    shifted = [
        Access(part, (axis_index(0), affine((1, 1), offset=-index * width)), 0.0)
        for index, part in enumerate(parts)
    ]
    b.op("concat", (4, operands * width), (), tuple(shifted))


def _embedding(b: Builder, rows: int, width: int) -> None:
    table, picked = b.input((rows, width)), b.input((64,), DType.I64, rows)
    index = IndexExpr(source=1)
    b.op("gather", (64, width), (), (Access(table, (index, axis_index(1))), Access(picked, (axis_index(0),))))


def _long_matmul(b: Builder, depth: int) -> None:
    left, right = b.input((8, depth)), b.input((depth, 1000))
    accesses = (Access(left, (axis_index(0), axis_index(2))), Access(right, (axis_index(2), axis_index(1))))
    b.op("contract", (8, 1000), (depth,), accesses)


def test_a_kernel_that_cannot_fit_says_so_and_smaller_ones_do() -> None:
    """A whole softmax folds its rows twice, so they must be whole in L1; kernel by kernel they need not."""
    b = Builder(DType.F32, 0)
    _softmax(b, 4, 4096)
    graph = b.graph((b.ops[-1].result,))
    target = small_target(l1_kib=1)
    (regions,) = plan_groups(graph, [(0, 1, 2, 3, 4)], target).regions.values()
    with pytest.raises(ConfigError, match="no tile of this kernel fits the 1024 bytes of L1 of small"):
        default_tiling(regions, target)
    assert all(default_tiling(r, target) for r in plan_graph(graph, target).regions.values())


@pytest.mark.parametrize("preset", ["ascend910", "ethos_u55_128", "ethos_u55_256", "gemmini16", "eyeriss"])
@pytest.mark.parametrize(
    "network",
    [
        lambda b: _softmax(b, 16, 65_536),
        lambda b: _concat(b, 64, 512),
        lambda b: _embedding(b, 30_000, 64),
        lambda b: _long_matmul(b, 20_000),
    ],
    ids=["softmax of 65536", "concat of 64", "embedding of 30000", "matmul of depth 20000"],
)
def test_large_kernels_fit_every_preset(preset: str, network: Any) -> None:
    b = Builder(DType.F32, 0)
    network(b)
    graph = b.graph((b.ops[-1].result,))
    target = load_target(preset)
    for regions in plan_graph(graph, target).regions.values():
        tiling = default_tiling(regions, target)
        assert verify_kernel(lower_kernel(regions, tiling, target.cores, target), target) == []


def test_loops_offer_the_sizes_of_their_extents() -> None:
    regions = Regions(split_matmul().kernel().workload)
    sizes = loop_sizes(regions, small_target())
    assert [values[-1] for values in sizes] == [12, 10, 40]
    assert all(values[0] == 1 for values in sizes)
