"""The demand of a kernel's Configs on each resource: the closed form behind draft and features.

A step of the kernel fires once per change of a loop it moves with; per firing it costs what its widest tile
costs (units.py), so ragged borders are counted as full tiles. The steps are written down as tables once;
compiled code (row_demand.py) adds them up for thousands of rows.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import AxisKind, Unit
from tilewright.compiler_core.ir.workload import Level, Workload
from tilewright.compiler_core.lowering.outline import outline
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.steps import FROM_MEMORY, Action, BufferOutline, Outline, Step
from tilewright.compiler_core.lowering.widths import BufferKey
from tilewright.compiler_core.target_model.product import product_axes
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.target_model.unit_bounds import port_least_cycles
from tilewright.compiler_core.target_model.units import (
    DMA_COLUMNS,
    MATRIX_COLUMNS,
    Table,
    crosses_llb,
    load_table,
    matrix_table,
    store_table,
)
from tilewright.cost_model import row_demand
from tilewright.cost_model.row_demand import (
    Nests,
    StepTables,
    TargetTables,
    TermTables,
    demands,
)
from tilewright.search_space.knobs import Rows
from tilewright.search_space.row_tables import ABSENT, ints, starts
from tilewright.search_space.rules import KnobLayout

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Demand:
    """Cycles per core by engine [n], cycles of the DRAM port for the bytes that must cross it, cycles of the
    busiest port for all loads and stores of all cores, and the figures of the pipeline around them. `parts`
    [turns, 2, n] are the cycles of each turn of the units (turns.py) on the unit that begins and on the
    other.
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
    """One kernel on one target, with its knobs and its operands in their places: maps rows to Demands."""

    layout: KnobLayout
    workload: Workload

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
    def nests(self) -> Nests:
        """The nest of every loop order."""
        loops = self.regions.loops
        parallel = [d for d, loop in enumerate(loops) if loop.kind is AxisKind.PARALLEL]
        serial = [d for d, loop in enumerate(loops) if loop.kind is not AxisKind.PARALLEL]
        nests = [[*(d for d in parallel if d not in order), *order, *serial] for order in self.layout.orders]
        nest = np.array(nests, dtype=np.int64).reshape(len(nests), len(loops))
        return Nests(rank=np.argsort(nest, axis=1), loop=nest)

    def demand(self, rows: Rows) -> Demand:
        """The demand of each row [n, knobs]. Features and draft of the same rows ask one after the other."""
        latest = self._latest[0] if self._latest else None
        if latest is None or not np.array_equal(latest[0], rows):
            latest = (rows.copy(), self._demand(rows))
            self._latest[:] = [latest]
        return latest[1]

    @cached_property
    def _latest(self) -> list[tuple[Rows, Demand]]:
        """The last question and its answer."""
        return []

    def _demand(self, rows: Rows) -> Demand:
        steps, terms, machine = self.written
        parts = np.zeros((max(self.layout.handovers) // 2 + 1, 2, len(rows)), dtype=np.int64)
        layout = self.layout
        rows = np.ascontiguousarray(rows, dtype=np.int32)
        of_rows = demands.for_rows(len(rows))
        asked = of_rows(rows, layout.tables, layout.boxes, self.nests, steps, terms, machine, parts)
        return Demand(
            load=asked[:, row_demand.LOAD_CYCLES],
            matrix=asked[:, row_demand.MATRIX_CYCLES],
            vector=asked[:, row_demand.VECTOR_CYCLES],
            parts=parts,
            store=asked[:, row_demand.STORE_CYCLES],
            dram=np.full(len(rows), self.dram_cycles, dtype=np.int64),
            port=np.maximum(asked[:, row_demand.NEAR_PORT], asked[:, row_demand.FAR_PORT]),
            first_load=asked[:, row_demand.FIRST_LOAD],
            last_store=asked[:, row_demand.LAST_STORE],
            tiles=asked[:, row_demand.TILES],
            steps=asked[:, row_demand.STEPS],
            cores=asked[:, row_demand.USED_CORES],
            load_bytes=asked[:, row_demand.LOAD_BYTES],
            l1_elements=asked[:, row_demand.L1_ELEMENTS],
        )

    @cached_property
    def written(self) -> tuple[StepTables, TermTables, TargetTables]:
        """The steps as tables, and the tables of their costs."""
        writing = _Writing(self)
        for step in self.plan.steps:
            writing.add(step)
        return writing.finish()

    def exceeds_llb(self, value: int) -> bool:
        """Whether a value cannot stay in the LLB, so that each time it is read it comes from DRAM."""
        return self._stored_bytes(value) > self.target.llb_bytes

    def _stored_bytes(self, value: int) -> int:
        graph = self.regions.graph
        return graph.elements(value) * self.target.storage_dtype(graph.values[value].dtype).bytes

    def far_table(self, level: Level, action: Action) -> Table:
        """The DMA row of a load or store of DRAM."""
        if action is Action.STORE:
            return store_table(self.target, self.target.dram)
        return load_table(self.target, self.target.dram, constant=level is Level.CONSTANT)

    @cached_property
    def tables(self) -> dict[tuple[Level, Action], Table]:
        """The constants of loads and stores, by level; the core's side of DRAM traffic crosses the LLB's
        port.
        """
        near, far = self.target.llb, self.target.dram
        memory = {level: near if crosses_llb(self.target, level) else far for level in Level}
        loads = {
            (level, Action.LOAD): load_table(self.target, memory[level], constant=level is Level.CONSTANT)
            for level in Level
        }
        return loads | {(level, Action.STORE): store_table(self.target, memory[level]) for level in Level}

    @cached_property
    def dram_cycles(self) -> int:
        """Cycles of the DRAM port for the outer operands that live there, each moved once, in bursts."""
        workload = self.workload
        cycles = 0
        for value in (*workload.graph.inputs, *workload.graph.outputs):
            level = workload.level_of(value)
            if level is not Level.LLB:
                action = Action.STORE if value in workload.graph.producer else Action.LOAD
                cycles += int(port_least_cycles(self._stored_bytes(value), self.far_table(level, action)))
        return cycles


class _Writing:
    """Collects the tables of a kernel's steps, one row a step."""

    def __init__(self, resources: KernelResources) -> None:
        self.resources = resources
        self.regions = resources.regions
        self.target = resources.target
        self.steps: list[dict[str, int]] = []
        self.loops: list[tuple[int, ...]] = []
        self.terms: list[list[_Term]] = []
        self.ways: list[Counts] = []
        self.dma: dict[tuple[int, ...], int] = {}

    def add(self, step: Step) -> None:
        buffers, number = self.resources.plan.buffers, self.resources.layout.widths.buffers
        filled = buffers[step.buffer]
        fills = ABSENT if step.action is Action.STORE else number[BufferKey(filled.value, filled.read_early)]
        row = dict.fromkeys(_STEP_COLUMNS, 0) | {"lanes": 1, "block": 1, "fills": fills}
        terms: list[_Term] = []
        ways = np.zeros((0, MATRIX_COLUMNS), dtype=np.int64)
        if step.action is not Action.COMPUTE:
            row |= self._move(step)
            terms = self._lying(filled)
        else:
            op = self.regions.graph.ops[step.op]
            row |= self._op(step, op)
            terms = self._axes(step.op, op)
            if row["kind"] == row_demand.CONTRACTION:
                ways = matrix_table(self.target, self._stored(op.operands[0].value))
        self.steps.append(row)
        self.loops.append(step.moves)
        self.terms.append(terms)
        self.ways.append(ways)

    def _move(self, step: Step) -> dict[str, int]:
        buffer = self.resources.plan.buffers[step.buffer]
        level = self.resources.workload.level_of(buffer.value)
        layout = self.resources.workload.layout_of(buffer.value)
        far = ABSENT
        if level in (Level.DRAM, Level.CONSTANT) and self.resources.exceeds_llb(buffer.value):
            far = self._dma(self.resources.far_table(level, step.action))
        return {
            "kind": row_demand.LOAD if step.action is Action.LOAD else row_demand.STORE,
            "element_bytes": self._stored(buffer.value).bytes,
            "near": self._dma(self.resources.tables[level, step.action]),
            "far": far,
            "crosses_llb": crosses_llb(self.target, level),
            "packed": level is Level.CONSTANT,
            "late": step.late,
            "blocked": layout.order.index(layout.blocked) if layout.block > 1 else 0,
            "block": layout.block,
        }

    def _lying(self, buffer: BufferOutline) -> "list[_Term]":
        """The dims of a value from the outermost to the innermost, as it lies in memory."""
        layout = self.resources.workload.layout_of(buffer.value)
        shape, apart = self.regions.graph.shape(buffer.value), self.target.dma.rows_apart
        terms = []
        for dim in layout.order:
            innermost = layout.block == 1 and dim == layout.order[-1]
            extent = row_demand.APART if apart and not innermost else shape[dim]
            terms.append(_Term(dim=self._dim(buffer.value, buffer.read_early, dim), extent=extent))
        return terms

    def _op(self, step: Step, op: Op) -> dict[str, int]:
        if op.row.unit is Unit.NONE:
            return {"kind": row_demand.NOTHING}
        stored, vector = self._stored(op.operands[0].value), self.target.vector
        lane_ops = max(1, vector.lane_ops_of(op.kind, op.row.lane_ops))
        row = {"element_bytes": stored.bytes, "lanes": vector.lanes(stored), "lane_ops": lane_ops}
        if FROM_MEMORY in step.reads:
            near = self._dma(self.resources.tables[Level.DRAM, Action.LOAD])
            return {**row, "kind": row_demand.GATHER, "near": near}
        kind = row_demand.CONTRACTION if op.row.contraction else row_demand.POINTS
        return {**row, "kind": kind, "handover": self.resources.layout.handovers[step.op]}

    def _axes(self, at: int, op: Op) -> "list[_Term]":
        """The axes of an op's domain: those of its result, a loop of the kernel, or the whole axis."""
        role_of = {}
        if op.row.contraction:
            axes = product_axes(op, self.target.matrix)
            role_of = {axis: role for role, members in enumerate(axes.roles) for axis in members}
        loops = {(loop.op, loop.axis): number for number, loop in enumerate(self.regions.loops)}
        terms = [
            _Term(dim=self._dim(op.result, None, dim), role=role_of.get(dim, 0)) for dim in op.result_axes
        ]
        for axis in op.reduction_axes:
            loop = loops.get((at, axis), ABSENT)
            terms.append(_Term(loop=loop, extent=op.extents[axis], role=role_of.get(axis, 0)))
        return terms

    def _stored(self, value: int) -> DType:
        return self.target.storage_dtype(self.regions.graph.values[value].dtype)

    def _dim(self, value: int, read_early: bool | None, dim: int) -> int:
        layout = self.resources.layout
        buffer = layout.widths.buffers[BufferKey(value, read_early)]
        return int(layout.boxes.first_dim[buffer]) + dim

    def _dma(self, table: Table) -> int:
        return self.dma.setdefault(tuple(table.tolist()), len(self.dma))

    def finish(self) -> tuple[StepTables, TermTables, TargetTables]:
        columns = {name: ints([row[name] for row in self.steps]) for name in _STEP_COLUMNS}
        terms = [term for each in self.terms for term in each]
        tables = StepTables(
            first_loop=starts(self.loops),
            loop=ints([loop for each in self.loops for loop in each]),
            first_term=starts(self.terms),
            first_way=starts(self.ways),
            **columns,
        )
        by_column = zip(*terms, strict=True) if terms else [()] * len(_Term._fields)
        listed = TermTables(*(ints(list(column)) for column in by_column))
        machine = TargetTables(
            dma=np.array(list(self.dma) or [(0,) * DMA_COLUMNS], dtype=np.int64),
            ways=np.concatenate([np.zeros((0, MATRIX_COLUMNS), dtype=np.int64), *self.ways]),
            start_up=self.target.vector.start_up_cycles,
            vector_contracts=self.target.vector.takes_contractions,
        )
        return tables, listed, machine


class _Term(NamedTuple):
    """A dim of a step, in the columns of TermTables."""

    dim: int = ABSENT
    loop: int = ABSENT
    extent: int = 0
    role: int = 0


_OFFSETS = ("first_loop", "loop", "first_term", "first_way")
_STEP_COLUMNS = tuple(name for name in StepTables._fields if name not in _OFFSETS)
