"""Features of the Configs of compiled kernels: the same columns for every shape and every target.

They describe a Config's demand on the machine rather than the numbers in it, so that records of one kernel on
one chip help to predict another kernel on another chip. FEATURES is their version: records are featurised
anew whenever a model is fitted, so a change of columns needs no migration.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.lowering.steps import SlotKnob
from tilewright.compiler_core.target_model.target import SimdUnit
from tilewright.cost_model.analytic import KernelModel
from tilewright.cost_model.plain_features import FeatureFunction, Features
from tilewright.cost_model.simd import SimdDraft
from tilewright.search_space.blocking import (
    FOLD_ORDER,
    INNER,
    ROW,
    ROWS,
    UNROLL,
    VECTOR,
    VECTORS,
    core_of,
)
from tilewright.search_space.knobs import Rows

Column: TypeAlias = npt.NDArray[Any]

FEATURES = "1"
_FLOOR = 1e-3


def kernel_features(model: KernelModel) -> FeatureFunction:
    """From rows int32 [n, knobs] to float32 [n, features], mostly log2 of counts, cycles and ratios."""
    if isinstance(model.layout.target.matrix, SimdUnit):
        return simd_features(SimdDraft(model.layout))
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
        for index, listed in enumerate(layout.sizes):
            sizes[:, index] = np.array(listed, dtype=np.float64)[positions[:, index]]
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


def simd_features(draft: SimdDraft) -> FeatureFunction:
    """The columns of kernels on a simd unit: costs of the draft, the register block, sizes of tiles."""
    layout = draft.layout
    rank = layout.regions.graph.ops[layout.regions.root].rank
    op = core_of(layout.regions)
    kernel = [_log2(op.points), float(op.row.contraction), float(len(layout.regions.graph.ops))]

    def features(rows: Rows) -> Features:
        costs, total = draft.costs(rows), draft.cycles(rows)
        blocking = layout.blocking(rows)
        ones = np.ones(len(rows), dtype=np.int64)
        vector = blocking.get(VECTOR, np.zeros_like(ones))
        row = blocking.get(ROW, vector)
        positions = layout.loop_positions(rows)
        sizes = np.ones((len(rows), len(layout.sizes)))
        for index, listed in enumerate(layout.sizes):
            sizes[:, index] = np.array(listed, dtype=np.float64)[positions[:, index]]
        columns = [
            _logs(total),
            *(_logs(part / total) for part in costs),
            *(_logs(blocking.get(name, ones)) for name in (VECTORS, ROWS, UNROLL)),
            *(blocking.get(name, ones).astype(np.float32) for name in (INNER, FOLD_ORDER)),
            np.isin(vector, list(op.reduction_axes)).astype(np.float32),
            *(_logs(step + 1.0) for step in draft.strides(vector)),
            *(_logs(step + 1.0) for step in draft.strides(row)),
            _logs(layout.parallel_tiles(positions)),
            _logs(layout.serial_steps(positions)),
            *(_logs(column) for column in _last_sizes(sizes, rank)),
            *(np.full(len(rows), value, dtype=np.float32) for value in kernel),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

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
