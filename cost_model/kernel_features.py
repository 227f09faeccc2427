"""Features of the Configs of compiled kernels: the same columns for every shape and every target.

They describe what a Config asks of the machine rather than which numbers it consists of, so that records of
one kernel on one chip say something about another kernel on another chip. FEATURES is their version: records
are featurised anew whenever a model is fitted, so a change of columns needs no migration.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.lowering.outline import SlotKnob
from tilewright.cost_model.analytic import KernelModel
from tilewright.cost_model.plain_features import FeatureFunction, Features
from tilewright.search_space.knobs import Rows

Column: TypeAlias = npt.NDArray[Any]

FEATURES = "1"
_FLOOR = 1e-3


def kernel_features(model: KernelModel) -> FeatureFunction:
    """From rows int32 [n, knobs] to float32 [n, features], mostly log2 of counts, cycles and ratios."""
    layout = model.layout
    regions, target = layout.regions, layout.target
    workload = np.array(
        [
            _log2(sum(op.points for op in regions.graph.ops)),
            _log2(model.least.blend(0.999)),
            _log2(model.least.blend(0.0)),
            _log2(model.least.llb),
            _log2(model.least.dram),
            len(regions.graph.ops),
            len(regions.graph.inputs),
            _log2(target.cores),
            _log2(target.l1_bytes),
            _log2(target.llb_bytes_per_cycle),
            _log2(target.dram_bytes_per_cycle),
            _log2(target.launch_cycles),
        ],
        dtype=np.float32,
    )

    def features(rows: Rows) -> Features:
        demand = model.resources.demand(rows)
        draft = model.draft_cycles(rows, demand)
        engines = [demand.load, demand.matrix, demand.vector, demand.store, demand.dram]
        busiest = np.maximum.reduce(engines)
        positions = layout.loop_positions(rows)
        sizes = np.ones((len(rows), len(layout.sizes)))  # a kernel of one point has no loop
        for at, listed in enumerate(layout.sizes):
            sizes[:, at] = np.array(listed, dtype=np.float64)[positions[:, at]]
        columns = [
            _logs(draft),
            *(_logs(engine / draft) for engine in engines),
            _logs((demand.load + demand.matrix + demand.vector + demand.store) / np.maximum(busiest, 1)),
            _logs(demand.first_load / draft),
            _logs(demand.last_store / draft),
            _logs(demand.tiles),
            _logs(demand.steps),
            _logs(demand.cores),
            _logs(demand.load_bytes / np.maximum(demand.steps, 1)),
            _logs(demand.l1_elements),
            _logs(model.least.arithmetic / np.maximum(demand.matrix * demand.cores, 1)),
            _logs(layout.parallel_tiles(positions) / (demand.tiles * demand.cores)),
            *(
                layout.slots(rows, knob).astype(np.float32)
                for knob in (SlotKnob.LOAD, SlotKnob.ACCUMULATOR, SlotKnob.STORE)
            ),
            *(_logs(column) for column in _last_sizes(sizes, layout.regions.graph.ops[-1].rank)),
        ]
        own = np.stack(columns, axis=1).astype(np.float32)
        return np.concatenate([own, np.broadcast_to(workload, (len(rows), len(workload)))], axis=1)

    return features


def _last_sizes(sizes: Column, rank: int) -> list[Column]:
    """Tile sizes of the three innermost result axes (or ones) and of the reduction step."""
    ones = np.ones(len(sizes))
    inner = [sizes[:, rank - back] if rank >= back else ones for back in (1, 2, 3)]
    return [*inner, np.prod(sizes[:, rank:], axis=1)]


def _log2(value: float) -> float:
    return float(np.log2(min(max(float(value), _FLOOR), 1e15)))


def _logs(values: Column) -> Column:
    return np.asarray(np.log2(np.maximum(values, _FLOOR)), dtype=np.float32)
