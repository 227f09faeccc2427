"""From a seed to a whole farm in trouble: size, faults, sick workers, rules."""

import numpy as np

from measure.faults import FaultPlan
from measure.messages import Canary, Rules
from measure.virtual_farm import CANARY_US, Sickness, VirtualFarm
from tests.measure.fake_device import NamedTask, config_of


def world(seed: int) -> VirtualFarm:
    """A farm of 1 to 12 workers with every fault on at a rate of its own, canaries in two of three."""
    random = np.random.default_rng(seed)
    workers = int(random.integers(1, 13))
    canaries = (Canary(NamedTask("canary"), config_of(0), CANARY_US),) if seed % 3 else ()
    rules = Rules(
        deadline_s=10.0,
        start_deadline_s=20.0,
        chunk_s=float(random.choice([0.05, 0.5, 2.0])),
        canaries=canaries,
        canary_every=int(random.integers(1, 12)),
        failed_starts=8,
    )
    rate = 0.03 * float(random.random())
    plan = FaultPlan(
        seed=seed,
        pace_s=float(10.0 ** random.uniform(-3.0, 0.0)),
        noise=0.01 if seed % 2 else 0.0,
        straggler=rate,
        hang=rate / 3.0,
        crash_before=rate,
        crash_during=rate,
        crash_after=rate,
        failed_start=0.1,
        lost_reply=rate / 2.0,
        double_reply=5.0 * rate,
        wrong_output=0.05,
        poison=0.02,
    )
    sick = {}
    if canaries and workers > 2 and random.random() < 0.5:
        sick["w1"] = Sickness(float(random.choice([0.3, 3.0])), after=int(random.integers(0, 30)))
    batch = int(random.choice([8, 16])) if random.random() < 0.5 else None
    return VirtualFarm(rules, workers, int(random.integers(10, 150)), plan, sick=sick, batch=batch)
