"""How well the farm farms: real processes on this machine, whole farms in virtual time.

    python -m benchmarks.farm [--quick] [--campaign] [--seed N] [--json FILE|-]

Everything is derived from the seed except wall times and the moments at which processes are killed.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.farm_device import NumberedTask, configs, latency_us, spec_of
from measure.faults import FaultPlan
from measure.messages import Canary, Rules
from measure.ray_pool import RayPool
from measure.ray_worker import started
from measure.results import Measurement
from measure.virtual_farm import CANARY_US, Costs, Report, Sickness, VirtualFarm

TASK = NumberedTask(1)
PACE_S = 0.1
CANARIES = (Canary(NumberedTask(0), configs(0, 1)[0], CANARY_US),)
Row = dict[str, Any]


def bench_farm(seed: int = 0, quick: bool = False, campaign: bool = False) -> dict[str, Any]:
    """Every figure of docs/farm.md: `{bench, summary, rows}`, a summary entry a figure with its goal.

    `quick` is a minute's worth; `campaign` takes hours and kills by the thousand.
    """
    rows: list[Row] = []
    summary: dict[str, Row] = {}

    def figure(name: str, value: float, goal: str, ok: bool) -> None:
        summary[name] = {"value": round(value, 4), "goal": goal, "ok": bool(ok)}

    paced = paced_farm(workers=16, trials=1600 if quick else 3200)
    rows += paced
    figure("efficiency_16_paced", paced[0]["efficiency"], ">= 0.9", paced[0]["efficiency"] >= 0.9)
    slower = paced[1]["wall_s"] / paced[0]["wall_s"]
    figure("wall_with_10_percent_dying", slower, "<= 1.15", slower <= 1.15)
    overhead = driver_overhead(trials=2000 if quick else 20000)
    rows.append(overhead)
    figure("driver_ms_per_trial", overhead["driver_ms"], "<= 2", overhead["driver_ms"] <= 2.0)

    kills = 1000 if campaign else 12 if quick else 60
    killed = killing(kills, random.Random(seed))
    rows.append(killed)
    figure("sigkills_lost_or_doubled", killed["wrong"], "0", killed["wrong"] == 0)
    figure("sigkills_in_flight", killed["in_flight"], ">= 30 %", killed["in_flight"] >= 0.3 * kills)
    hung = hanging(200 if campaign else 3 if quick else 12)
    rows.append(hung)
    figure("refilled_after_deadline_s", hung["worst_refill_s"], "<= 2", hung["worst_refill_s"] <= 2.0)
    figure("orphans", hung["orphans"] + killed["orphans"], "0", hung["orphans"] + killed["orphans"] == 0)
    if not quick:
        heads = head_deaths(20 if campaign else 2)
        rows.append(heads)
        figure("finished_after_head_death", heads["finished"], "all", heads["finished"] == heads["deaths"])

    promises = virtual_promises(seed, 10_000 if campaign else 200 if quick else 1000)
    rows.append(promises)
    figure("broken_promises", promises["violations"], "0", promises["violations"] == 0)
    sick = sick_workers(seed, 5 if quick else 50)
    rows.append(sick)
    figure("measured_until_quarantine", sick["measured"], "<= 20", 0 < sick["measured"] <= 20)
    figure("regret_with_sick_worker", sick["regret"], "<= 0.01", sick["regret"] <= 0.01)
    figure("published_error_with_sick_worker", sick["published"], "<= 0.02", sick["published"] <= 0.02)

    wide = wide_farms(seed, quick)
    rows += wide
    figure("efficiency_1000_simulated", wide[0]["efficiency"], ">= 0.9", wide[0]["efficiency"] >= 0.9)
    if not quick:
        figure("efficiency_10000_simulated", wide[1]["efficiency"], "stated", True)
    return {"bench": "farm", "summary": summary, "rows": rows}


# Real processes.


def top_up(pool: RayPool, trials: int) -> dict[int, tuple[int, Measurement]]:
    """Keep the farm busy with `trials` configs: ticket -> (number of the config, measurement)."""
    sent: dict[int, int] = {}
    done: dict[int, tuple[int, Measurement]] = {}
    while len(done) < trials:
        wanted = min(pool.wanted(), trials - len(sent))
        for ticket in pool.submit(TASK, configs(len(sent), wanted)):
            sent[ticket] = len(sent)
        for answer in pool.collect(timeout_s=0.05):
            if answer.ticket in done:
                raise RuntimeError(f"ticket {answer.ticket} was answered twice")
            done[answer.ticket] = (sent[answer.ticket], answer.measurement)
    return done


def wrong_answers(done: dict[int, tuple[int, Measurement]]) -> int:
    """How many answers are not the truth about their config."""
    return sum(
        answer.latency_us != latency_us(TASK, configs(number, 1)[0]) for number, answer in done.values()
    )


def all_ready(pool: RayPool, workers: int, timeout_s: float = 120.0) -> None:
    """Wait for every worker's greeting."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if sum(worker.phase == "ready" for worker in pool.workers()) == workers:
            return
        time.sleep(0.05)
    raise RuntimeError(f"{workers} workers were not ready within {timeout_s} s: {pool.workers()}")


