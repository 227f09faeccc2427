"""Our draft for the blocks of Vela's configurations, from the preset of its accelerator alone.

A block is a tile of rows, columns and filters; of loop orders, slots and channels at once the draft's best
counts. Traversal and weight slices have no counterpart, so that Configs which differ in these alone have
one draft.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from benchmarks.search.strangers.tool import ToolLayer
from benchmarks.simulator.vela import graph_of
from tilewright.compiler_core.ir.workload import Level, kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target
from tilewright.search_space.knobs import Knob, Rows
from tilewright.search_space.space import Space
from tilewright.tuner.kernel.problem import Floats, RowFunction
from tilewright.tuner.kernel.task import KernelTask

_AXES = ("tile_1", "tile_2", "tile_3")
_BLOCK = ("block_height", "block_width", "block_depth")
_UNFIT_LOG = 3.0
"""What a block costs whose tile fits nowhere: about twenty times the others."""


def vela_draft(layer: ToolLayer, space: Space) -> RowFunction:
    """Log draft in microseconds of rows [n, knobs] of Vela's space, for one layer."""
    task = _task(layer)
    places = [[knob.name for knob in space.knobs].index(name) for name in _BLOCK]
    known: dict[tuple[int, ...], float] = {}

    def draft_log(rows: Rows) -> Floats:
        blocks = rows[:, places]
        for block in np.unique(blocks, axis=0):
            if tuple(block) not in known:
                sizes = [int(space.knobs[at].values[index]) for at, index in zip(places, block, strict=True)]
                known[tuple(block)] = _block_log(task, sizes)
        return np.array([known[tuple(block)] for block in blocks])

    return draft_log


@cache
def _task(layer: ToolLayer) -> KernelTask:
    """The layer as a kernel of ours, activations in the SRAM that Vela puts them in."""
    graph = graph_of(layer.layer)
    levels = {0: Level.LLB, 1: Level.CONSTANT, graph.outputs[0]: Level.LLB}
    kernel = kernel_of(graph, range(len(graph.ops)), levels)
    return KernelTask(Regions(kernel.workload), load_target(layer.accelerator.replace("-", "_")))


def _block_log(task: KernelTask, sizes: list[int]) -> float:
    choices = [_choices(knob, sizes) for knob in task.space.knobs]
    rows = np.stack(np.meshgrid(*choices, indexing="ij"), axis=-1).reshape(-1, len(choices)).astype(np.int32)
    fit = rows[task.space.feasible(rows)]
    lowest = task.model.draft_log(fit if len(fit) else rows).min()
    return float(lowest) + (0.0 if len(fit) else _UNFIT_LOG)


def _choices(knob: Knob, sizes: list[int]) -> npt.NDArray[np.int64]:
    """The nearest tile for a side of the block, all of a window's taps, every value of other knobs."""
    count = len(knob.values)
    if knob.name in _AXES:
        values = np.array([float(value) for value in knob.values])
        return np.array([int(np.argmin(np.abs(np.log(values / sizes[_AXES.index(knob.name)]))))])
    if knob.name in ("reduction_tile_0", "reduction_tile_1"):
        return np.array([count - 1])
    return np.arange(count)
