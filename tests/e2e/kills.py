"""Kills at random moments: `python -m tests.e2e.kills run|serve|runner [KILLS [SEED]]`.

The search is the real one, on the simulated chip. A process is killed with SIGKILL and started again until
its work is done (`tune bench farm` kills measuring workers). Then the records are compared with those of work
that nobody disturbed: the same trials in the same order, none lost, none twice.
"""

import json
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import onnx

from tests.e2e.forks import Fork, load
from tests.e2e.process_table import spent_s, started_with
from tests.e2e.processes import free_port, wait_until_ready
from tests.onnx_models import model as model_of
from tests.onnx_models import node, reals, saved, value
from tilewright.db.service.job_rows import JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import open_database
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.request import TuneRequest

TARGET, TRIALS, SEED = "ascend910", 32, 3
KILLS_A_ROUND = 3
"""Fewer than a job may lose runners without progress."""
PATIENCE_S = 120.0
TRIALS_OF_ALL = """
SELECT trial.purpose, trial.number, trial.attempt, trial.config, trial.status, trial.latency_us
FROM trial JOIN run ON run.id = trial.run_id ORDER BY run.id, trial.purpose, trial.number, trial.attempt
"""


def product() -> onnx.ModelProto:
    """One small kernel, so that a life is short."""
    nodes = [node("MatMul", "x w", "p"), node("Relu", "p", "y")]
    return model_of(nodes, [value("x", [16, 32])], ["y"], {"w": reals(1, 32, 16)})


@dataclass
class Outcome:
    """What came of a campaign."""

    kills: int = 0
    rounds: int = 0
    different: int = 0
    failed: int = 0
    left_over: list[str] = field(default_factory=list)


