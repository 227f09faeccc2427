"""Bound and draft of kernels and networks, from the nominal target file alone.

    bound   a time nothing can beat: the busiest resource with the least work any schedule must do, one launch
    draft   a best guess: resources overlapped as far as the buffering of a Config lets them

Both are in cycles and take all rows at once. The draft ranks; the bound prunes, and shows the possible gain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import ceil, inf
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.ir.workload import Level, Workload
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.steps import SlotKnob
from tilewright.compiler_core.lowering.turns import in_flight
from tilewright.compiler_core.target_model.product import product_axes
from tilewright.compiler_core.target_model.target import SimdUnit, Target
from tilewright.compiler_core.target_model.unit_bounds import (
    least_moved_bytes,
    matrix_least_cycles,
    vector_least_cycles,
)
from tilewright.compiler_core.target_model.units import (
    ENGINE_RATE,
    MILLI,
    SETUP,
    Table,
    crosses_llb,
    load_table,
    matrix_table,
    store_table,
)
from tilewright.cost_model.contenders import Pipeline, contenders
from tilewright.cost_model.needed import needed_shares, touched_elements
from tilewright.cost_model.resources import Demand, KernelResources
from tilewright.cost_model.simd import SimdDraft
from tilewright.cost_model.two_units import least_busier
from tilewright.search_space.knobs import Rows
from tilewright.search_space.row_tables import Ints, ints
from tilewright.search_space.rules import KnobLayout, core_counts

Cycles: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LeastWork:
    """The least work of a kernel or network, in cycles of one unit (ports: of the whole port).

    `units` has an op's cycles on the matrix and on the vector unit, infinite where the unit cannot run it; a
    lowered op runs on one of the two. `llb` counts the bytes themselves, both ways; `dram` the whole bursts
    that they cost where the engine keeps their runs shorter. Constants lie packed.
    """

    units: tuple[tuple[float, float], ...] = ()
    llb: float = 0.0
    dram: float = 0.0

    def __add__(self, other: "LeastWork") -> "LeastWork":
        return LeastWork(self.units + other.units, self.llb + other.llb, self.dram + other.dram)

    @cached_property
    def arithmetic(self) -> float:
        """Cycles of the busier unit if one core did everything."""
        return least_busier(self.units)

    def blend(self, weight: float) -> float:
        """`weight` times the matrix work and the rest times the vector work, each op where that is less."""
        return sum(
            (1.0 - weight) * vector if matrix == inf else min(weight * matrix, (1.0 - weight) * vector)
            for matrix, vector in self.units
        )

    @property
    def ports(self) -> float:
        """Cycles of the busiest shared port."""
        return max(self.llb, self.dram)

    def cycles(self, cores: int) -> float:
        """The busiest resource, with work spread evenly over `cores`."""
        return max(self.arithmetic / cores, self.ports)

    def bound_cycles(self, target: Target) -> float:
        """A time no schedule of this work beats: one launch, then the busiest resource on all cores."""
        return target.launch_cycles + self.cycles(target.cores)


def op_work(graph: Graph, op: Op, target: Target, share: float = 1.0) -> LeastWork:
    """Least arithmetic of one op: on the best unit, for any tiles, with no point computed twice.

    Where only a `share` of its result is needed, units are taken to be full.
    """
    if op.row.unit in (Unit.NONE, Unit.HOST, Unit.DMA):
        return LeastWork()
    stored = target.storage_dtype(graph.values[op.operands[0].value].dtype)
    lanes = target.vector.lanes(stored)
    lane_ops = 1 if op.row.contraction else target.vector.lane_ops_of(op.kind, op.row.lane_ops)
    vector = float(vector_least_cycles(int(op.points * share), lane_ops, lanes))
    table = matrix_table(target, stored)
    if not op.row.contraction or not len(table):
        return LeastWork(((inf, vector),))
    if share < 1.0:
        matrix = op.points * share / target.peak_macs_per_cycle(stored)
    else:
        matrix = float(matrix_least_cycles(*product_axes(op, target.matrix).extents(op.extents), table))
    return LeastWork(((matrix, vector if target.vector.takes_contractions else inf),))


def _ops_work(graph: Graph, target: Target, shares: Mapping[int, float]) -> LeastWork:
    """Least arithmetic of all ops of a graph, as far as their results are needed."""
    works = (op_work(graph, op, target, shares[op.result]) for op in graph.ops)
    return LeastWork(tuple(chain.from_iterable(work.units for work in works)))


def touched_bytes(graph: Graph, value: int, target: Target, shares: Mapping[int, float]) -> int:
    """Bytes of an outer operand that must move at least once: the elements that are needed.

    `shares` are the graph's needed_shares.
    """
    element = target.storage_dtype(graph.values[value].dtype).bytes
    if value in graph.producer:
        return graph.elements(value) * element
    readers = [graph.ops[reader] for reader in graph.readers.get(value, ())]
    touched = (
        int(shares[op.result] * touched_elements(graph, op, access))
        for op in readers
        for access in op.operands
        if access.value == value
    )
    return max(touched, default=0) * element


def kernel_work(workload: Workload, target: Target) -> LeastWork:
    """Least work of a kernel: its ops' arithmetic, and its outer operands across the ports they cross."""
    graph = workload.graph
    shares = needed_shares(graph)
    work = _ops_work(graph, target, shares)
    if target.caches:
        # A kernel's operands may lie in any cache when it begins, so no port gives a bound.
        return work
    for value in (*graph.inputs, *graph.outputs):
        size = touched_bytes(graph, value, target, shares)
        level = workload.level_of(value)
        if crosses_llb(target, level):
            work = work + LeastWork(llb=size / target.llb_bytes_per_cycle)
        if level is not Level.LLB:
            packed = level is Level.CONSTANT
            work = work + _dram_work(size, target, packed=packed, stored=value in graph.producer)
    return work


