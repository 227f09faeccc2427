"""ZigZag's accelerators: their ideal steps, and a layer whose traffic decides."""

from pathlib import Path

import pytest

from benchmarks.simulator.zigzag import accelerator, compare, regions_of
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.dtypes import DType

HEADER = "accelerator,layer,K,C,OY,OX,FY,FX,stride,latency_cycles,ideal_temporal_cycles"
# 49 steps of 2 x 2 pixels, 2 blocks of channels out; 784 + 3136 + 512 bytes through a port of 8 a cycle
SMALL = "{name},small,32,16,14,14,1,1,1,1000,98"


def test_both_have_1024_multipliers() -> None:
    for name in ("ascend_like", "tpu_like"):
        assert accelerator(name).peak_macs_per_cycle(DType.I8) == 1024
    with pytest.raises(UsageError, match="no accelerator eyeriss_like"):
        accelerator("eyeriss_like")


def test_a_stride_reads_the_larger_image() -> None:
    row = {"K": "64", "C": "3", "OY": "112", "OX": "112", "FY": "7", "FX": "7", "stride": "2"}
    graph = regions_of(row).workload.graph
    assert graph.shape(graph.inputs[0]) == (1, 224, 224, 3)
    assert graph.ops[0].points == 118013952


@pytest.mark.parametrize("name", ["ascend_like", "tpu_like"])
def test_the_port_bounds_a_layer_of_little_work(name: str, tmp_path: Path) -> None:
    path = tmp_path / "zigzag.csv"
    path.write_text("\n".join([HEADER, *[SMALL.format(name=name)] * 2]) + "\n")
    (row,) = compare(path, 0, quick=True)
    moved = (14 * 14 * (16 + 32) + 16 * 32) / 8
    assert moved <= row["cycles"] < 1.3 * moved
    assert row["ratio"] == round(row["cycles"] / 1000, 3)