class Round:
    """One piece of work, in a folder of its own."""

    kills = KILLS_A_ROUND

    def __init__(self, folder: Path, model: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.scratch = folder / "tmp"
        self.scratch.mkdir()
        self.database = folder / "tuning.db"
        self.model = model
        self.port = free_port()

    def start(self, *arguments: str) -> Fork:
        """A `tune` command in a session of its own."""
        environment = {"TMPDIR": str(self.scratch), "TILEWRIGHT_LEASE_S": "2"}
        whole = [*arguments, "--db", str(self.database), "--ray", "none"]
        return Fork(whole, environment, self.folder / "log")

    def strike(self, child: Fork) -> Fork | None:
        """SIGKILL for the process alone, what it started has to end by itself; and another in its place.

        None where it was over before.
        """
        child.send_signal(signal.SIGKILL)
        return self.process() if child.wait() == -signal.SIGKILL else None

    def process(self) -> Fork:
        raise NotImplementedError

    def asked(self, question: str) -> list[tuple[Any, ...]]:
        """Rows of the database, of which nothing stays open, its log included."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=rw", uri=True, timeout=60.0)) as opened:
            return opened.execute(question).fetchall()

    def left_over(self) -> list[str]:
        """Files that should be gone, and processes."""
        expected = {"tmp", "tuning.db", "log"}
        wait(lambda: not self.started(), PATIENCE_S)
        files = [*self.scratch.rglob("*"), *(p for p in self.folder.iterdir() if p.name not in expected)]
        return [*map(str, files), *(f"process {pid}" for pid in self.started())]

    def started(self) -> list[int]:
        """Processes that the fork has started."""
        return started_with(f"TMPDIR={self.scratch}".encode())


class Run(Round):
    """`tune run`, started again until it ends by itself."""

    trials = TRIALS

    def begin(self) -> None:
        """Nothing has to be there before."""

    def process(self) -> Fork:
        budget = ("--trials", str(self.trials), "--seed", str(SEED))
        return self.start("run", str(self.model), "--target", TARGET, *budget)

    def at_work(self) -> bool:
        return self.database.exists()

    def over(self, child: Fork) -> bool | None:
        return None if child.poll() is None else child.returncode == 0


class OfAJob(Round):
    """Work on a job in the database."""

    def begin(self) -> None:
        database = open_database(self.database)
        request = TuneRequest(Path("model.onnx"), TARGET, trials=TRIALS, seed=SEED)
        upload = Uploads(database).put(self.model.read_bytes())
        Jobs(database).submit("local", request_to_json(request), upload)
        database.close()

    def process(self) -> Fork:
        return self.start("runner")

    def state(self) -> str:
        return str(self.asked("SELECT state FROM job")[0][0])

    def at_work(self) -> bool:
        return self.state() != JobState.QUEUED

    def over(self, child: Fork) -> bool | None:
        state = self.state()
        return None if state in (JobState.QUEUED, JobState.RUNNING) else state == JobState.SUCCEEDED


class Serve(OfAJob):
    """The same, submitted to a server that is killed; its runner, no fork, ends with it."""

    submitted = False

    def begin(self) -> None:
        """The server makes the database."""

    def process(self) -> Fork:
        child = self.start("serve", "--port", str(self.port))
        wait_until_ready(self.port, within_s=PATIENCE_S)
        if not self.submitted:
            answer = httpx.post(
                f"http://127.0.0.1:{self.port}/v1/jobs",
                files={"model": ("model.onnx", self.model.read_bytes())},
                data={"spec": json.dumps({"target": TARGET, "trials": TRIALS, "seed": SEED})},
                headers={"Idempotency-Key": "once"},
                timeout=PATIENCE_S,
                trust_env=False,
            )
            self.submitted = answer.is_success
        return child


KINDS: dict[str, type[Run] | type[OfAJob]] = {"run": Run, "runner": OfAJob, "serve": Serve}


def wait(holds: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def begun(work: Run | OfAJob, child: Fork) -> bool:
    return work.at_work() or gone(work, child)


def gone(work: Run | OfAJob, child: Fork) -> bool:
    return work.over(child) is not None


def live(work: Run | OfAJob, pause_s: Callable[[], float] | None) -> tuple[int, bool, float]:
    """Sees a piece of work through, and kills it after so much of the processor's time, again and again.

    How many kills came in time, whether it ended well, and the seconds that it worked since the last one.
    """
    work.begin()
    kills, child = 0, work.process()
    while True:
        wait(partial(begun, work, child), PATIENCE_S)
        start = now = spent_s(child.pid)
        until_s = start + pause_s() if pause_s is not None and kills < work.kills else float("inf")
        while work.over(child) is None and now < until_s:
            time.sleep(0.03)
            now = max(now, spent_s(child.pid))
        struck = work.strike(child) if work.over(child) is None else None
        if struck is None:
            break
        child = struck
        kills += 1
    good = bool(work.over(child))
    child.send_signal(signal.SIGTERM)
    child.wait()
    return kills, good, now - start


def campaign(kind: str, kills: int, seed: int, folder: Path) -> Outcome:
    """So many kills, over as many rounds as they take."""
    load()
    model = saved(product(), folder)
    calm = KINDS[kind](folder / "calm", model)
    _, good, took_s = live(calm, None)
    assert good, (folder / "calm" / "log").read_text()[-2000:]
    wanted, outcome, dice = calm.asked(TRIALS_OF_ALL), Outcome(), random.Random(seed)
    longest_s = took_s
    while outcome.kills < kills:
        work = KINDS[kind](folder / f"round {outcome.rounds}", model)
        done, good, last_s = live(work, lambda: dice.uniform(0.0, longest_s))  # noqa: B023 - called at once
        if done == 0:  # the first life of all was slower
            longest_s = min(longest_s, last_s)
        outcome.kills += done
        outcome.rounds += 1
        outcome.failed += not good
        outcome.different += work.asked(TRIALS_OF_ALL) != wanted
        outcome.left_over += work.left_over()
        print(kind, outcome, file=sys.stderr, flush=True)
    return outcome


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="tilewright-kills-") as place:
        print(
            kind, campaign(kind, int(rest[0]) if rest else 60, int(rest[1]) if rest[1:] else 0, Path(place))
        )
