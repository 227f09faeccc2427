"""Processes of the service are killed, stopped and cut off; no job is lost, doubled or changed by it.

Each figure has a short form here and a long one under `make campaign`.
"""

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.api.fake_work import latency_of
from tests.api.service import model_bytes
from tests.e2e.processes import CRASH_POINTS, LEASE_S, free_port, process, start, wait_until_ready
from tilewright.db.browse import Browse, Viewer, Wanted
from tilewright.db.service.job_rows import JobRow, JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import Database, open_database
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.request import TuneRequest

EVERYTHING = Viewer(None, operator=True)
RESUMES_S = 10.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "tuning.db")
    yield opened
    opened.close()


def queued(database: Database, seed: int, trials: int) -> JobRow:
    request = TuneRequest(Path("model.onnx"), "ascend910", seed=seed, trials=trials)
    return Jobs(database).submit("local", request_to_json(request), Uploads(database).put(model_bytes()))[0]


def job_of(database: Database, job: JobRow) -> JobRow:
    found = Jobs(database).get(job.uid)
    assert found is not None
    return found


def trials_of(database: Database, job: JobRow) -> list[float | None]:
    runs, _ = Browse(database).runs(EVERYTHING, job.uid)
    assert len(runs) == 1, "one run a job, however often it was cut off"
    rows, _ = Browse(database).records(EVERYTHING, Wanted(run=runs[0].uid), limit=500)
    return [row.row.trial.measurement.latency_us for row in rows][::-1]


def undisturbed(seed: int, trials: int) -> list[float]:
    return [latency_of(seed, number) for number in range(trials)]


def wait_for_end(database: Database, job: JobRow, within_s: float) -> JobRow:
    until = time.monotonic() + within_s
    while (now := job_of(database, job)).state not in (JobState.SUCCEEDED, JobState.FAILED):
        assert time.monotonic() < until, now
        time.sleep(0.05)
    return now


def crash_everywhere(database: Database, url: str, times: int) -> None:
    for seed in range(times):
        for number, point in enumerate(CRASH_POINTS):
            job = queued(database, 100 * seed + number, 12)
            with process("runner", url, point) as doomed:
                doomed.wait(30)
            with process("runner", url):
                ended = wait_for_end(database, job, LEASE_S + RESUMES_S)
            assert ended.state is JobState.SUCCEEDED, (point, ended.error)
            assert trials_of(database, job) == undisturbed(100 * seed + number, 12), point


def test_every_crash_point(database: Database, tmp_path: Path) -> None:
    crash_everywhere(database, str(tmp_path / "tuning.db"), times=1)


@pytest.mark.campaign
def test_every_crash_point_twenty_times(database: Database, tmp_path: Path) -> None:
    crash_everywhere(database, str(tmp_path / "tuning.db"), times=20)


@dataclass
class Service:
    """A server and a runner that come back a moment after they are killed."""

    url: str
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.server, self.runner = self.start_server(), self.start_runner()

    def start_server(self) -> "subprocess.Popen[bytes]":
        return start("server", self.url, str(self.port))

    def start_runner(self) -> "subprocess.Popen[bytes]":
        return start("runner", self.url)

    def kill(self, which: str) -> None:
        victim = self.server if which == "server" else self.runner
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        if which == "server":
            self.server = self.start_server()
        else:
            self.runner = self.start_runner()

    def end(self) -> None:
        for child in (self.server, self.runner):
            child.kill()
            child.wait()


@contextmanager
def service_at(url: str) -> Iterator[Service]:
    service = Service(url)
    try:
        wait_until_ready(service.port)
        yield service
    finally:
        service.end()


def kill_at_random(database: Database, url: str, kills: int, jobs: int, trials: int) -> None:
    chance = random.Random(kills)
    rows = [queued(database, seed, trials) for seed in range(jobs)]
    with service_at(url) as service:
        for _ in range(kills):
            time.sleep(chance.uniform(0.3, 2.0))
            service.kill(chance.choice(("server", "runner", "runner")))
        for row in rows:
            ended = wait_for_end(database, row, 120.0)
            assert ended.state is JobState.SUCCEEDED, ended.error
            assert trials_of(database, row) == undisturbed(job_seed(row), trials)
        wait_until_ready(service.port)


def job_seed(row: JobRow) -> int:
    from tilewright.tuner.jobs.request import read_request

    return read_request(row.spec).seed


def test_random_kills(database: Database, tmp_path: Path) -> None:
    kill_at_random(database, str(tmp_path / "tuning.db"), kills=4, jobs=3, trials=40)


@pytest.mark.campaign
def test_two_hundred_random_kills(database: Database, tmp_path: Path) -> None:
    kill_at_random(database, str(tmp_path / "tuning.db"), kills=200, jobs=50, trials=80)


def test_a_stopped_runner_wakes_up_to_nothing(database: Database, tmp_path: Path) -> None:
    url = str(tmp_path / "tuning.db")
    job = queued(database, 5, 60)
    with process("runner", url) as sleeper:
        while len(Browse(database).records(EVERYTHING, Wanted(), limit=1)[0]) == 0:
            time.sleep(0.02)
        sleeper.send_signal(signal.SIGSTOP)
        with process("runner", url):
            time.sleep(LEASE_S)
            sleeper.send_signal(signal.SIGCONT)
            ended = wait_for_end(database, job, LEASE_S + RESUMES_S)
    assert ended.state is JobState.SUCCEEDED
    assert trials_of(database, job) == undisturbed(5, 60)


def same_key_at_once(port: int, keys: int, sends: int) -> None:
    def send(key: int) -> tuple[int, str]:
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/jobs",
            files={"model": ("m.onnx", model_bytes())},
            data={"spec": f'{{"target":"ascend910","seed":{key}}}'},
            headers={"Idempotency-Key": f"key-{key}"},
            trust_env=False,
            timeout=120,
        )
        return answer.status_code, answer.json().get("id", "")

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(send, [key for key in range(keys) for _ in range(sends)]))
    statuses = [status for status, _ in answers]
    assert set(statuses) <= {200, 201}
    assert statuses.count(201) == keys
    assert len({job for _, job in answers}) == keys


def test_a_key_is_one_job_however_many_send_it_at_once(database: Database, tmp_path: Path) -> None:
    port = free_port()
    with process("server", str(tmp_path / "tuning.db"), str(port)):
        wait_until_ready(port)
        same_key_at_once(port, keys=5, sends=20)


@pytest.mark.campaign
def test_a_hundred_times_a_hundred_keys(database: Database, tmp_path: Path) -> None:
    port = free_port()
    with process("server", str(tmp_path / "tuning.db"), str(port)):
        wait_until_ready(port)
        same_key_at_once(port, keys=100, sends=100)
