"""Reference layers: what their names say, and that a memory in bursts costs what bursts cost."""

import pytest

from benchmarks.simulator.vela import ConvolutionLayer, graph_of, layers_of, regions_of, target_of
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.measure.simulator.kernel import simulate_kernel

ROW = {
    "accelerator": "ethos-u65-256",
    "network": "conv3x3_28_128",
    "name": "o0",
    "op": "Conv2D",
    "memory_mode": "Dedicated_Sram",
}


def test_names_say_shapes() -> None:
    assert layers_of("conv1x1_56_64_256") == (ConvolutionLayer("Conv2D", 56, 64, 256),)
    assert layers_of("stem7x7_224_3_64")[0].out_size == 112
    assert [layer.op for layer in layers_of("mbv1block_56_64")] == ["DepthwiseConv2D", "Conv2D"] * 2
    assert [layer.channels for layer in layers_of("mbv1block_56_64")] == [64, 64, 128, 128]
    assert graph_of(layers_of("conv3x3_28_128")[0]).ops[0].points == 115605504
    with pytest.raises(UsageError, match="no reference network"):
        layers_of("resnet50")


def test_short_runs_keep_the_port_busy_for_whole_bursts() -> None:
    target, regions = target_of(ROW), regions_of(ROW)
    tiling = Tiling((1, 6, 14, 48), (3, 3, 32), (0, 1, 2, 3))
    timing = simulate_kernel(lower_kernel(regions, tiling, 1, target), target)
    work = timing.span.work
    # 5 x 2 blocks of 8 x 16 pixels less the border, 3 times for 48 of 128 filters; runs of 32 of 128 bytes.
    pixels = (7 + 3 * 8 + 5) * (15 + 15)
    stored, weights = 28 * 28 * 128, 9 * 128 * 128
    # Each load pays its share of the weights' one way through DRAM in whole bytes, rounded up.
    assert 0 <= work.dram_read_bytes - (3 * 128 * pixels + weights) < 5 * 2 * 3 * 4
    assert work.dram_moved >= 4 * 3 * 128 * pixels + 8 * stored + weights
    assert timing.span.cycles >= work.dram_moved / target.dram_bytes_per_cycle
    # The weights pass by: they take no room, and each of the ten blocks of pixels reads them all.
    assert work.llb_read_bytes == 10 * weights
    assert timing.peak_l1_bytes < weights
