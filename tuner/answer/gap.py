"""The time above the bound by cause: launch, padding, bandwidth, rest."""

from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.lowering.host_time import least_host_cycles
from tilewright.compiler_core.lowering.pipeline import CoPlacement
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.report import Figures, Gap
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.assignment import Assignment


def explain_gap(assignment: Assignment, tuned: Figures, bound: Figures) -> Gap:
    """Split the latency of `tuned` above its `bound` into causes.

    A ladder from the bound to the latency, each rung no lower than the one before and none above the latency:

        bound                          the busiest resource with the least work, one launch
        + launch     every stage is launched
        + padding    what the stages compute, where that is more than the work inside the bound
        + bandwidth  each stage takes its busiest unit or memory engine, whichever is slower
        + host       ops on the host, beyond what is inside the bound
        + rest       up to the latency
    """
    opened, plan = assignment.opened, assignment.plan
    per_us, bound_us = opened.target.cycles_per_us, opened.bound_us
    launch_us = opened.target.launch_cycles / per_us
    launches = sum(any(plan.kernels[each.group] for each in stage) for stage in plan.stages)
    stages = _stages(assignment)
    arithmetic_us = sum(stage.arithmetic for stage in stages) / per_us
    busiest_us = sum(max(stage.arithmetic, stage.memory) for stage in stages) / per_us
    inside_us = bound_us - launch_us
    computed_us = max(inside_us, arithmetic_us)
    left_us = max(0.0, tuned.latency_us - bound_us)
    launch = min(max(0, launches - 1) * launch_us, left_us)
    padding = min(computed_us - inside_us, left_us - launch)
    bandwidth = min(max(0.0, busiest_us - computed_us), left_us - launch - padding)
    ratio = ratio_of(tuned.number_of(opened.objective), bound.number_of(opened.objective))
    left_us -= launch + padding + bandwidth
    of_host_us = least_host_cycles(opened.graph, opened.target) / per_us
    inside_host_us = of_host_us if of_host_us >= bound_us else 0.0
    host = min(max(0.0, assignment.host_us - inside_host_us), left_us)
    return Gap(ratio, launch, padding, bandwidth, host, left_us - host)


def ratio_of(number: float | None, bound: float | None) -> float | None:
    """The objective over its bound; 1 where nothing runs, None where no bound is known."""
    if bound is None or number is None:
        return None
    return number / bound if bound else 1.0


def _stages(assignment: Assignment) -> list["_Demand"]:
    """Of every stage the busiest kernel's demands, as chosen."""
    tasks = {task.digest: task for task in assignment.tasks}
    known: dict[CoPlacement, _Demand] = {}
    found = []
    for stage in assignment.plan.stages:
        demands = []
        for co_placement, choice in assignment.choices_of(stage):
            if co_placement not in known:
                task = (
                    tasks[co_placement.digest]
                    if len(stage) == 1
                    else assignment.opened.co_placed(assignment.plan, co_placement)
                )
                known[co_placement] = _demand(task, choice.config)
            demands.append(known[co_placement])
        arithmetic = max((each.arithmetic for each in demands), default=0.0)
        memory = max((each.memory for each in demands), default=0.0)
        found.append(_Demand(arithmetic, memory))
    return found


@dataclass(frozen=True)
class _Demand:
    """Cycles by the nominal model of the busiest unit and of the busiest memory engine."""

    arithmetic: float
    memory: float


def _demand(task: KernelTask, config: Config) -> _Demand:
    demand = task.model.resources.demand(task.space.encode(config)[None, :])
    arithmetic = float(np.maximum(demand.matrix, demand.vector)[0])
    memory = max(int(demand.load[0]), int(demand.store[0]), int(demand.dram[0]))
    return _Demand(arithmetic, memory)
