"""Workers killed, stopped and stuck, heads killed, with real processes: what is lost, what is left over?"""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.farm.device import configs, latency_us, spec_of
from benchmarks.farm.speed import TASK, all_ready, top_up, wrong_answers
from tilewright.measure.farm.messages import Rules
from tilewright.measure.farm.pool import Answer
from tilewright.measure.ray_farm.pool import RayPool
from tilewright.measure.ray_farm.worker import started
from tilewright.measure.results import Measurement, Status

Row = dict[str, Any]
Process = tuple[int, int | None]
"""Its id, and when it began: ids come round again in a campaign of thousands."""
DEADLINE_S = 1.0


def killing(kills: int, chance: random.Random) -> Row:
    """SIGKILL workers one after the other while they measure; count what is lost, wrong or left over."""
    workers, in_flight = 4, 0
    struck: list[Process] = []
    done: dict[int, tuple[int, Measurement]] = {}
    with RayPool(spec_of(0.02), workers, rules=Rules(deadline_s=5.0, chunk_s=0.02, attempts=20)) as pool:
        all_ready(pool, workers)

        def strike() -> None:
            nonlocal in_flight
            while len(struck) < kills:
                ready = [w for w in pool.workers() if w.phase == "ready" and w.pid]
                victim = chance.choice(ready) if ready else None
                process = process_of(victim.pid) if victim is not None else (0, None)
                if victim is not None and process[1] is not None and process not in struck:
                    struck.append(process)
                    os.kill(victim.pid, signal.SIGKILL)
                    in_flight += victim.calls > 0
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


def stopping(hangs: int) -> Row:
    """SIGSTOP workers in the middle of a measurement: when is the slot ready again, what is left over?"""
    rules = Rules(deadline_s=DEADLINE_S, chunk_s=0.02, attempts=20)
    refills, struck = [], []
    with RayPool(spec_of(0.05), workers=3, rules=rules) as pool:
        all_ready(pool, 3)
        for number in range(hangs):
            pool.submit(TASK, configs(0, 60))
            time.sleep(0.1)
            ready = [worker for worker in pool.workers() if worker.phase == "ready" and worker.pid]
            victim = ready[number % len(ready)]
            struck.append(process_of(victim.pid))
            os.kill(victim.pid, signal.SIGSTOP)
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


def stuck(hangs: int) -> Row:
    """Candidates that loop for ever, every second one deaf to SIGTERM as well: the same questions."""
    refills: list[float] = []
    struck: list[Process] = []
    rules = Rules(deadline_s=DEADLINE_S, attempts=1)
    answers: list[Answer] = []
    with RayPool(spec_of(0.05), workers=3, rules=rules) as pool:
        all_ready(pool, 3)
        for number in range(hangs):
            before = {process_of(worker.pid) for worker in pool.workers()}
            began_s = time.monotonic()
            pool.submit(TASK, configs(number, 1, "loop" if number % 2 else "deaf"))
            while not (answer := pool.collect(1.0)):
                continue
            answers += answer
            all_ready(pool, 3)
            refills.append(time.monotonic() - began_s - rules.deadline_s)
            struck += before - {process_of(worker.pid) for worker in pool.workers()}
    timeouts = sum(answer.measurement.status is Status.TIMEOUT for answer in answers)
    return {
        "task": "stuck",
        "hangs": hangs,
        "timeouts": timeouts,
        "killed": len(struck),
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


def process_of(pid: int) -> Process:
    """The process that has this id now."""
    return pid, started(pid)


def orphans(processes: Sequence[Process], patience_s: float = 20.0) -> int:
    """How many of these are still there after a while."""
    there = [process for process in processes if process[1] is not None]
    end_s = time.monotonic() + patience_s
    while any(process_of(pid) == (pid, began) for pid, began in there) and time.monotonic() < end_s:
        time.sleep(0.05)
    return sum(process_of(pid) == (pid, began) for pid, began in there)
