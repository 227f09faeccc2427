"""The farm in virtual time: promises under every fault, sick workers, and farms of thousands."""

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.farm.device import NumberedTask, configs
from tilewright.measure.farm.messages import Canary, Rules
from tilewright.measure.farm.virtual_farm import FarmReport, VirtualFarm
from tilewright.measure.farm.virtual_workers import CANARY_US, Costs, Sickness
from tilewright.measure.faults import FaultPlan

PACE_S = 0.1
CANARIES = (Canary(NumberedTask(0), configs(0, 1)[0], CANARY_US),)
Row = dict[str, Any]


def virtual_promises(seed: int, seeds: int) -> Row:
    """Farms of 1 to 12 workers with every fault on: broken promises, each with the seed that shows it."""
    broken: list[int] = []
    finished = 0
    for world in range(seed, seed + seeds):
        report = troubled_farm(world).run()
        finished += report.finished
        if report.violations:
            broken.append(world)
    return {
        "task": "promises",
        "seeds": seeds,
        "trials": finished,
        "violations": len(broken),
        "replay": broken[:10],
    }


def troubled_farm(seed: int) -> VirtualFarm:
    """A farm with every fault on, each at a rate of its own; canaries, and a sick worker, in some."""
    chance = np.random.default_rng(seed)
    workers = int(chance.integers(1, 13))
    rate = 0.03 * float(chance.random())
    plan = FaultPlan(
        seed=seed,
        pace_s=float(10.0 ** chance.uniform(-3.0, 0.0)),
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
    rules = Rules(
        deadline_s=10.0,
        start_deadline_s=20.0,
        chunk_s=float(chance.choice([0.05, 0.5, 2.0])),
        canaries=CANARIES if seed % 3 else (),
        canary_every=int(chance.integers(1, 12)),
        failed_starts=8,
    )
    sick = {}
    if rules.canaries and workers > 2 and chance.random() < 0.5:
        sick["w1"] = Sickness(float(chance.choice([0.3, 3.0])), after=int(chance.integers(0, 30)))
    batch = int(chance.choice([8, 16])) if chance.random() < 0.5 else None
    return VirtualFarm(rules, workers, int(chance.integers(10, 150)), plan, sick=sick, batch=batch)


def sick_workers(seed: int, seeds: int) -> Row:
    """One lying (0.3 x) or slow (3 x) worker in eight: the worst over seeds and both kinds."""
    measured, regret, published = 0, 0.0, 0.0
    for world in range(seed, seed + seeds):
        for factor in (0.3, 3.0):
            plan = FaultPlan(seed=world, pace_s=PACE_S, noise=0.005)
            sick = {"w3": Sickness(factor, after=40)}
            farm = VirtualFarm(Rules(canaries=CANARIES), 8, 1000, plan, sick=sick)
            report = farm.run()
            measured = max(measured, report.measured_until_quarantine.get("w3", 10**6))
            if report.best is None or report.best_latency_us is None:
                raise RuntimeError(f"seed {world}: nothing was measured")
            best_us = float(farm.candidates.truth_us[report.best])
            regret = max(regret, best_us / float(farm.candidates.truth_us.min()) - 1.0)
            published = max(published, abs(report.best_latency_us / best_us - 1.0))
    return {
        "task": "sick",
        "seeds": seeds,
        "measured": measured,
        "regret": regret,
        "published": published,
    }


def wide_farms(seed: int, number: int) -> list[Row]:
    """1,000 and 10,000 workers of 1 s a measurement, then what moves the limit: the first so many cases."""
    plan = FaultPlan(
        seed=seed,
        pace_s=1.0,
        noise=0.01,
        straggler=0.005,
        hang=0.0001,
        crash_during=0.0002,
        lost_reply=0.0001,
        double_reply=0.001,
    )
    rules = Rules(deadline_s=10.0, canaries=CANARIES, canary_every=32)
    base = Costs()
    eight = replace(base, event_s=base.event_s / 8.0, candidate_s=base.candidate_s / 8.0)
    cases: list[tuple[str, int, FaultPlan, Costs]] = [
        ("as it is", 1000, plan, base),
        ("as it is", 10_000, plan, base),
        ("eight drivers", 10_000, plan, eight),
        ("eight drivers, proposing 10 x as fast", 10_000, plan, replace(eight, propose_s=3e-5)),
        ("eight drivers, database 10 x as slow", 10_000, plan, replace(eight, commit_s=0.05, row_s=7e-4)),
        ("10 s a measurement", 10_000, replace(plan, pace_s=10.0), base),
    ]
    rows = []
    for change, workers, case_plan, costs in cases[:number]:
        rounds = 60 if workers <= 1000 else 36  # of candidates a worker; the first canary comes after 32
        report = VirtualFarm(rules, workers, workers * rounds, case_plan, costs).run()
        rows.append(wide_row(change, workers, case_plan.pace_s, report))
    return rows


def wide_row(change: str, workers: int, pace_s: float, report: FarmReport) -> Row:
    """One line of the table of wide farms."""
    return {
        "task": "wide",
        "method": change,
        "workers": workers,
        "pace_s": pace_s,
        "trials": report.finished,
        "efficiency": report.efficiency,
        "trials_per_s": report.trials_per_s,
        "wall_s": report.wall_s,
        "driver_busy": report.driver_busy,
        "searcher_busy": report.searcher_busy,
        "violations": len(report.violations),
    }
