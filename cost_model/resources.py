"""What the Configs of one kernel ask of each resource: the closed form that draft and features are made of.

All of it works on thousands of rows at once. A step of the kernel fires once per change of a loop it moves
with; per firing it costs what its widest tile costs (units.py), so ragged borders are counted as full tiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import AxisKind, Unit
from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.lowering.outline import BufferOutline, Outline, outline
from tilewright.compiler_core.lowering.program import FROM_MEMORY, Action, Step
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.turns import handovers_of
from tilewright.compiler_core.target_model.product import product_axes
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.target_model.unit_bounds import port_least_cycles
from tilewright.compiler_core.target_model.units import (
    MILLI,
    PORT_RATE,
    SETUP,
    Table,
    crosses_llb,
    load_table,
    matrix_cycles,
    matrix_table,
    moved_bytes,
    store_table,
    stream_cycles,
    vector_cycles,
)
from tilewright.search_space.knobs import Rows
from tilewright.search_space.rules import KnobLayout, core_counts

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Demand:
    """Cycles per core by engine [n], those of the DRAM port for what must cross it, those of the busiest port
    for what all cores load and store, and what shapes the pipeline around them. `parts` [turns, 2, n] are the
    cycles of each turn of the units (turns.py) on the unit that begins and on the other.
    """

    load: Counts
    matrix: Counts
    vector: Counts
    parts: Counts
    store: Counts
    dram: Counts
    port: Counts
    first_load: Counts
    last_store: Counts
    tiles: Counts
    steps: Counts
    cores: Counts
    load_bytes: Counts
    l1_elements: Counts


@dataclass(frozen=True, eq=False)
class KernelResources:
    """One kernel on one target, with its knobs: maps rows to Demands."""

    layout: KnobLayout

    @property
    def regions(self) -> Regions:
        """The kernel's dependence structure."""
        return self.layout.regions

    @property
    def target(self) -> Target:
        """The nominal target."""
        return self.layout.target

    @cached_property
    def plan(self) -> Outline:
        """Steps and buffers when every loop is cut; a loop that a row leaves whole fires no step."""
        return outline(self.regions, frozenset(range(len(self.regions.loops))), self.target)

    @cached_property
    def _nests(self) -> Counts:
        """Loops of every loop order, outermost first, int64 [orders, loops]."""
        loops = self.regions.loops
        parallel = [d for d, loop in enumerate(loops) if loop.kind is AxisKind.PARALLEL]
        serial = [d for d, loop in enumerate(loops) if loop.kind is not AxisKind.PARALLEL]
        rows = [[*(d for d in parallel if d not in order), *order, *serial] for order in self.layout.orders]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(loops))

    @cached_property
    def _handovers(self) -> tuple[int, ...]:
        return handovers_of(self.regions.graph, self.target)

    def demand(self, rows: Rows) -> Demand:
        """What each row [n, knobs] asks for."""
        firing = _Firing.of(self, rows)
        zero = np.zeros(len(rows), dtype=np.int64)
        total = {"load": zero, "store": zero, "matrix": zero, "vector": zero, "dram": zero}
        first_load, last_store, load_bytes = zero, zero, zero
        port = {True: zero, False: zero}
        parts = np.zeros((max(self._handovers) // 2 + 1, 2, len(rows)), dtype=np.int64)
        for step in self.plan.steps:
            times = firing.per_core(step)
            if step.action is Action.COMPUTE:
                for engine, cycles in self._compute(step, firing).items():
                    total[engine] = total[engine] + cycles * times
                    if engine != "load":
                        parts[divmod(self._handovers[step.op], 2)] += cycles * times
                continue
            buffer = self.plan.buffers[step.buffer]
            size, cycles, crossing = self._transfer(step, buffer, firing)
            near = crosses_llb(self.target, self.regions.workload.level_of(buffer.value))
            port[near] = port[near] + crossing * times * firing.cores
            engine = "load" if step.action is Action.LOAD else "store"
            total[engine] = total[engine] + cycles * times
            if step.action is Action.LOAD:
                first_load = first_load + (0 if step.late else 1) * cycles
                load_bytes = load_bytes + size * times
            else:
                last_store = last_store + cycles
        return Demand(
            load=total["load"],
            matrix=total["matrix"],
            vector=total["vector"],
            parts=parts,
            store=total["store"],
            dram=zero + self._dram_cycles,
            port=np.maximum(port[True], port[False]),
            first_load=first_load,
            last_store=last_store,
            tiles=firing.tiles_per_core,
            steps=firing.tiles_per_core * firing.serial,
            cores=firing.cores,
            load_bytes=load_bytes,
            l1_elements=sum(
                (self.layout.elements(b.value, b.read_early, firing.positions) for b in self.plan.buffers),
                zero,
            ),
        )

    def _transfer(
        self, step: Step, buffer: BufferOutline, firing: "_Firing"
    ) -> tuple[Counts, Counts, Counts]:
        """Bytes, engine cycles and cycles of the near port of one load or store of the widest tile."""
        level = self.regions.workload.level_of(buffer.value)
        table = self.tables[level, step.action]
        element = self.target.storage_dtype(self.regions.graph.values[buffer.value].dtype).bytes
        widths = [
            self.layout.width(buffer.value, dim, buffer.read_early, firing.positions)
            for dim in range(self.regions.rank_of(buffer.value))
        ]
        size = np.full(len(firing.cores), element, dtype=np.int64)
        for width in widths:
            size = size * width
        run = size if level is Level.CONSTANT else element * self._run(buffer.value, widths)
        moved = moved_bytes(size, run, table)
        port = moved * MILLI // table[PORT_RATE] if table[PORT_RATE] else moved * 0
        crossing = stream_cycles(moved, firing.cores, table)
        if level in (Level.DRAM, Level.CONSTANT) and self._exceeds_llb(buffer.value):
            far = self._far_table(level, step.action)
            crossing = np.maximum(crossing, stream_cycles(moved_bytes(size, run, far), firing.cores, far))
        return size, np.asarray((table[SETUP] + crossing) * (size > 0), dtype=np.int64), port

    def _run(self, value: int, widths: Sequence[Counts]) -> Counts:
        """Elements that lie together in memory of a box of these widths."""
        layout, shape = self.regions.workload.layout_of(value), self.regions.graph.shape(value)
        run = np.minimum(widths[layout.blocked], layout.block) if layout.block > 1 else np.int64(1)
        unbroken = run == layout.block
        if layout.block > 1 and self.target.dma.rows_apart:
            return np.asarray(run)
        for dim in reversed(layout.order):
            width = widths[dim] // layout.block if dim == layout.blocked else widths[dim]
            run = np.where(unbroken, run * width, run)
            unbroken = unbroken & (widths[dim] == shape[dim]) & (not self.target.dma.rows_apart)
        return np.asarray(run)

    def _exceeds_llb(self, value: int) -> bool:
        """Whether a value cannot stay in the LLB, so that each time it is read it comes from DRAM."""
        return self._stored_bytes(value) > self.target.llb_bytes

    def _stored_bytes(self, value: int) -> int:
        graph = self.regions.graph
        return graph.elements(value) * self.target.storage_dtype(graph.values[value].dtype).bytes

    def _far_table(self, level: Level, action: Action) -> Table:
        if action is Action.STORE:
            return store_table(self.target, self.target.dram)
        return load_table(self.target, self.target.dram, constant=level is Level.CONSTANT)

    @cached_property
    def tables(self) -> dict[tuple[Level, Action], Table]:
        """How loads and stores go, by level; the core's side of DRAM traffic crosses the LLB's port."""
        near, far = self.target.llb, self.target.dram
        memory = {level: near if crosses_llb(self.target, level) else far for level in Level}
        loads = {
            (level, Action.LOAD): load_table(self.target, memory[level], constant=level is Level.CONSTANT)
            for level in Level
        }
        return loads | {(level, Action.STORE): store_table(self.target, memory[level]) for level in Level}

    @cached_property
    def _dram_cycles(self) -> int:
        """Cycles of the DRAM port for the outer operands that live there, each moved once, in bursts."""
        workload = self.regions.workload
        cycles = 0
        for value in (*workload.graph.inputs, *workload.graph.outputs):
            level = workload.level_of(value)
            if level is not Level.LLB:
                action = Action.STORE if value in workload.graph.producer else Action.LOAD
                cycles += int(port_least_cycles(self._stored_bytes(value), self._far_table(level, action)))
        return cycles

    def _compute(self, step: Step, firing: "_Firing") -> dict[str, Counts]:
        """Cycles of one firing of a compute step on the widest tile, by engine."""
        op = self.regions.graph.ops[step.op]
        if op.row.unit is Unit.NONE:
            return {}
        sizes = self.domain_sizes(step.op, firing.positions)
        points = np.ones(len(firing.cores), dtype=np.int64)
        for size in sizes:
            points = points * size
        stored = self.target.storage_dtype(self.regions.graph.values[op.operands[0].value].dtype)
        lanes = self.target.vector.lanes(stored)
        if FROM_MEMORY in step.reads:
            table = self.tables[Level.DRAM, Action.LOAD]
            return {"load": table[SETUP] + stream_cycles(points * stored.bytes, firing.cores, table)}
        start_up = self.target.vector.start_up_cycles
        lane_ops = self.target.vector.lane_ops_of(op.kind, op.row.lane_ops)
        vector = np.asarray(vector_cycles(points, max(1, lane_ops), lanes, start_up), dtype=np.int64)
        if not op.row.contraction:
            return {"vector": vector}
        return self._contraction(op, sizes, vector)

    def _contraction(self, op: Op, sizes: list[Counts], vector: Counts) -> dict[str, Counts]:
        stored = self.target.storage_dtype(self.regions.graph.values[op.operands[0].value].dtype)
        table = matrix_table(self.target, stored)
        if not len(table):
            return {"vector": vector}
        matrix = np.asarray(
            matrix_cycles(*product_axes(op, self.target.matrix).extents(sizes), table), dtype=np.int64
        )
        if not self.target.vector.takes_contractions:
            return {"matrix": matrix}
        on_vector = vector < matrix
        return {"matrix": np.where(on_vector, 0, matrix), "vector": np.where(on_vector, vector, 0)}

    def domain_sizes(self, at: int, positions: Counts) -> list[Counts]:
        """The widest interval of each domain axis of an op in any tile, one [n] per axis."""
        op = self.regions.graph.ops[at]
        sizes = [self.layout.width(op.result, dim, None, positions) for dim in op.result_axes]
        for axis in op.reduction_axes:
            loop = next(
                (i for i, loop in enumerate(self.regions.loops) if (loop.op, loop.axis) == (at, axis)), None
            )
            if loop is None:
                sizes.append(np.full(len(positions), op.extents[axis], dtype=np.int64))
            else:
                sizes.append(np.array(self.layout.sizes[loop], dtype=np.int64)[positions[:, loop]])
        return sizes


@dataclass(frozen=True, eq=False)
class _Firing:
    """How often steps fire: tiles per loop multiplied from the outside in, in the row's loop order."""

    positions: Counts
    counts: Counts
    nest_rank: Counts
    cumulative: Counts
    tiles_per_core: Counts
    parallel: Counts
    serial: Counts
    cores: Counts

    @staticmethod
    def of(resources: KernelResources, rows: Rows) -> "_Firing":
        layout = resources.layout
        positions = layout.loop_positions(rows)
        counts = (
            np.stack(
                [
                    np.array([max(1, -(-loop.extent // size)) for size in layout.sizes[at]], dtype=np.int64)[
                        positions[:, at]
                    ]
                    for at, loop in enumerate(resources.regions.loops)
                ],
                axis=1,
            )
            if resources.regions.loops
            else np.ones((len(rows), 0), dtype=np.int64)
        )
        nests = resources._nests[rows[:, layout.column("order")]]
        parallel = layout.parallel_tiles(positions)
        cores = np.minimum(
            np.array(core_counts(layout.target.cores))[rows[:, layout.column("cores")]], parallel
        )
        return _Firing(
            positions=positions,
            counts=counts,
            nest_rank=np.argsort(nests, axis=1),
            cumulative=np.cumprod(np.take_along_axis(counts, nests, axis=1), axis=1),
            tiles_per_core=-(-parallel // cores),
            parallel=parallel,
            serial=np.prod(counts, axis=1, dtype=np.int64) // parallel,
            cores=cores,
        )

    def per_core(self, step: Step) -> Counts:
        """Firings of a step on the busiest core, [n]."""
        innermost = np.full(len(self.counts), -1, dtype=np.int64)
        for dim in step.moves:
            innermost = np.maximum(innermost, np.where(self.counts[:, dim] > 1, self.nest_rank[:, dim], -1))
        if not self.counts.shape[1]:
            return np.ones(len(self.counts), dtype=np.int64)
        at = np.maximum(innermost, 0)[:, None]
        total = np.where(innermost < 0, 1, np.take_along_axis(self.cumulative, at, axis=1)[:, 0])
        return np.asarray(np.maximum(1, -(-total * self.tiles_per_core // self.parallel)), dtype=np.int64)
