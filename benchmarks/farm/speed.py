"""How busy the farm keeps its workers, and what that costs its driver, with real processes."""

import os
import signal
import threading
import time
from typing import Any

from benchmarks.farm.device import NumberedTask, configs, latency_us, spec_of
from tilewright.measure.farm.messages import Rules
from tilewright.measure.ray_farm.pool import RayPool
from tilewright.measure.results import Measurement

TASK = NumberedTask(1)
PACE_S = 0.1
Row = dict[str, Any]


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