def paced_farm(workers: int, trials: int) -> list[Row]:
    """Efficiency at 100 ms a measurement, in peace and with a tenth of the workers killed on the way."""
    rows = []
    with RayPool(spec_of(PACE_S), workers=workers) as pool:
        pool.start()
        all_ready(pool, workers)
        for deaths in (0, round(workers / 10)):
            all_ready(pool, workers)
            began_s = time.monotonic()
            timers = [
                threading.Timer(
                    trials * PACE_S / workers * (death + 1) / (deaths + 1), kill_one, (pool, death)
                )
                for death in range(deaths)
            ]
            for timer in timers:
                timer.start()
            done = top_up(pool, trials)
            wall_s = time.monotonic() - began_s
            rows.append(
                {
                    "task": "paced",
                    "workers": workers,
                    "trials": trials,
                    "killed": deaths,
                    "wall_s": wall_s,
                    "efficiency": trials * PACE_S / (workers * wall_s),
                    "wrong": wrong_answers(done),
                }
            )
    return rows


def kill_one(pool: RayPool, number: int) -> None:
    """SIGKILL a worker's process."""
    ready = [worker.pid for worker in pool.workers() if worker.phase == "ready" and worker.pid]
    if ready:
        os.kill(ready[number % len(ready)], signal.SIGKILL)


def driver_overhead(trials: int) -> Row:
    """The driver's own processor time a trial, in chunks, from config to measurement."""
    with RayPool(spec_of(), workers=2) as pool:
        pool.measure(TASK, configs(0, 500))
        batch = configs(500, trials)
        began_s, wall_s = time.process_time(), time.monotonic()
        pool.measure(TASK, batch)
        driver_s, wall_s = time.process_time() - began_s, time.monotonic() - wall_s
    with RayPool(spec_of(), workers=2, rules=Rules(chunk_max=1)) as pool:
        pool.measure(TASK, configs(0, 50))
        began_s = time.process_time()
        pool.measure(TASK, configs(500, 1000))
        call_s = (time.process_time() - began_s) / 1000
    return {
        "task": "overhead",
        "trials": trials,
        "driver_ms": 1e3 * driver_s / trials,
        "wall_ms": 1e3 * wall_s / trials,
        "driver_ms_per_call": 1e3 * call_s,
    }


def killing(kills: int, chance: random.Random) -> Row:
    """SIGKILL workers one after the other while they measure; count what is lost, wrong or left over."""
    workers, in_flight = 4, 0
    struck: list[int] = []
    done: dict[int, tuple[int, Measurement]] = {}
    with RayPool(spec_of(0.02), workers, rules=Rules(deadline_s=5.0, chunk_s=0.02, attempts=20)) as pool:
        all_ready(pool, workers)

        def strike() -> None:
            nonlocal in_flight
            while len(struck) < kills:
                ready = [w for w in pool.workers() if w.phase == "ready" and w.pid and w.pid not in struck]
                if ready:
                    victim = chance.choice(ready)
                    os.kill(victim.pid, signal.SIGKILL)
                    in_flight += victim.calls > 0
                    struck.append(victim.pid)
                time.sleep(chance.uniform(0.05, 0.4))

        thread = threading.Thread(target=strike)
        thread.start()
        while thread.is_alive():
            done |= top_up(pool, 400)
        thread.join()
    return {
        "task": "sigkill",
        "kills": len(struck),
        "in_flight": in_flight,
        "trials": len(done),
        "wrong": wrong_answers(done),
        "orphans": orphans(struck),
    }


