"""A lowered kernel and a Target as flat integer arrays: what the timeline runs on."""

from dataclasses import dataclass

import numpy as np

from compiler_core.program import KernelProgram
from compiler_core.target import Target
from measure.simulator import memories
from measure.simulator.layout import Ints
from measure.simulator.plan import KernelPlan, plan_of
from measure.simulator.pricing import covered, price
from measure.simulator.survey import survey


@dataclass(frozen=True)
class Conflicts:
    """Bank conflicts in L1: rows a multiple of `period_bytes` apart meet in one bank and take longer."""

    period_bytes: int = 1
    percent: int = 0


@dataclass(frozen=True)
class Surroundings:
    """What a kernel finds when it starts.

    `sharers` cores draw on the shared ports, `llb_room_bytes` of the LLB are there for what it reads again,
    and `held` has pairs (value of its Workload, bytes): operands that are there already, beside that room.
    """

    sharers: int
    llb_room_bytes: int
    held: tuple[tuple[int, int], ...] = ()
    conflicts: Conflicts = Conflicts()


@dataclass(frozen=True, eq=False)
class FlatKernel:
    """A kernel in integers; survey.py and layout.py say what the arrays hold.

    `resident_bytes` of the LLB hold operands while it runs.
    """

    plan: KernelPlan
    counts: Ints
    parallel_levels: int
    reduction_level: int
    classes: Ints
    until: Ints
    class_start: Ints
    steps: Ints
    strides: Ints
    slots: Ints
    costs: Ints
    resident_bytes: int


def flatten(program: KernelProgram, target: Target, surroundings: Surroundings) -> FlatKernel:
    """Find the classes of tiles of `program`, count how often each fires, and price them on `target`."""
    plan = plan_of(program, target)
    spans = [program.buffers[at].region[dim] for at, dim in plan.regions]
    spans += [program.domains[at][axis] for at, axis in plan.domains]
    loops = [loop for loop in program.loops if loop.count > 1]
    rank = program.workload.graph.ops[-1].rank
    parallel_levels = sum([loop.parallel for loop in loops])
    reduction_level = sum([loop.dim < rank for loop in loops])
    counts = np.array([loop.count for loop in loops], dtype=np.int64)
    dims = np.array([loop.dim for loop in loops], dtype=np.int64)
    if spans:
        lows = np.concatenate([low for low, _ in spans], axis=None)
        highs = np.concatenate([high for _, high in spans], axis=None)
    else:
        lows = highs = np.zeros(0, dtype=np.int64)
    shapes = np.array([low.shape for low, _ in spans], dtype=np.int64).reshape(-1, len(program.loops))
    steps = plan.steps.copy()
    classes, until, class_start, strides, lengths, costs = survey(
        counts,
        dims,
        parallel_levels,
        program.cores,
        steps,
        plan.prices,
        plan.moves,
        highs - lows,
        shapes,
        plan.term_span,
    )
    held = np.zeros(plan.values, dtype=np.int64)
    for value, size in surroundings.held:
        held[value] = size
    resident_bytes = price(
        steps,
        plan.prices,
        lengths,
        costs,
        plan.term_span,
        plan.term_extent,
        plan.term_role,
        plan.fetches,
        plan.ways,
        memories.tables(target),
        covered(lows, highs, shapes),
        target.vector.start_up_cycles,
        target.vector.takes_contractions,
        surroundings.sharers,
        surroundings.llb_room_bytes,
        held,
        surroundings.conflicts.period_bytes,
        surroundings.conflicts.percent,
    )
    slots = np.array([buffer.slots for buffer in program.buffers], dtype=np.int64)
    return FlatKernel(
        plan,
        counts,
        parallel_levels,
        reduction_level,
        classes,
        until,
        class_start,
        steps,
        strides,
        slots,
        costs,
        resident_bytes,
    )
