"""Vela's own estimate for block configurations of a layer, in an environment that has nothing of ours.

A line of JSON in, a line out:

    {"on": "ethos-u55-256", "layer": {"op": "Conv2D", ...}, "configs": [[8, 8, 32, "depth", 0], ...]}
    {"tool": "ethos-u-vela 5.2.0", "cycles": [504008.0, null, ...]}

A configuration is the height, width and depth of a block, the traversal, and the filters of a weight slice:
0 reads weights from flash for every block, more buffers slices twice in SRAM. A null: the block does not
fit the accelerator, which has its default system and memory mode. tool.py is the other
end.
"""

import json
import os
import sys
from importlib.metadata import version
from typing import Any

from ethosu.vela import npu_performance as performance
from ethosu.vela.architecture_allocator import try_block_config
from ethosu.vela.architecture_features import Accelerator, ArchitectureFeatures, Block, create_default_arch
from ethosu.vela.ethos_u55_regs.ethos_u55_regs import resampling_mode
from ethosu.vela.operation import Kernel, NpuBlockType, Op
from ethosu.vela.shape4d import Shape4D
from ethosu.vela.tensor import MemArea

BITS = 8
KINDS = {
    "Conv2D": (NpuBlockType.ConvolutionMxN, Op.Conv2DBias),
    "DepthwiseConv2D": (NpuBlockType.ConvolutionDepthWise, Op.DepthwiseConv2DBias),
    "FullyConnected": (NpuBlockType.VectorProduct, Op.FullyConnected),
}
FLASH, SRAM = MemArea.OffChipFlash, MemArea.Sram


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever the package prints is no answer.
    os.dup2(2, 1)
    tool = f"ethos-u-vela {version('ethos-u-vela')}"
    for line in sys.stdin:
        asked = json.loads(line)
        arch = create_default_arch(Accelerator(asked["on"]))
        cycles = [cycles_of(arch, asked["layer"], tuple(config)) for config in asked["configs"]]
        answers.write(json.dumps({"tool": tool, "cycles": cycles}) + "\n")
        answers.flush()


def cycles_of(
    arch: ArchitectureFeatures, layer: dict[str, Any], config: tuple[int, int, int, str, int]
) -> float | None:
    """The largest of compute, SRAM and flash cycles, as Vela sums up an operator; None for an unfit block."""
    height, width, depth, traversal, weight_slice = config
    kind, op = KINDS[layer["op"]]
    query = query_of(layer, kind)
    query.config = try_block_config(
        Block(width, height, depth),
        arch,
        kind,
        query.ofm_shape,
        query.ifm_shape,
        None,
        False,
        BITS,
        traversal == "part kernel",
        query.kernel,
        0,
        True,
        resampling_mode.NONE,
    )
    if query.config is None:
        return None
    query.config.ofm_block = Shape4D(1, height, width, depth)
    compute = performance.measure_cycle_cost(arch, op, None, query).op_cycles
    access = performance.measure_element_access(arch, query)
    at_once = dict.fromkeys((SRAM, FLASH), 0.0)
    sizes = (
        (True, query.ifm_shape, query.config.ifm_block, access.ifm_read[0]),
        (False, query.ofm_shape, query.config.ofm_block, access.ofm_write),
    )
    for reads, shape, block, count in sizes:
        at_once[SRAM] += performance._estimate_memory_transfer_efficiency(
            arch, reads, SRAM, query.ifm_format, BITS, block, shape, count
        )
    if weight_slice:
        weights = (
            layer["window"] ** 2
            * layer["filters"]
            * (1 if kind is KINDS["DepthwiseConv2D"][0] else layer["channels"])
        )
        first = weights * min(weight_slice, layer["filters"]) // layer["filters"]
        whole_cycles = performance.measure_mem2mem_cycles(arch, FLASH, SRAM, weights)
        compute = max(whole_cycles, compute + performance.measure_mem2mem_cycles(arch, FLASH, SRAM, first))
    else:
        at_once[FLASH] += access.const_read[0] + 10 * access.const_read[1]
    return float(
        max(compute, *(size / arch.memory_bandwidths_per_cycle[area] for area, size in at_once.items()))
    )


def query_of(layer: dict[str, Any], kind: NpuBlockType) -> performance.PerformanceQuery:
    """The layer in Vela's words: int8, bricks of 16 channels, inputs and outputs in SRAM."""
    size, out = layer["size"], -(-layer["size"] // layer["stride"])
    query = performance.PerformanceQuery(kind)
    query.ifm_shape, query.ofm_shape = (
        Shape4D(1, size, size, layer["channels"]),
        Shape4D(1, out, out, layer["filters"]),
    )
    query.ifm_bits = query.ofm_bits = BITS
    query.ifm_memory_area = query.ofm_memory_area = SRAM
    query.const_shape, query.const_memory_area = Shape4D(1, 1, 1, layer["filters"]), FLASH
    query.kernel = Kernel(layer["window"], layer["window"], layer["stride"], layer["stride"])
    return query


if __name__ == "__main__":
    main()
