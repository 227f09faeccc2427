"""A lowered kernel and a Target as flat integer arrays, for the timeline."""

from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np

from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.target_model.target import SystolicUnit, Target
from tilewright.measure.simulator.tables import memories
from tilewright.measure.simulator.tables.layout import (
    BUSY,
    ENGINE,
    ENTRY,
    L1_SIZE,
    MATRIX,
    Around,
    Chip,
    Entries,
    Ints,
    Levels,
    Nest,
    Spans,
)
from tilewright.measure.simulator.tables.operand_buffers import streams_of
from tilewright.measure.simulator.tables.plan import KernelPlan, plan_of
from tilewright.measure.simulator.tables.pricing import costs_of
from tilewright.measure.simulator.tables.tile_classes import kinds_of, table_of


@dataclass(frozen=True)
class Conflicts:
    """Bank conflicts in L1: rows a multiple of `period_bytes` apart meet in one bank and take longer."""

    period_bytes: int = 1
    percent: int = 0


@dataclass(frozen=True)
class Surroundings:
    """The state of the memories when a kernel starts.

    `sharers` cores draw on the shared ports, `llb_room_bytes` of the LLB are there for what it reads again,
    and `held` has pairs (value of its Workload, bytes): operands that are there already, beside that room.
    """

    sharers: int
    llb_room_bytes: int
    held: tuple[tuple[int, int], ...] = ()
    conflicts: Conflicts = Conflicts()


@dataclass(frozen=True, eq=False)
class FlatKernel:
    """A kernel in integers; survey.py and layout.py describe the arrays.

    `resident_bytes` of the LLB hold operands while it runs.
    """

    plan: KernelPlan
    nest: Nest
    resident_bytes: int


_NOTHING = np.zeros(0, dtype=np.int64)


def _starts(parts: list[Ints]) -> Ints:
    """The begin of each part when they lie one after the other, and the end of the last."""
    return np.array([0, *accumulate(map(len, parts))], dtype=np.int64)


def flatten(program: KernelProgram, target: Target, surroundings: Surroundings) -> FlatKernel:
    """Find the classes of tiles of `program`, count how often each fires, and price them on `target`."""
    plan = plan_of(program, target)
    intervals = [program.buffers[index].region[dim] for index, dim in plan.regions]
    intervals += [program.domains[index][axis] for index, axis in plan.domains]
    loops = [loop for loop in program.loops if loop.count > 1]
    rank = program.workload.graph.ops[-1].rank
    table_of_span = [table_of(interval) for interval in intervals]
    number = {table: index for index, table in enumerate(dict.fromkeys(table_of_span))}
    tables = list(number)
    kinds = [
        kinds_of(loop.dim, tuple([table for table in tables if table.shape[loop.dim] > 1])) for loop in loops
    ]
    levels = Levels(
        counts=np.array([loop.count for loop in loops], dtype=np.int64),
        dims=np.array([loop.dim for loop in loops], dtype=np.int64),
        parallel=sum([loop.parallel for loop in loops]),
        classes=np.concatenate([_NOTHING, *[kind.classes for kind in kinds]]),
        class_start=_starts([kind.classes for kind in kinds]),
        example=np.concatenate([_NOTHING, *[kind.example for kind in kinds]]),
        members=np.concatenate([_NOTHING, *[kind.members for kind in kinds]]),
        example_start=_starts([kind.example for kind in kinds]),
    )
    shapes = np.array([table.shape for table in tables], dtype=np.int64)
    spans = Spans(
        widths=np.concatenate([_NOTHING, *[table.widths for table in tables]]),
        shapes=shapes.reshape(len(tables), len(program.loops)),
        places=np.array([table.places for table in tables], dtype=np.int64),
        of_term=np.array([number[table] for table in table_of_span], dtype=np.int64)[plan.term_span],
    )
    steps = plan.steps.copy()
    chip = Chip(memories.tables(target), target.vector.start_up_cycles, target.vector.takes_contractions)
    *filled, resident_bytes = costs_of(
        program.cores,
        levels,
        spans,
        plan.step_prices,
        steps,
        plan.moves,
        chip,
        _around(surroundings, plan),
    )
    entries = Entries(steps, *filled)
    _await_operands(program, target, plan, entries)
    nest = Nest(
        levels.counts,
        levels.parallel,
        sum([loop.dim < rank for loop in loops]),
        levels.classes,
        np.concatenate([_NOTHING, *[kind.until for kind in kinds]]),
        levels.class_start,
        entries.steps,
        entries.strides,
        plan.reads,
        np.array([buffer.slots for buffer in program.buffers], dtype=np.int64),
        plan.maker,
        entries.costs,
        target.overheads.tile_dispatch_cycles,
    )
    return FlatKernel(plan, nest, resident_bytes)


def _around(surroundings: Surroundings, plan: KernelPlan) -> Around:
    held = np.zeros(plan.values, dtype=np.int64)
    for value, size in surroundings.held:
        held[value] = size
    conflicts = surroundings.conflicts
    return Around(
        surroundings.sharers, surroundings.llb_room_bytes, held, conflicts.period_bytes, conflicts.percent
    )


def _await_operands(program: KernelProgram, target: Target, plan: KernelPlan, entries: Entries) -> None:
    """Add to every product the cycles that its array waits for operands, and its reads from L1."""
    unit = target.matrix
    if not isinstance(unit, SystolicUnit) or not unit.operand_buffer_kib:
        return
    graph, steps, costs = program.workload.graph, entries.steps, entries.costs
    ends = [*steps[1:, ENTRY].tolist(), len(costs)]
    for step, row, stored, end in zip(program.steps, steps, plan.dtypes, ends, strict=True):
        if stored is None or row[ENGINE] != MATRIX:
            continue
        op = graph.ops[step.op]
        for entry in range(row[ENTRY], end):
            sizes = entries.lengths[entry, : len(op.extents)].tolist()
            streams = streams_of(graph, op, tuple(sizes), unit, stored)
            costs[entry, BUSY] += streams.wait_cycles
            once = sum([prod([sizes[axis] for axis in access.axes]) for access in op.operands])
            costs[entry, L1_SIZE] += (sum(streams.fetched) - once) * stored.bytes