def _dram_work(size: int, target: Target, *, packed: bool, stored: bool) -> LeastWork:
    """DRAM's work for `size` bytes of a value that is stored, or read; `packed`: of a constant.

    Not whole cycles: they add up over values, and only their sum is rounded up by the port.
    """
    table = store_table(target, target.dram) if stored else load_table(target, target.dram, constant=packed)
    return LeastWork(dram=float(least_moved_bytes(size, table) / target.dram_bytes_per_cycle))


def least_draft_cycles(workload: Workload, target: Target) -> float:
    """No draft of any Config of a kernel is below, in cycles: `draft_cycles` with the least of every term.

    Beyond the bound: each operand is loaded and each result stored at least once, at the setup of a DMA; the
    first loads and the last store overlap with nothing; each op starts its unit at least once.
    """
    work, overheads = kernel_work(workload, target), target.overheads
    once = overheads.barrier_cycles + 2 * target.llb.latency_cycles
    if isinstance(target.matrix, SimdUnit):
        return work.bound_cycles(target) + once
    graph, shares = workload.graph, needed_shares(workload.graph)
    early = Regions(workload).early
    loads = stores = first_load = last_store = 0.0
    for value in (*graph.inputs, *graph.outputs):
        size, level = touched_bytes(graph, value, target, shares), workload.level_of(value)
        memory = target.llb if crosses_llb(target, level) else target.dram
        if size and value in graph.producer:
            table = store_table(target, memory)
            stores += _least_moves(size, table, target)
            last_store += float(table[SETUP])
        elif size and (readers := _readers_in_l1(graph, value)):
            table = load_table(target, memory, constant=level is Level.CONSTANT)
            loads += _least_moves(size, table, target)
            first_load += float(table[SETUP]) if early.intersection(readers) else 0.0
    compute = max(work.arithmetic / target.cores, _least_starts(graph, target))
    apart = max(loads, stores, compute) + first_load + last_store
    busiest = max(apart, work.cycles(target.cores))
    return busiest + overheads.tile_dispatch_cycles + once + target.launch_cycles


