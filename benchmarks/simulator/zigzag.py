"""Layers of ZigZag's reference runs, tuned on its two accelerators as far as a Target can say what they are.

ascend_like   a cube of 2 x 2 pixels, 16 channels out and 16 in; 1 MiB each for activations and weights
tpu_like      32 x 32 multipliers that hold weights; 2 MiB for activations, 128 bytes of weights a multiplier

Both have one DRAM port of 8 bytes a cycle, for reads and writes alike. Sizes and unrollings are those of the
files of these names in ZigZag 3.9. Nothing else takes time there, so nothing else does here: no latencies,
launches, dispatch or fold overheads. Pixels and window taps are padded on their own, as ZigZag unrolls them.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulator.vela import QUICK_TRIALS, TRIALS, ConvolutionLayer, best_cycles, graph_of
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.workload import Level, kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import (
    CubeShape,
    CubeUnit,
    Dataflow,
    Dma,
    Memory,
    Overheads,
    SystolicUnit,
    Target,
)
from tilewright.tuner.kernel.task import KernelTask

Row = Mapping[str, str]
I8 = DType.I8
_DRAM_GBPS = 8.0
"""8 bytes a cycle at 1 GHz."""


def accelerator(name: str) -> Target:
    """One of the two as a Target; UsageError for another name."""
    base = load_target("ascend910")
    matrix: CubeUnit | SystolicUnit
    match name:
        case "ascend_like":
            shape = CubeShape(I8, m_outer=2, m=2, n=16, k=16)
            matrix = CubeUnit((shape,), joins_rows=False, joins_taps=False)
            l1_kib, accumulator_kib = 2048, 256
        case "tpu_like":
            matrix = SystolicUnit(32, 32, Dataflow.WS, ((I8, 1),), joins_taps=False)
            l1_kib, accumulator_kib = 2048 + 128, 0
        case _:
            raise UsageError(f"no accelerator {name} is known here; there are ascend_like and tpu_like")
    return replace(
        base,
        name=name,
        frequency_mhz=1000.0,
        cores=1,
        l1_kib=l1_kib,
        accumulator_kib=accumulator_kib,
        dtypes=((I8, DType.I32),),
        matrix=matrix,
        vector=replace(base.vector, start_up_cycles=0, takes_contractions=False),
        llb=Memory(0, inf, 0, 1),
        dram=Memory(base.dram.kib, _DRAM_GBPS, 0, 8),
        dma=Dma(inf, 0, 1),
        overheads=Overheads(0.0, 0, 0),
        weights_bypass_llb=True,
        values_bypass_llb=True,
    )


def regions_of(row: Row) -> Regions:
    """The kernel of a row: a convolution over int8 values, everything in DRAM at first and at last."""
    stride = int(row["stride"])
    size, channels, filters, window = int(row["OY"]) * stride, int(row["C"]), int(row["K"]), int(row["FY"])
    graph = graph_of(ConvolutionLayer("Conv2D", size, channels, filters, window, stride))
    levels = dict.fromkeys(range(len(graph.values)), Level.DRAM)
    return Regions(kernel_of(graph, range(len(graph.ops)), levels).workload)


def compare(path: Path, seed: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    """A row for every distinct line of a zigzag.csv: our cycles beside its; `quick` takes QUICK_TRIALS."""
    with path.open(encoding="utf-8") as file:
        lines = {(line["accelerator"], line["layer"]): line for line in csv.DictReader(file)}
    for (name, layer), line in lines.items():
        task = KernelTask(regions_of(line), accelerator(name))
        cycles = best_cycles(task, QUICK_TRIALS if quick else TRIALS, np.random.default_rng([seed, 5]))
        reference = float(line["latency_cycles"])
        yield {
            "task": "zigzag",
            "method": f"{name}/{layer}",
            "accelerator": name,
            "cycles": cycles,
            "reference": reference,
            "ratio": round(cycles / reference, 3),
            "steps_ratio": round(cycles / float(line["ideal_temporal_cycles"]), 3),
        }
