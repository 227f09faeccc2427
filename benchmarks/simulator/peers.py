"""Our simulator beside SCALE-Sim and ZigZag: seconds of one core for the same layers, in one run.

The tools live in an environment of their own (`make bench-peers`), where `peer_runner.py` runs them. For each
layer SCALE-Sim plays its array behind operand buffers cycle by cycle, and we time the same array from Graph
to cycles. ZigZag searches the best mapping on its accelerator, and we search the best of as many Configs as
it evaluates on ours of the same sizes.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulator import peer_runner, zigzag
from benchmarks.simulator.scalesim import total_cycles
from benchmarks.simulator.vela import ConvolutionLayer, best_cycles
from tilewright.compiler_core.errors import UsageError
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.measure.simulator.tables.operand_buffers import streams_of
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.task import KernelTask

LAYERS = {
    "conv1x1_14_64": ConvolutionLayer("Conv2D", 14, 64, 64),
    "conv3x3_14_64": ConvolutionLayer("Conv2D", 14, 64, 64, 3),
    "conv1x1_28_128": ConvolutionLayer("Conv2D", 28, 128, 128),
    "conv3x3_28_128": ConvolutionLayer("Conv2D", 28, 128, 128, 3),
}
QUICK_LAYERS = 2
EVALUATED = 64
"""Configs over which one evaluation of ours is timed."""


def compare(python: Path, seed: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    """A row a layer and tool; `python` is the interpreter of the tools' environment."""
    layers = dict(list(LAYERS.items())[: QUICK_LAYERS if quick else None])
    _scalesim_s(ConvolutionLayer("Conv2D", 8, 8, 8))  # compiles
    for answer in _run(python, "scalesim", layers):
        seconds, cycles = _scalesim_s(layers[answer["name"]])
        yield _row(answer, seconds, cycles, answer["seconds"] / seconds)
    for answer in _run(python, "zigzag", layers):
        layer = layers[answer["name"]]
        seconds, evaluation, cycles = _search_s(layer, answer["evaluations"], seed)
        row = _row(answer, seconds, cycles, answer["seconds"] / seconds)
        yield {**row, "evaluation_ratio": round(answer["seconds"] / answer["evaluations"] / evaluation, 1)}


def _run(python: Path, tool: str, layers: dict[str, ConvolutionLayer]) -> list[dict[str, Any]]:
    asked = json.dumps([{"name": name, **asdict(layer)} for name, layer in layers.items()])
    # -P: our benchmarks are named like the tools they hold against, and lie beside the script.
    command = [str(python), "-P", peer_runner.__file__, tool]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    except OSError as error:
        raise UsageError(
            f"--peers {python}: {error.strerror}; `make bench-peers` makes that environment"
        ) from None
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UsageError(f"--peers {python}: {tool} failed: {last[0]}") from None
    return [json.loads(line) for line in done.stdout.splitlines()]


def _row(answer: dict[str, Any], seconds: float, cycles: int, ratio: float) -> dict[str, Any]:
    return {
        "task": "peers",
        "method": answer["tool"],
        "layer": answer["name"],
        "their_s": round(answer["seconds"], 4),
        "our_s": round(seconds, 6),
        "ratio": round(ratio, 1),
        "their_cycles": answer["cycles"],
        "our_cycles": cycles,
    }


def _scalesim_s(layer: ConvolutionLayer) -> tuple[float, int]:
    """Seconds and cycles of a layer on SCALE-Sim's array, from Graph to Timeline, nothing remembered."""
    side = layer.size + layer.window - 1
    row = {
        "kind": "conv",
        "dataflow": "os",
        "rows": str(peer_runner.ARRAY),
        "cols": str(peer_runner.ARRAY),
        "sram_kb_if_fi_of": str(peer_runner.BUFFER_KIB),
        "bw_words_per_cycle": str(peer_runner.WORDS),
        "H": str(side),
        "W": str(side),
        "R": str(layer.window),
        "S": str(layer.window),
        "Cin": str(layer.channels),
        "Cout": str(layer.filters),
        "stride": str(layer.stride),
    }
    streams_of.cache_clear()
    start = time.thread_time()
    cycles = total_cycles(row)
    return time.thread_time() - start, cycles


def _search_s(layer: ConvolutionLayer, evaluations: int, seed: int) -> tuple[float, float, int]:
    """Seconds of a search of so many trials and of one of them, and the cycles it finds."""
    shape = {"stride": layer.stride, "OY": layer.out_size, "C": layer.channels, "K": layer.filters}
    row = {name: str(size) for name, size in {**shape, "FY": layer.window}.items()}
    target = zigzag.accelerator(peer_runner.ACCELERATOR)
    device = SimulatedDevice(target)
    task = KernelTask(zigzag.regions_of(row), target)
    configs = [task.space.decode(row) for row in sample(task.space, EVALUATED, np.random.default_rng(seed))]
    device.measure(task.workload, configs)
    start = time.thread_time()
    device.measure(task.workload, configs)
    middle = time.thread_time()
    cycles = best_cycles(KernelTask(zigzag.regions_of(row), target), evaluations, np.random.default_rng(seed))
    return time.thread_time() - middle, (middle - start) / len(configs), cycles