def hanging(hangs: int) -> Row:
    """SIGSTOP workers in the middle of a measurement: when is the slot ready again, what is left over?"""
    rules = Rules(deadline_s=1.0, chunk_s=0.02, attempts=20)
    refills, struck = [], []
    with RayPool(spec_of(0.05), workers=3, rules=rules) as pool:
        all_ready(pool, 3)
        for _ in range(hangs):
            pool.submit(TASK, configs(0, 60))
            time.sleep(0.1)
            victim = next(worker for worker in pool.workers() if worker.phase == "ready" and worker.pid)
            os.kill(victim.pid, signal.SIGSTOP)
            struck.append(victim.pid)
            began_s = time.monotonic()
            while started(victim.pid) is not None:  # until the deadline has killed it
                time.sleep(0.01)
            all_ready(pool, 3)
            refills.append(time.monotonic() - began_s - rules.deadline_s)
            while pool.outstanding():
                pool.collect(1.0)
    return {
        "task": "sigstop",
        "hangs": hangs,
        "worst_refill_s": max(refills),
        "median_refill_s": float(np.median(refills)),
        "orphans": orphans(struck),
    }


def head_deaths(deaths: int) -> Row:
    """SIGKILL Ray's head in the middle of a batch; the batch has to finish, and right."""
    finished = 0
    walls = []
    with RayPool(spec_of(0.02), workers=2) as pool:
        for death in range(deaths):
            all_ready(pool, 2)
            batch = configs(death * 1000, 400)
            timer = threading.Timer(0.5, kill_head)
            timer.start()
            began_s = time.monotonic()
            measured = pool.measure(TASK, batch)
            walls.append(time.monotonic() - began_s)
            timer.join()
            finished += [m.latency_us for m in measured] == [latency_us(TASK, c) for c in batch]
    return {"task": "head", "deaths": deaths, "finished": finished, "worst_wall_s": max(walls)}


def kill_head() -> None:
    """SIGKILL the control server that is this process's own child."""
    for pid in children(os.getpid()):
        if Path(f"/proc/{pid}/comm").read_text().startswith("gcs_server"):
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split() if Path(f"/proc/{word}").exists()]


def orphans(processes: list[int], patience_s: float = 20.0) -> int:
    """How many of these are still there after a while."""
    end_s = time.monotonic() + patience_s
    while any(started(pid) is not None for pid in processes) and time.monotonic() < end_s:
        time.sleep(0.05)
    return sum(started(pid) is not None for pid in processes)


# Virtual time.


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
            best_us = float(farm.truth_us[report.best])
            regret = max(regret, best_us / float(farm.truth_us.min()) - 1.0)
            published = max(published, abs(report.best_latency_us / best_us - 1.0))
    return {
        "task": "sick",
        "seeds": seeds,
        "measured": measured,
        "regret": regret,
        "published": published,
    }


def wide_farms(seed: int, quick: bool) -> list[Row]:
    """1,000 and 10,000 workers of 1 s a measurement, and what each change to the largest brings."""
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
    for change, workers, case_plan, costs in cases[:1] if quick else cases:
        rounds = 60 if workers <= 1000 else 36  # of candidates a worker; the first canary comes after 32
        report = VirtualFarm(rules, workers, workers * rounds, case_plan, costs).run()
        rows.append(wide_row(change, workers, case_plan.pace_s, report))
    return rows


def wide_row(change: str, workers: int, pace_s: float, report: Report) -> Row:
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


def main(say: Callable[[str], None] = print) -> int:
    """Print the table, or write JSON. 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--campaign", action="store_true")
    parser.add_argument("--json", default="")
    asked = parser.parse_args()
    result = bench_farm(asked.seed, asked.quick, asked.campaign)
    text = json.dumps(result, indent=1)
    if asked.json == "-":
        say(text)
    else:
        if asked.json:
            Path(asked.json).write_text(text + "\n")
        for name, entry in result["summary"].items():
            say(f"{name:36} {entry['value']:>12} goal {entry['goal']:10} {'ok' if entry['ok'] else 'MISSED'}")
        for row in result["rows"]:
            say(
                "  "
                + "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
            )
    return 0 if all(entry["ok"] for entry in result["summary"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
