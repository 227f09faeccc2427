"""The part of a kernel's tables that needs no sizes: its steps as tables of integers.

A plan depends on the ops, the placement, which loops are cut and the target, on none of the tile sizes; so a
search over thousands of Configs makes a handful of plans and remembers them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.ir.workload import Level, Workload
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.steps import FROM_MEMORY, Action, Step
from tilewright.compiler_core.target_model.product import product_axes
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.target_model.units import matrix_table
from tilewright.measure.simulator.tables import memories
from tilewright.measure.simulator.tables.layout import (
    ANCHOR,
    BLOCK,
    BLOCKED,
    BUFFER,
    CONTRACTION,
    ELEMENT_BYTES,
    ENGINE,
    FAR,
    FILLS,
    FIRST_FETCH,
    FIRST_READ,
    FIRST_TERM,
    FIRST_WAY,
    HOLDABLE,
    KIND,
    LAG,
    LANE_OPS,
    LANES,
    LAST_FETCH,
    LAST_READ,
    LAST_TERM,
    LAST_WAY,
    LATE,
    LOAD,
    MATRIX,
    NEAR,
    NO_ENGINE,
    NO_TABLE,
    PACKED,
    POINTS,
    PRICE_COLUMNS,
    READ_COLUMNS,
    RENAMING,
    STEP_COLUMNS,
    STORAGE,
    STORE,
    TRANSFER,
    VALUE,
    VECTOR,
    Ints,
    StepPrices,
)

APART = -1
"""Extent of a term that no run of bytes reaches into: rows that lie, or are fetched, apart."""
NO_ROLE = -1


@dataclass(frozen=True, eq=False)
class KernelPlan:
    """Integer tables over the steps of a kernel, and where each of their intervals is found.

    `steps` and `step_prices` are laid out as layout.py says, the columns that depend on sizes still open;
    `moves[s, dim]` is 1 where step s moves with a loop. A *term* is one factor of the size of a step: the
    interval `term_span[t]`, cut from the extent of its dim, with a role in a product. Intervals are those
    of `regions` (buffer, dim), then those of `domains` (op, axis). A *fetch* is L1 traffic of a compute step:
    a bit mask of its terms, and bytes. `ways` are rows of units.matrix_table. `dtypes[s]` prices MACs.
    """

    steps: Ints
    step_prices: StepPrices
    moves: Ints
    reads: Ints
    maker: Ints
    regions: tuple[tuple[int, int], ...]
    domains: tuple[tuple[int, int], ...]
    term_span: Ints
    dtypes: tuple[DType | None, ...]
    values: int


def plan_of(program: KernelProgram, target: Target) -> KernelPlan:
    """The plan of a lowered kernel, remembered by its outline."""
    rooms = tuple([(buffer.value, buffer.storage, buffer.element_bytes) for buffer in program.buffers])
    return _plan(program.workload, program.steps, rooms, len(program.loops), program.anchor, target)


@lru_cache(maxsize=1024)
def _plan(
    workload: Workload,
    steps: tuple[Step, ...],
    rooms: tuple[tuple[int, int, int], ...],
    loops: int,
    anchor: int,
    target: Target,
) -> KernelPlan:
    draft = _Draft(workload, len(steps), rooms, loops, anchor, target)
    for number, step in enumerate(steps):
        draft.add(number, step)
    return draft.finish()


class _Draft:
    """Collects the tables of a plan step by step. `rooms` has (value, storage, element bytes) a buffer."""

    def __init__(
        self,
        workload: Workload,
        steps: int,
        rooms: tuple[tuple[int, int, int], ...],
        loops: int,
        anchor: int,
        target: Target,
    ) -> None:
        self.workload = workload
        self.graph = workload.graph
        self.rooms = rooms
        self.anchor = anchor
        self.target = target
        self.steps = np.zeros((steps, STEP_COLUMNS), dtype=np.int64)
        self.prices = np.zeros((steps, PRICE_COLUMNS), dtype=np.int64)
        self.prices[:, [NEAR, FAR]] = NO_TABLE
        self.moves = np.zeros((steps, loops), dtype=np.int64)
        self.reads: list[int] = []
        self.terms: list[tuple[bool, int, int, int, int]] = []
        self.fetches: list[tuple[int, int]] = []
        self.ways: list[Ints] = []
        self.dtypes: list[DType | None] = []

    def add(self, number: int, step: Step) -> None:
        row, price = self.steps[number], self.prices[number]
        self.moves[number, list(step.moves)] = 1
        row[LATE], row[BUFFER], row[STORAGE] = step.late, step.buffer, self.rooms[step.buffer][1]
        row[FILLS] = step.action is not Action.STORE
        row[ANCHOR] = step.action is Action.COMPUTE and step.op == self.anchor
        row[FIRST_READ] = len(self.reads)
        price[FIRST_TERM], price[FIRST_FETCH] = len(self.terms), len(self.fetches)
        price[FIRST_WAY] = sum(map(len, self.ways))
        self.dtypes.append(None)
        if step.action is not Action.COMPUTE:
            self.reads += [step.buffer] if step.action is Action.STORE else []
            self._move(number, step)
        else:
            self.reads += [read for read in step.reads if read != FROM_MEMORY]
            op = self.graph.ops[step.op]
            if FROM_MEMORY in step.reads:
                self._gather(number, step, op)
            else:
                self._compute(number, step, op)
        row[LAST_READ] = len(self.reads)
        price[LAST_TERM], price[LAST_FETCH] = len(self.terms), len(self.fetches)
        price[LAST_WAY] = sum(map(len, self.ways))
        row[LAG] = step.lag

    def _stored(self, value: int) -> DType:
        return self.target.storage_dtype(self.graph.values[value].dtype)

    def _transfer(self, number: int, value: int, *, loads: bool) -> None:
        level = self.workload.level_of(value)
        self.steps[number, ENGINE] = LOAD if loads else STORE
        price = self.prices[number]
        price[KIND], price[VALUE] = TRANSFER, value
        price[ELEMENT_BYTES], price[PACKED] = self._stored(value).bytes, level is Level.CONSTANT
        price[NEAR], price[FAR] = memories.ways(self.target, level, loads=loads)
        price[HOLDABLE] = price[NEAR] != NO_TABLE and level in (Level.DRAM, Level.CONSTANT) and loads

    def _move(self, number: int, step: Step) -> None:
        value = self.rooms[step.buffer][0]
        self._transfer(number, value, loads=step.action is Action.LOAD)
        shape = self.graph.shape(value)
        layout = self.workload.layout_of(value)
        innermost = layout.order[-1:]
        self.prices[number, [BLOCKED, BLOCK]] = (
            layout.order.index(layout.blocked) if shape else 0,
            layout.block,
        )
        for dim in layout.order:
            apart = self.target.dma.rows_apart and (layout.block > 1 or dim not in innermost)
            self.terms.append((False, step.buffer, dim, APART if apart else shape[dim], NO_ROLE))
        self.fetches.append(((1 << len(shape)) - 1, int(self.prices[number, ELEMENT_BYTES])))

    def _gather(self, number: int, step: Step, op: Op) -> None:
        """Rows by an indexed DMA: a run is the trailing dims that no other operand indexes."""
        access = op.operands[step.reads.index(FROM_MEMORY)]
        row: list[tuple[int, int]] = []
        for expr, extent in zip(
            reversed(access.exprs), reversed(self.graph.shape(access.value)), strict=True
        ):
            axis = expr.projected_axis
            if axis is None:
                break
            row.insert(0, (axis, extent))
        rowed = {axis for axis, _ in row}
        self._transfer(number, access.value, loads=True)
        self.prices[number, [HOLDABLE, PACKED]] = 0
        for axis in op.result_axes:
            if axis not in rowed:
                self.terms.append((True, step.op, axis, APART, NO_ROLE))
        self.terms += [(True, step.op, axis, extent, NO_ROLE) for axis, extent in row]
        self.fetches.append(((1 << op.rank) - 1, int(self.prices[number, ELEMENT_BYTES])))

    def _compute(self, number: int, step: Step, op: Op) -> None:
        role_of = {}
        if op.row.contraction:
            axes = product_axes(op, self.target.matrix)
            role_of = {axis: role for role, members in enumerate(axes.roles) for axis in members}
        for axis, extent in enumerate(op.extents):
            self.terms.append((True, step.op, axis, extent, role_of.get(axis, NO_ROLE)))
        price = self.prices[number]
        if op.row.unit is Unit.NONE:
            self.steps[number, ENGINE] = NO_ENGINE
            price[KIND] = RENAMING
            return
        stored = self._stored(op.operands[0].value if op.operands else op.result)
        vector = self.target.vector
        price[LANES], price[LANE_OPS] = vector.lanes(stored), vector.lane_ops_of(op.kind, op.row.lane_ops)
        self.steps[number, ENGINE] = VECTOR
        price[KIND] = POINTS
        if op.row.contraction:
            price[KIND] = CONTRACTION
            self.ways.append(matrix_table(self.target, stored))
            self.dtypes[number] = stored
            self.steps[number, ENGINE] = MATRIX
        self.fetches += [
            (sum(1 << axis for axis in access.axes), self._stored(access.value).bytes)
            for access in op.operands
        ]
        adds = step.op == self.anchor and self.moves[number, self.graph.ops[-1].rank :].any()
        self.fetches.append(((1 << op.rank) - 1, (2 if adds else 1) * self.rooms[step.buffer][2]))

    def finish(self) -> KernelPlan:
        """The tables, with equal intervals looked up once."""
        places = sorted({term[:3] for term in self.terms})
        place_of = {place: index for index, place in enumerate(places)}
        none = [np.zeros((0, matrix_table(self.target, DType.F64).shape[1]), dtype=np.int64)]
        return KernelPlan(
            steps=self.steps,
            step_prices=StepPrices(
                prices=self.prices,
                extent_of_term=_table([extent for *_, extent, _ in self.terms]),
                role_of_term=_table([role for *_, role in self.terms]),
                fetches=np.array(self.fetches, dtype=np.int64).reshape(-1, 2),
                ways=np.concatenate(none + self.ways),
            ),
            moves=self.moves,
            reads=self._reads(),
            maker=self._makers(),
            regions=tuple((op, dim) for of_op, op, dim in places if not of_op),
            domains=tuple((op, axis) for of_op, op, axis in places if of_op),
            term_span=_table([place_of[term[:3]] for term in self.terms]),
            dtypes=tuple(self.dtypes),
            values=len(self.graph.values),
        )

    def _makers(self) -> Ints:
        """The engine that fills each buffer; where none does, one that fills what it is made of."""
        maker = np.zeros(len(self.rooms), dtype=np.int64)
        for row in sorted(self.steps.tolist(), key=lambda row: row[LAG]):
            if row[FILLS]:
                makers = [int(maker[read]) for read in self.reads[row[FIRST_READ] : row[LAST_READ]]]
                maker[row[BUFFER]] = row[ENGINE] if row[ENGINE] != NO_ENGINE else max(makers, default=LOAD)
        return maker

    def _reads(self) -> Ints:
        """The read table."""
        filled = {row[BUFFER]: row[LAG] for row in self.steps.tolist() if row[FILLS]}
        table = [
            (read, self.rooms[read][1], row[LAG] > filled[read])
            for row in self.steps.tolist()
            for read in self.reads[row[FIRST_READ] : row[LAST_READ]]
        ]
        return np.array(table, dtype=np.int64).reshape(-1, READ_COLUMNS)


def _table(numbers: list[int]) -> Ints:
    return np.array(numbers, dtype=np.int64)