def _least_moves(size: int, table: Table, target: Target) -> float:
    """The least cycles of a core for its share of `size` bytes: one setup, and the engine's rate."""
    rate = float(table[ENGINE_RATE])
    return float(table[SETUP]) + (size / target.cores * MILLI / rate if rate > 0.0 else 0.0)


def _readers_in_l1(graph: Graph, value: int) -> list[int]:
    """The ops that read an outer operand as it lies in L1, not past it."""
    return [
        reader
        for reader in graph.readers.get(value, ())
        if any(a.value == value and not a.is_data_dependent for a in graph.ops[reader].operands)
    ]


def _least_starts(graph: Graph, target: Target) -> float:
    """The least cycles of a core's vector unit: every op that runs there starts it once."""
    starts = [
        op
        for op in graph.ops
        if op.row.unit is Unit.VECTOR
        and not op.row.contraction
        and graph.elements(op.result) > 0
        and not any(access.is_data_dependent for access in op.operands)
    ]
    return float(len(starts) * (target.vector.start_up_cycles + 1))


def kernel_bound_cycles(workload: Workload, target: Target) -> float:
    """A time no schedule of this kernel beats, in cycles: one launch, then its busiest resource."""
    return kernel_work(workload, target).bound_cycles(target)


def graph_work(graph: Graph, target: Target) -> LeastWork:
    """Least work of a network, however it is fused: every op's arithmetic, and compulsory DRAM traffic.

    What only ops on the host read or make is no traffic of the device.
    """
    shares = needed_shares(graph)
    work = _ops_work(graph, target, shares)
    if target.caches:
        return work
    of_device = [op for op in graph.ops if op.row.unit is not Unit.HOST]
    read = {access.value for op in of_device for access in op.operands}
    made = {op.result for op in of_device}
    outer = [v for v in (*graph.inputs, *sorted(graph.constants)) if v in read]
    stored = [v for v in graph.outputs if v in made]
    for value in (*outer, *stored):
        size, packed = touched_bytes(graph, value, target, shares), value in graph.constants
        work = work + _dram_work(size, target, packed=packed, stored=value in graph.producer)
    return work


def graph_bound_cycles(graph: Graph, target: Target) -> float:
    """A time no schedule of this network beats: the busiest resource over all ops, plus one launch."""
    return graph_work(graph, target).bound_cycles(target)


