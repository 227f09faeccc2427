"""Runners: jobs go on where they broke off, and a runner that lost its lease writes nothing more."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.api.fake_work import FakeReport, FakeWork, latency_of
from tests.api.service import model_bytes, running_runner
from tilewright.compiler_core.errors import DeviceError, ModelError, VerifyError
from tilewright.db.browse import Browse, Viewer, Wanted
from tilewright.db.service.job_rows import JobRow, JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.leases import LeaseLostError
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import Database, DatabaseDownError
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.jobs.runner import JobRunner, RunnerSettings, WorkResult
from tilewright.tuner.network.holding import Holding
from tilewright.tuner.request import Hooks, TuneRequest

EVERYTHING = Viewer(None, operator=True)


def queued(database: Database, **given: object) -> JobRow:
    request = replace(TuneRequest(Path("model.onnx"), "ascend910"), **given)  # type: ignore[arg-type]  # names of fields
    return Jobs(database).submit("tenant", request_to_json(request), Uploads(database).put(model_bytes()))[0]


def state_of(database: Database, job: JobRow) -> JobState:
    row = Jobs(database).get(job.uid)
    assert row is not None
    return row.state


def latencies(database: Database, job: JobRow) -> list[float | None]:
    (run,), _ = Browse(database).runs(EVERYTHING, job.uid)
    rows, _ = Browse(database).records(EVERYTHING, Wanted(run=run.uid), limit=500)
    return [row.row.trial.measurement.latency_us for row in rows][::-1]


def wait_for(database: Database, job: JobRow, *states: JobState, within_s: float = 20.0) -> None:
    until = time.monotonic() + within_s
    while state_of(database, job) not in states:
        assert time.monotonic() < until, state_of(database, job)
        time.sleep(0.02)


class Crash(BaseException):
    """Ends a runner as a kill would: nothing is given back."""


class CrashingWork(FakeWork):
    """Dies before or after the commit of one batch."""

    def __init__(self, database: Database, at: int, after_commit: bool) -> None:
        super().__init__(database)
        self.at = at
        commit = self.repository.commit_trials

        def crashing(trials, guard=None):  # type: ignore[no-untyped-def]
            if trials[0].number == self.at and not after_commit:
                raise Crash
            commit(trials, guard)
            if trials[0].number == self.at:
                raise Crash

        self.repository.commit_trials = crashing  # type: ignore[method-assign, assignment]  # what a crash looks like


@pytest.mark.parametrize("at", [0, 4, 8])
@pytest.mark.parametrize("after_commit", [False, True])
def test_a_job_resumes_where_its_records_end(database: Database, at: int, after_commit: bool) -> None:
    job = queued(database, seed=3, trials=12)
    times = RunnerSettings("first", lease_s=1.0, heartbeat_s=0.2)
    with pytest.raises(Crash):
        JobRunner(database, times, CrashingWork(database, at, after_commit)).step()
    assert state_of(database, job) is JobState.RUNNING
    with running_runner(database, FakeWork(database), "second"):
        wait_for(database, job, JobState.SUCCEEDED)
    assert latencies(database, job) == [latency_of(3, number) for number in range(12)]


def test_a_runner_told_to_stop_gives_its_job_back(database: Database) -> None:
    job = queued(database, trials=400)
    with running_runner(database, FakeWork(database, pause_s=0.02), "first"):
        wait_for(database, job, JobState.RUNNING)
    row = Jobs(database).get(job.uid)
    assert row is not None
    assert (row.state, row.attempts) == (JobState.QUEUED, 0)
    with running_runner(database, FakeWork(database), "second"):
        wait_for(database, job, JobState.SUCCEEDED)
    assert len(latencies(database, job)) == 400


def test_a_long_job_keeps_its_lease(database: Database) -> None:
    job = queued(database, trials=16)
    with running_runner(database, FakeWork(database, pause_s=0.3), lease_s=0.4):
        wait_for(database, job, JobState.SUCCEEDED)
    row = Jobs(database).get(job.uid)
    assert row is not None
    assert row.attempts == 1


class Zombie(FakeWork):
    """Sleeps through its lease in the middle of a job, then tries to write `stale` more batches."""

    def __init__(self, database: Database, fenced: bool = True, stale: int = 5) -> None:
        super().__init__(database)
        self.asleep, self.wake = threading.Event(), threading.Event()
        self.fenced = fenced
        self.stale = stale
        self.refused = 0

    def run(self, request: TuneRequest, hooks: Hooks) -> FakeReport:
        commit = self.repository.commit_trials

        def sleepy(trials, guard=None):  # type: ignore[no-untyped-def]
            if trials[0].number == 0:
                commit(trials, guard)
                self.asleep.set()
                assert self.wake.wait(20)
                return
            for attempt in range(1, self.stale + 1):
                try:
                    stale = [replace(each, attempt=attempt) for each in trials]
                    commit(stale, guard if self.fenced else None)
                except LeaseLostError:
                    self.refused += 1

        self.repository.commit_trials = sleepy  # type: ignore[method-assign, assignment]  # what a stopped process does
        return super().run(request, Hooks(guard=hooks.guard, job=hooks.job))


def zombie_meets_heir(database: Database, zombie: Zombie) -> list[float | None]:
    job = queued(database, seed=1, trials=8)
    # A stopped process does not beat either: its heartbeat is far slower than its lease.
    dead = JobRunner(database, RunnerSettings("zombie", lease_s=0.2, heartbeat_s=60.0), zombie)
    thread = threading.Thread(target=dead.step)
    thread.start()
    assert zombie.asleep.wait(20)
    with running_runner(database, FakeWork(database), "heir"):
        wait_for(database, job, JobState.SUCCEEDED)
    zombie.wake.set()
    thread.join(20)
    assert state_of(database, job) is JobState.SUCCEEDED
    return latencies(database, job)


def test_a_zombie_writes_nothing(database: Database) -> None:
    zombie = Zombie(database, stale=200)
    assert zombie_meets_heir(database, zombie) == [latency_of(1, number) for number in range(8)]
    assert zombie.refused == 200


def test_without_the_fence_a_zombie_would_write(database: Database) -> None:
    """The test above means something: it fails when the guard is not asked."""
    zombie = Zombie(database, fenced=False)
    assert len(zombie_meets_heir(database, zombie)) > 8
    assert zombie.refused == 0


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def run(self, request: TuneRequest, hooks: Hooks) -> WorkResult:
        raise self.error

    def files(self, request: TuneRequest, answer: WorkResult) -> Mapping[str, bytes]:
        return {}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ModelError("node 'a' has no input"), "node 'a' has no input"),
        (DeviceError("no workers"), "nothing could be measured: no workers"),
        (VerifyError("value y is 2"), "verification failed: value y is 2"),
        (ZeroDivisionError("inside"), "internal error"),
    ],
)
def test_a_failed_job_says_why(
    database: Database, error: Exception, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = queued(database)
    assert JobRunner(database, RunnerSettings("test"), Failing(error)).step()
    row = Jobs(database).get(job.uid)
    assert row is not None
    assert row.state is JobState.FAILED
    assert says in row.error
    assert ("inside" in caplog.text) is isinstance(error, ZeroDivisionError)


def test_an_outage_costs_no_job(database: Database) -> None:
    job = queued(database, trials=8)
    times = RunnerSettings("first", lease_s=0.3, heartbeat_s=0.1)
    assert JobRunner(database, times, Failing(DatabaseDownError("connection refused"))).step()
    assert state_of(database, job) is JobState.RUNNING
    with running_runner(database, FakeWork(database), "second"):
        wait_for(database, job, JobState.SUCCEEDED)


def test_a_lease_is_lost_by_our_clock_while_the_database_is_away() -> None:
    def away() -> bool:
        raise DatabaseDownError("away")

    now = [0.0]
    with Holding(away, lease_s=10.0, heartbeat_s=0.01, clock=lambda: now[0]) as holding:
        time.sleep(0.1)
        assert not holding.lost
        now[0] = 11.0
        until = time.monotonic() + 10
        while not holding.lost and time.monotonic() < until:
            time.sleep(0.01)
        assert holding.lost


def test_models_are_kept_in_parts(database: Database, tmp_path: Path) -> None:
    uploads = Uploads(database)
    content = bytes(range(256)) * 4096 * 3 + b"end"
    path = tmp_path / "large"
    path.write_bytes(content)
    with path.open("rb") as file:
        digest = uploads.put_file(file)
    assert uploads.size(digest) == len(content)
    assert [len(part) for part in uploads.parts(digest)] == [1 << 20, 1 << 20, 1 << 20, 3]
    assert uploads.get(digest) == content
    assert uploads.put(b"") == uploads.put(b"")
    assert uploads.get(uploads.put(b"")) == b""
