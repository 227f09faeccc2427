"""Where the time above the bound goes: launch, padding, bandwidth, rest."""

from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.lowering.pipeline import Seat
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.report import Gap
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.session import Session


def explain_gap(session: Session, latency_us: float) -> Gap:
    """Split `latency_us` less the network's bound into its causes, stage by stage as chosen.

    A stage's arithmetic beyond the least its ops need of all cores is padding; what its busiest memory engine
    needs beyond its arithmetic is bandwidth; every launch beyond the first is launch. The rest is the
    remainder.
    """
    bound = session.bound_us
    per_us = session.target.cycles_per_us
    plan = session.plan
    launches = sum(any(plan.kernels[each.group] for each in stage) for stage in plan.stages)
    launch = max(0, launches - 1) * session.target.launch_cycles / per_us
    tasks = {task.digest: task for task in session.tasks}
    known: dict[Seat, _Demand] = {}
    padding = bandwidth = 0.0
    for stage in plan.stages:
        demands = []
        for seat, choice in session.choices_of(stage):
            if seat not in known:
                task = tasks[seat.digest] if len(stage) == 1 else session.seated(seat)
                known[seat] = _demand(task, choice.config)
            demands.append(known[seat])
        arithmetic = max((each.arithmetic for each in demands), default=0.0)
        memory = max((each.memory for each in demands), default=0.0)
        ideal = sum(each.ideal for each in demands) / session.target.cores
        padding += max(0.0, arithmetic - ideal) / per_us
        bandwidth += max(0.0, memory - arithmetic) / per_us
    rest = latency_us - bound - launch - padding - bandwidth
    ratio = latency_us / bound if bound else 1.0  # nothing runs
    return Gap(ratio, launch, padding, bandwidth, rest)


@dataclass(frozen=True)
class _Demand:
    """Cycles of a kernel by the nominal model: of its busiest unit and memory engine, and the least of a unit
    if one core did everything.
    """

    arithmetic: float
    memory: float
    ideal: float


def _demand(task: KernelTask, config: Config) -> _Demand:
    demand = task.model.resources.demand(task.space.encode(config)[None, :])
    arithmetic = float(np.maximum(demand.matrix, demand.vector)[0])
    memory = max(int(demand.load[0]), int(demand.store[0]), int(demand.dram[0]))
    return _Demand(arithmetic, memory, task.model.least.arithmetic)