@dataclass(frozen=True, eq=False)
class KernelModel:
    """Draft and bound of the Configs of one kernel, rows [n, knobs] at once.

    `elsewhere`: the kernel with its operands in other places than that of `layout`, which has the same knobs.
    """

    layout: KnobLayout
    elsewhere: Workload | None = None

    @property
    def workload(self) -> Workload:
        """The kernel, its operands where they live."""
        return self.elsewhere or self.layout.regions.workload

    @cached_property
    def resources(self) -> KernelResources:
        """The demand of rows on each resource."""
        return KernelResources(self.layout, self.workload)

    @cached_property
    def least(self) -> LeastWork:
        """The kernel's least work."""
        return kernel_work(self.workload, self.layout.target)

    def bound_log(self, rows: Rows) -> Cycles:
        """Log of a time in us that no measurement of a row can beat: its cores share the least work."""
        cores = np.array(core_counts(self.layout.target.cores))[rows[:, self.layout.column("cores")]]
        busiest = np.maximum(self.least.arithmetic / cores, self.least.ports)
        return np.asarray(self._log_us(busiest + self.layout.target.launch_cycles), dtype=np.float64)

    def draft_log(self, rows: Rows) -> Cycles:
        """Log of the best guess in us."""
        if isinstance(self.layout.target.matrix, SimdUnit):
            return self._log_us(self.layout.target.launch_cycles + SimdDraft(self.layout).cycles(rows))
        return self._log_us(self.draft_cycles(rows, self.resources.demand(rows)))

    def lowest(self, rows: Rows, count: int) -> Ints:
        """Positions of the `count` rows of lowest draft, lowest first, the first of equal ones first."""
        if isinstance(self.layout.target.matrix, SimdUnit) or len(rows) <= count:
            return np.argsort(self.draft_log(rows), kind="stable")[:count]
        layout, resources = self.layout, self.resources
        rows = np.ascontiguousarray(rows, dtype=np.int32)
        among = contenders.for_rows(len(rows))(
            rows, count, layout.tables, layout.boxes, resources.nests, resources.written, self._pipeline
        )
        at = np.flatnonzero(among)
        return np.asarray(at[np.argsort(self.draft_log(rows[at]), kind="stable")[:count]])

    @cached_property
    def _pipeline(self) -> Pipeline:
        overheads, regions = self.layout.target.overheads, self.layout.regions
        turns = max(self.layout.handovers) // 2 + 1
        places = in_flight(range(turns))
        return Pipeline(
            least=float(max(self.resources.dram_cycles, ceil(self.least.ports))),
            dispatch=float(overheads.tile_dispatch_cycles),
            once=float(
                2 * self.layout.target.llb.latency_cycles
                + overheads.barrier_cycles
                + self.layout.target.launch_cycles
            ),
            turns=ints(sorted(range(turns), key=lambda turn: places[turn].rank)),
            chained=regions.anchor != regions.root,
        )

    def draft_cycles(self, rows: Rows, demand: Demand) -> Cycles:
        """The engines' demands, overlapped where there are slots to overlap them."""
        single_load = self.layout.slots(rows, SlotKnob.LOAD) == 1
        single_store = self.layout.slots(rows, SlotKnob.STORE) == 1
        compute = self._compute_cycles(rows, demand)
        steady = np.where(single_load, demand.load + compute, np.maximum(demand.load, compute))
        steady = np.where(single_store, steady + demand.store, np.maximum(steady, demand.store))
        overheads = self.layout.target.overheads
        latency = self.layout.target.llb.latency_cycles
        return np.asarray(
            np.maximum(
                steady + demand.first_load + demand.last_store,
                np.maximum.reduce(
                    [demand.dram, demand.port, np.full_like(demand.port, ceil(self.least.ports))]
                ),
            )
            + demand.steps * overheads.tile_dispatch_cycles
            + 2 * latency
            + overheads.barrier_cycles
            + self.layout.target.launch_cycles,
            dtype=np.float64,
        )

    def _compute_cycles(self, rows: Rows, demand: Demand) -> Cycles:
        """The time of the two units together: in turn inside a tile, side by side between tiles.

        With one tile at a time the next one's first part runs beside this one's last. With two in flight each
        part runs beside the other tile's next one, except that the first tile begins and the last ends alone.
        """
        every = np.asarray(demand.matrix + demand.vector, dtype=np.float64)
        if len(demand.parts) == 1:
            regions = self.layout.regions
            chained = (self.layout.slots(rows, SlotKnob.ACCUMULATOR) == 1) & (regions.anchor != regions.root)
            return np.asarray(np.where(chained, every, np.maximum(demand.matrix, demand.vector)))
        places = in_flight(range(len(demand.parts)))
        parts = demand.parts[sorted(range(len(places)), key=lambda turn: places[turn].rank)]
        beside = np.maximum(parts[:, 1], np.roll(parts[:, 0], -1, axis=0)).sum(axis=0)
        beside = np.maximum(beside, np.maximum(demand.matrix, demand.vector))
        repeated = 1.0 - 1.0 / demand.steps
        alone = every - np.minimum(demand.parts[0, 0], demand.parts[-1, 1]) * repeated
        together = every + (beside - every) * repeated
        return np.asarray(np.where(self.layout.tiles_in_flight(rows) == 1, alone, together))

    def _log_us(self, cycles: Cycles) -> Cycles:
        return np.log(np.maximum(cycles, 1.0) / self.layout.target.cycles_per_us)
