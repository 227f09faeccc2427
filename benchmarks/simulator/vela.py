"""Layers of Vela's reference runs as kernels on the Ethos presets, tuned with a fixed number of trials.

A network's name says its shapes (conv3x3_28_128, dw3x3_56_128, fc_1024_1000, stem7x7_224_3_64,
mbv1block_56_64, resblock_28_128: kernel, height and width, channels in and out). Values lie as Vela has them:
channels innermost, and where its memory mode puts them.

A row's answer is the best of TRIALS measurements, the same rule for all: the default Config and the best of a
random draw by the draft, then neighbours of what measured best.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, affine, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level, kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import distinct, row_keys, sample, steps
from tilewright.tuner.kernel.task import KernelTask

Row = Mapping[str, str]
P, R = AxisKind.PARALLEL, AxisKind.REDUCTION
I8, I32 = DType.I8, DType.I32
TRIALS, QUICK_TRIALS, DRAWN, BATCH = 256, 64, 8192, 32


@dataclass(frozen=True)
class ConvolutionLayer:
    """One operator: a square image in and out, a square window."""

    op: str
    size: int
    channels: int
    filters: int
    window: int = 1
    stride: int = 1

    @property
    def out_size(self) -> int:
        """Height and width of the result."""
        return -(-self.size // self.stride)


def layers_of(network: str) -> tuple[ConvolutionLayer, ...]:
    """The operators of a reference network in order; UsageError for a name of another form."""
    kind = re.match(r"[a-z]+", network)
    numbers = [int(n) for n in re.findall(r"_(\d+)", network)]
    found = re.search(r"(\d+)x\d+", network)
    window = int(found[1]) if found else 3
    match kind[0] if kind else "", numbers:
        case "conv", [size, channels, *filters]:
            return (ConvolutionLayer("Conv2D", size, channels, filters[0] if filters else channels, window),)
        case "stem", [size, channels, filters]:
            return (ConvolutionLayer("Conv2D", size, channels, filters, window, 2),)
        case "dw", [size, channels]:
            return (ConvolutionLayer("DepthwiseConv2D", size, channels, channels, window),)
        case "fc", [channels, filters]:
            return (ConvolutionLayer("FullyConnected", 1, channels, filters),)
        case "resblock", [size, channels]:
            conv = ConvolutionLayer("Conv2D", size, channels, channels, 3)
            return conv, conv, ConvolutionLayer("Add", size, channels, channels)
        case "mbv", [size, channels]:
            wide = 2 * channels
            return (
                ConvolutionLayer("DepthwiseConv2D", size, channels, channels, 3),
                ConvolutionLayer("Conv2D", size, channels, wide),
                ConvolutionLayer("DepthwiseConv2D", size, wide, wide, 3, 2),
                ConvolutionLayer("Conv2D", size // 2, wide, wide),
            )
    raise UsageError(f"{network} is no reference network known here; names are like conv3x3_28_128")


def graph_of(layer: ConvolutionLayer) -> Graph:
    """A layer over int8 values, [1, height, width, channels], its sums scaled to int8 at the end."""
    size, out, window = layer.size, layer.out_size, layer.window
    image = TensorType((1, size, size, layer.channels), I8)
    result = (1, out, out, layer.filters)
    if layer.op == "Add":
        same = tuple(axis_index(axis) for axis in range(4))
        add = Op("add", result, (P,) * 4, (Access(0, same), Access(1, same)), 2)
        return Graph((image, image, TensorType(result, I8)), (add,), (0, 1), (2,))
    pad = max(0, (out - 1) * layer.stride + window - size) // 2
    rows = affine((1, layer.stride), (4, 1), offset=-pad)
    columns = affine((2, layer.stride), (5, 1), offset=-pad)
    domain: tuple[int, ...]
    if layer.op == "DepthwiseConv2D":
        domain, depth = (*result, window, window), axis_index(3)
        weight = Access(1, (axis_index(3), axis_index(4), axis_index(5)))
        filters = TensorType((layer.filters, window, window), I8)
    else:
        domain, depth = (*result, window, window, layer.channels), axis_index(6)
        weight = Access(1, (axis_index(3), axis_index(4), axis_index(5), axis_index(6)))
        filters = TensorType((layer.filters, window, window, layer.channels), I8)
    kinds = (P,) * 4 + (R,) * (len(domain) - 4)
    read = Access(0, (axis_index(0), rows, columns, depth), 0.0)
    sums = Op("contract", domain, kinds, (read, weight), 2)
    scale = Op("cast", result, (P,) * 4, (Access(2, tuple(axis_index(a) for a in range(4))),), 3)
    values = (image, filters, TensorType(result, I32), TensorType(result, I8))
    return Graph(values, (sums, scale), (0, 1), (3,))


def target_of(row: Row) -> Target:
    """The preset of a row's accelerator."""
    return load_target(row["accelerator"].replace("-", "_"))


