"""Bound and draft of energy, from the nominal target file alone.

    bound   least arithmetic, every outer operand moved once, static power over the least time
    draft   the same, with the bytes that a Config loads and its draft of the time

Reads out of L1 are left out of both, for their number depends on the inside of the units. Both are in uJ.
Prices are those that the simulator adds up (measure/simulator/energy.py).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.ir.workload import Level, Workload
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.target_model.units import crosses_llb
from tilewright.cost_model.analytic import Cycles, KernelModel, touched_bytes
from tilewright.cost_model.needed import needed_shares
from tilewright.search_space.knobs import Rows

RowFunction: TypeAlias = Callable[[Rows], Cycles]
PICO_TO_MICRO = 1e-6


def _arithmetic_pj(graph: Graph, target: Target, shares: Mapping[int, float]) -> float:
    """Picojoules of all ops for any tiles: each point needed once, on the unit that takes least."""
    return sum(shares[op.result] * _op_pj(graph, op, target) for op in graph.ops)


def _op_pj(graph: Graph, op: Op, target: Target) -> float:
    if op.row.unit in (Unit.NONE, Unit.HOST, Unit.DMA):
        return 0.0
    stored = target.storage_dtype(graph.values[op.operands[0].value].dtype)
    energy = target.energy
    if op.row.contraction:
        return op.points * min(energy.pj_per_lane_op, energy.pj_per_mac_of(stored))
    return op.points * target.vector.lane_ops_of(op.kind, op.row.lane_ops) * energy.pj_per_lane_op


def moved_pj(size_bytes: int, level: Level, target: Target) -> float:
    """Picojoules of moving an operand at `level` to L1 or from it, once."""
    energy = target.energy
    llb = energy.pj_per_llb_byte if crosses_llb(target, level) else 0.0
    return size_bytes * (llb if level is Level.LLB else llb + energy.pj_per_dram_byte)


def kernel_bound_uj(workload: Workload, target: Target, least_us: float) -> float:
    """Microjoules that no schedule of a kernel beats which takes no less than `least_us`."""
    graph = workload.graph
    shares = needed_shares(graph)
    arithmetic = _arithmetic_pj(graph, target, shares)
    outer = ((value, workload.level_of(value)) for value in (*graph.inputs, *graph.outputs))
    moved = sum(
        moved_pj(touched_bytes(graph, value, target, shares), level, target)
        for value, level in outer
        if level is not Level.HOST
    )
    return (arithmetic + moved) * PICO_TO_MICRO + target.energy.static_watts * least_us


def network_bound_uj(graph: Graph, target: Target, least_us: float) -> float:
    """Microjoules that no schedule of a network beats, however fused, which takes no less than `least_us`.

    Its inputs and constants are read once, its outputs stored once; what lies between costs nothing.
    """
    shares = needed_shares(graph)
    arithmetic = _arithmetic_pj(graph, target, shares)
    moved = sum(
        moved_pj(touched_bytes(graph, value, target, shares), level, target)
        for value, level in _compulsory(graph)
    )
    return (arithmetic + moved) * PICO_TO_MICRO + target.energy.static_watts * least_us


def _compulsory(graph: Graph) -> Iterable[tuple[int, Level]]:
    """Values that some unit has to read from outside the chip, or store there, and where they lie."""
    worked = {op.result for op in graph.ops if op.row.unit is not Unit.HOST}
    read = {access.value for op in graph.ops if op.row.unit is not Unit.HOST for access in op.operands}
    yield from ((value, Level.DRAM) for value in graph.inputs if value in read)
    yield from ((value, Level.CONSTANT) for value in sorted(graph.constants) if value in read)
    yield from ((value, Level.DRAM) for value in graph.outputs if value in worked)


@dataclass(frozen=True, eq=False)
class KernelEnergy:
    """Draft and bound of the Configs of one kernel, rows [n, knobs] at once, as logs of uJ."""

    model: KernelModel

    @cached_property
    def _without_time_uj(self) -> float:
        layout = self.model.layout
        return kernel_bound_uj(layout.regions.workload, layout.target, 0.0)

    def bound_log(self, rows: Rows) -> Cycles:
        """Log of an energy that no measurement of a row can beat."""
        watts = self.model.layout.target.energy.static_watts
        return self._log(self._without_time_uj + watts * np.exp(self.model.bound_log(rows)))

    def draft_log(self, rows: Rows) -> Cycles:
        """Log of the best guess."""
        target, demand = self.model.layout.target, self.model.resources.demand(rows)
        again = np.asarray(demand.load_bytes * demand.cores, dtype=np.float64)
        moved = again * (target.energy.pj_per_llb_byte + target.energy.pj_per_l1_byte) * PICO_TO_MICRO
        static = target.energy.static_watts * np.exp(self.model.draft_log(rows))
        return self._log(self._without_time_uj + moved + static)

    def _log(self, energy_uj: Cycles) -> Cycles:
        return np.asarray(np.log(np.maximum(energy_uj, 1e-12)), dtype=np.float64)


def product_log(one: RowFunction, other: RowFunction) -> RowFunction:
    """Log of the product of two numbers that are given as logs."""
    return lambda rows: np.asarray(one(rows) + other(rows), dtype=np.float64)
