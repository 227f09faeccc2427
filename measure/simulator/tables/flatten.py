"""A lowered kernel and a Target as flat integer arrays, for the timeline."""

from dataclasses import dataclass
from math import prod

import numpy as np

from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.target_model.target import SystolicUnit, Target
from tilewright.measure.simulator.tables import memories
from tilewright.measure.simulator.tables.layout import BUSY, ENGINE, ENTRY, L1_SIZE, MATRIX, Ints, Nest
from tilewright.measure.simulator.tables.operand_buffers import streams_of
from tilewright.measure.simulator.tables.plan import KernelPlan, plan_of
from tilewright.measure.simulator.tables.pricing import price
from tilewright.measure.simulator.tables.survey import survey
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
    """Where each part begins when they lie one after the other, and where the last one ends."""
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(part))
    return np.array(ends, dtype=np.int64)


def flatten(program: KernelProgram, target: Target, surroundings: Surroundings) -> FlatKernel:
    """Find the classes of tiles of `program`, count how often each fires, and price them on `target`."""
    plan = plan_of(program, target)
    spans = [program.buffers[index].region[dim] for index, dim in plan.regions]
    spans += [program.domains[index][axis] for index, axis in plan.domains]
    loops = [loop for loop in program.loops if loop.count > 1]
    rank = program.workload.graph.ops[-1].rank
    parallel_levels = sum([loop.parallel for loop in loops])
    reduction_level = sum([loop.dim < rank for loop in loops])
    counts = np.array([loop.count for loop in loops], dtype=np.int64)
    dims = np.array([loop.dim for loop in loops], dtype=np.int64)
    table_of_span = [table_of(low, high) for low, high in spans]
    number = {table: index for index, table in enumerate(dict.fromkeys(table_of_span))}
    tables = list(number)
    term_span = np.array([number[table] for table in table_of_span], dtype=np.int64)[plan.term_span]
    kinds = [kinds_of(loop.dim, tables) for loop in loops]
    classes = np.concatenate([_NOTHING, *[kind.classes for kind in kinds]])
    until = np.concatenate([_NOTHING, *[kind.until for kind in kinds]])
    class_start = _starts([kind.classes for kind in kinds])
    steps = plan.steps.copy()
    strides, lengths, costs = survey(
        counts,
        dims,
        parallel_levels,
        program.cores,
        steps,
        plan.prices,
        plan.moves,
        np.concatenate([_NOTHING, *[table.widths for table in tables]]),
        np.array([table.shape for table in tables], dtype=np.int64).reshape(len(tables), len(program.loops)),
        term_span,
        classes,
        class_start,
        np.concatenate([_NOTHING, *[kind.example for kind in kinds]]),
        np.concatenate([_NOTHING, *[kind.members for kind in kinds]]),
        _starts([kind.example for kind in kinds]),
    )
    held = np.zeros(plan.values, dtype=np.int64)
    for value, size in surroundings.held:
        held[value] = size
    resident_bytes = price(
        steps,
        plan.prices,
        lengths,
        costs,
        term_span,
        plan.term_extent,
        plan.term_role,
        plan.fetches,
        plan.ways,
        memories.tables(target),
        np.array([table.places for table in tables], dtype=np.int64),
        target.vector.start_up_cycles,
        target.vector.takes_contractions,
        surroundings.sharers,
        surroundings.llb_room_bytes,
        held,
        surroundings.conflicts.period_bytes,
        surroundings.conflicts.percent,
    )
    _await_operands(program, target, plan, steps, lengths, costs)
    slots = np.array([buffer.slots for buffer in program.buffers], dtype=np.int64)
    nest = Nest(
        counts,
        parallel_levels,
        reduction_level,
        classes,
        until,
        class_start,
        steps,
        strides,
        plan.reads,
        slots,
        plan.maker,
        costs,
        target.overheads.tile_dispatch_cycles,
    )
    return FlatKernel(plan, nest, resident_bytes)


def _await_operands(
    program: KernelProgram, target: Target, plan: KernelPlan, steps: Ints, lengths: Ints, costs: Ints
) -> None:
    """Add to every product the cycles that its array waits for operands, and its reads from L1."""
    unit = target.matrix
    if not isinstance(unit, SystolicUnit) or not unit.operand_buffer_kib:
        return
    graph = program.workload.graph
    ends = [*steps[1:, ENTRY].tolist(), len(costs)]
    for step, row, stored, end in zip(program.steps, steps, plan.dtypes, ends, strict=True):
        if stored is None or row[ENGINE] != MATRIX:
            continue
        op = graph.ops[step.op]
        for entry in range(row[ENTRY], end):
            sizes = lengths[entry, : len(op.extents)].tolist()
            streams = streams_of(graph, op, tuple(sizes), unit, stored)
            costs[entry, BUSY] += streams.wait_cycles
            once = sum([prod([sizes[axis] for axis in access.axes]) for access in op.operands])
            costs[entry, L1_SIZE] += (sum(streams.fetched) - once) * stored.bytes