def regions_of(row: Row) -> Regions:
    """The kernel of a row: the shapes from its network's name, operands where its memory mode puts them.

    With shared SRAM all values lie there. With dedicated SRAM what enters or leaves the network lies in DRAM.
    """
    layers = layers_of(row["network"])
    at = int(row["name"].lstrip("o"))
    layer = layers[at]
    if layer.op != row["op"]:
        raise UsageError(f"operator {at} of {row['network']} is a {layer.op}, the row says {row['op']}")
    outside = Level.LLB if row["memory_mode"] == "Shared_Sram" else Level.DRAM
    graph = graph_of(layer)
    first = Level.LLB if at else outside
    levels = {0: first, graph.outputs[0]: outside if at == len(layers) - 1 else Level.LLB}
    # The sum of a residual block reads the block's input, and the result of its second convolution.
    levels[1] = outside if layer.op == "Add" else Level.CONSTANT
    return Regions(kernel_of(graph, range(len(graph.ops)), levels).workload)


def compare(path: Path, seed: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    """A row for every line of a vela.csv: our cycles beside its; `quick` takes QUICK_TRIALS."""
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        task = KernelTask(regions_of(line), target_of(line))
        cycles = best_cycles(task, QUICK_TRIALS if quick else TRIALS, np.random.default_rng([seed, 4]))
        reference = int(line["op_cycles"])
        yield {
            "task": "vela",
            "method": "/".join((line["accelerator"], line["network"], line["name"])),
            "accelerator": line["accelerator"],
            "cycles": cycles,
            "reference": reference,
            "ratio": round(cycles / reference, 3),
        }


def best_cycles(task: KernelTask, trials: int, rng: np.random.Generator) -> int:
    """Cycles of the best of `trials` Configs of a kernel on its nominal simulated chip."""
    device, space = SimulatedDevice(task.target), task.space
    known: dict[int, float] = {}
    asked = np.zeros((0, len(space.knobs)), dtype=np.int32)
    drawn = sample(space, DRAWN, rng, attempts=16)
    fresh = np.concatenate([space.encode(task.default)[None, :].astype(np.int32), _by_draft(task, drawn)])
    fresh = distinct(fresh)[: trials // 4]
    while len(fresh):
        answers = device.measure(task.workload, [space.decode(row) for row in fresh])
        asked = np.concatenate([asked, fresh])
        known.update(
            {len(known) + index: answer.latency_cycles or np.inf for index, answer in enumerate(answers)}
        )
        fresh = _near_the_best(task, asked, known)[: min(BATCH, trials - len(asked))]
    return int(min(known.values()))


def _near_the_best(task: KernelTask, asked: Rows, known: Mapping[int, float]) -> Rows:
    """Rows not asked yet one step from the best row that has any, by draft."""
    for index in sorted(known, key=lambda at: known[at]):
        near = distinct(steps(task.space, asked[index]), without=row_keys(asked))
        if len(near):
            return _by_draft(task, near)
    return asked[:0]


def _by_draft(task: KernelTask, rows: Rows) -> Rows:
    return rows[np.argsort(task.model.draft_log(rows), kind="stable")] if len(rows) else rows
