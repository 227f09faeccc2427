"""Where the time above the bound goes: launch, padding, bandwidth, rest."""

import numpy as np

from search_space.knobs import Config
from tuner.report import Gap
from tuner.session import Session
from tuner.tasks import KernelTask


def explain_gap(session: Session, latency_us: float) -> Gap:
    """Split `latency_us` less the network's bound into its causes, kernel by kernel as chosen.

    A kernel's arithmetic beyond the least its ops need is padding; what its busiest memory engine needs
    beyond its arithmetic is bandwidth; every launch beyond the first is launch. The rest is the remainder.
    """
    bound = session.bound_us
    counts = session.plan.counts
    launches = sum(counts.values()) - 1
    launch = launches * session.target.launch_cycles / session.target.cycles_per_us
    padding = bandwidth = 0.0
    for task in session.tasks:
        pad, band = _of_kernel(task, session.choices[task.digest].config)
        padding += counts[task.digest] * pad
        bandwidth += counts[task.digest] * band
    rest = latency_us - bound - launch - padding - bandwidth
    return Gap(latency_us / bound, launch, padding, bandwidth, rest)


def _of_kernel(task: KernelTask, config: Config) -> tuple[float, float]:
    """Padding and bandwidth of one run of a kernel, in microseconds, by the nominal model."""
    demand = task.model.resources.demand(task.space.encode(config)[None, :])
    least = task.model.least
    arithmetic = np.maximum(demand.matrix, demand.vector)[0]
    ideal = least.arithmetic / task.target.cores
    memory = max(int(demand.load[0]), int(demand.store[0]), int(demand.dram[0]))
    per_us = task.target.cycles_per_us
    return max(0.0, arithmetic - ideal) / per_us, max(0.0, memory - arithmetic) / per_us
