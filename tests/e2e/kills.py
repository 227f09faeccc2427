"""Kills at random moments: `python -m tests.e2e.kills run|serve|runner [KILLS [SEED]]`.

The search is the real one, on the simulated chip, without Ray (`tune bench farm` kills its workers). A
process is killed with SIGKILL and started again until its work is done. Then its records are compared with
those of work that nobody disturbed: the same trials in the same order, none lost, none twice.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from tests.e2e.processes import free_port, wait_until_ready
from tests.onnx_models import saved, two_parts
from tilewright.db.service.job_rows import JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import open_database
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.request import TuneRequest

ROOT = Path(__file__).parents[2]
TARGET, TRIALS, SEED = "ascend910", 64, 3
KILLS_A_ROUND = 3
"""Fewer than a job may lose runners without progress."""
PROGRAM = "import sys; from tilewright.api.cli.main import main; sys.exit(main(sys.argv[1:]))"
TRIALS_OF_ALL = """
SELECT trial.purpose, trial.number, trial.attempt, trial.config, trial.status, trial.latency_us
FROM trial JOIN run ON run.id = trial.run_id ORDER BY run.id, trial.purpose, trial.number, trial.attempt
"""


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

    def __init__(self, folder: Path, model: Path) -> None:
        folder.mkdir()
        self.scratch = folder / "tmp"
        self.scratch.mkdir()
        self.database = folder / "tuning.db"
        self.model = model
        self.port = free_port()

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A `tune` command in a session of its own."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.scratch),
            "TILEWRIGHT_LEASE_S": "2",
        }
        command = [sys.executable, "-c", PROGRAM, *arguments, "--db", str(self.database), "--ray", "none"]
        log = (self.scratch.parent / "log").open("ab")
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def records(self) -> list[tuple[Any, ...]]:
        """Every trial."""
        database = open_database(self.database)
        rows = [tuple(row) for row in database.ask(text(TRIALS_OF_ALL))]
        database.close()
        return rows


class Run(Round):
    """`tune run`, started again until it ends by itself."""

    def begin(self) -> None:
        """Nothing has to be there before."""

    def process(self) -> "subprocess.Popen[bytes]":
        return self.start(
            "run", str(self.model), "--target", TARGET, "--trials", str(TRIALS), "--seed", str(SEED)
        )

    def at_work(self, child: "subprocess.Popen[bytes]") -> bool:
        return self.database.exists()

    def over(self, child: "subprocess.Popen[bytes]") -> bool | None:
        return None if child.poll() is None else child.returncode == 0


class OfAJob(Round):
    """Work on a job in the database."""

    def begin(self) -> None:
        database = open_database(self.database)
        request = TuneRequest(Path("model.onnx"), TARGET, trials=TRIALS, seed=SEED)
        upload = Uploads(database).put(self.model.read_bytes())
        self.job = Jobs(database).submit("local", request_to_json(request), upload)[0].uid
        database.close()

    def process(self) -> "subprocess.Popen[bytes]":
        return self.start("runner")

    def state(self) -> JobState:
        database = open_database(self.database)
        row = Jobs(database).get(self.job)
        database.close()
        assert row is not None
        return row.state

    def at_work(self, child: "subprocess.Popen[bytes]") -> bool:
        return self.state() is not JobState.QUEUED

    def over(self, child: "subprocess.Popen[bytes]") -> bool | None:
        state = self.state()
        return None if state in (JobState.QUEUED, JobState.RUNNING) else state is JobState.SUCCEEDED


class Serve(OfAJob):
    """The same, submitted to a server that is killed; its runner ends with it."""

    def begin(self) -> None:
        self.job = ""

    def process(self) -> "subprocess.Popen[bytes]":
        child = self.start("serve", "--port", str(self.port))
        wait_until_ready(self.port, within_s=120)
        if not self.job:
            answer = httpx.post(
                f"http://127.0.0.1:{self.port}/v1/jobs",
                files={"model": ("model.onnx", self.model.read_bytes())},
                data={"spec": json.dumps({"target": TARGET, "trials": TRIALS, "seed": SEED})},
                headers={"Idempotency-Key": "once"},
                timeout=120,
                trust_env=False,
            )
            self.job = answer.json()["id"]
        return child


KINDS: dict[str, type[Run] | type[OfAJob]] = {"run": Run, "runner": OfAJob, "serve": Serve}


def wait(holds: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def begun(work: Run | OfAJob, child: "subprocess.Popen[bytes]") -> bool:
    return work.at_work(child) or gone(work, child)


def gone(work: Run | OfAJob, child: "subprocess.Popen[bytes]") -> bool:
    return work.over(child) is not None


def kill(child: "subprocess.Popen[bytes]", hard: bool) -> None:
    """SIGKILL for the process alone, what it started has to end by itself; or an end in good order."""
    child.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
    child.wait()


def live(work: Run | OfAJob, moments_s: Sequence[float]) -> tuple[int, bool, float]:
    """Sees a piece of work through, and kills it each time so long after it began to work.

    How many kills came in time, whether it ended well, and the seconds that it worked since the last one.
    """
    work.begin()
    waiting, kills = list(moments_s), 0
    while True:
        child = work.process()
        wait(partial(begun, work, child), 300.0)
        start = time.monotonic()
        ended = wait(partial(gone, work, child), waiting.pop(0) if waiting else 600.0)
        took_s = time.monotonic() - start
        if not ended:
            kill(child, hard=True)
            kills += 1
            continue
        if child.poll() is None:
            kill(child, hard=False)
        return kills, bool(work.over(child)), took_s


def campaign(kind: str, kills: int, seed: int, folder: Path) -> Outcome:
    """So many kills, over as many rounds as they take."""
    model = saved(two_parts(), folder)
    calm = KINDS[kind](folder / "calm", model)
    _, good, took_s = live(calm, ())
    assert good, (folder / "calm" / "log").read_text()[-2000:]
    wanted, outcome, dice = calm.records(), Outcome(), random.Random(seed)
    while outcome.kills < kills:
        work = KINDS[kind](folder / f"round {outcome.rounds}", model)
        done, good, last_s = live(work, [dice.uniform(0.0, took_s) for _ in range(KILLS_A_ROUND)])
        took_s = min(took_s, max(last_s, 1.0)) if done == 0 else took_s
        outcome.kills += done
        outcome.rounds += 1
        outcome.failed += not good
        outcome.different += work.records() != wanted
        outcome.left_over += [str(path) for path in work.scratch.iterdir()]
    return outcome


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="tilewright-kills-") as place:
        print(
            kind, campaign(kind, int(rest[0]) if rest else 60, int(rest[1]) if rest[1:] else 0, Path(place))
        )
