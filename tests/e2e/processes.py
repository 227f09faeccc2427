"""Servers and runners as processes of their own, to be killed, stopped and started again.

    python -m tests.e2e.processes server URL PORT
    python -m tests.e2e.processes runner URL [CRASH_POINT]

The runner does the fake work of tests/api, so that what is tested is the service and not the search.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
LEASE_S = 1.2
CRASH_POINTS = (
    "before-first-commit",
    "after-commit",
    "before-event",
    "before-files",
    "before-finish",
    "after-finish",
)


def start(*arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.e2e.processes", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@contextmanager
def process(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    child = start(*arguments)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_ready(port: int, within_s: float = 30.0) -> None:
    until = time.monotonic() + within_s
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < until, "the server does not come up"
        time.sleep(0.05)


def _server(url: str, port: str) -> None:
    from tilewright.api.app import create_app
    from tilewright.api.serve import Server, listen
    from tilewright.api.settings import Settings

    settings = Settings(
        database=url, port=int(port), rate_per_s=1e6, rate_burst=10**6, max_uploads=128, max_uploads_each=128
    )
    Server(create_app(settings), settings).run([listen(settings)])


def _runner(url: str, crash_point: str = "") -> None:
    from tests.api.fake_work import FakeWork
    from tilewright.db.storage.session import open_database
    from tilewright.tuner.jobs.runner import JobRunner, RunnerSettings

    database = open_database(url)
    work = FakeWork(database, pause_s=0.05)
    runner = JobRunner(database, RunnerSettings(str(os.getpid()), LEASE_S, LEASE_S / 4, 0.1), work)
    if crash_point:
        _crash_at(crash_point, work, runner)
    signal.signal(signal.SIGTERM, lambda *_: runner.stop())
    runner.serve()


def _crash_at(point: str, work: Any, runner: Any) -> None:
    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    commit, finish = work.repository.commit_trials, runner.jobs.finish

    def commit_then_die(*given: Any) -> None:
        commit(*given)
        die()

    def finish_then_die(*given: Any) -> None:
        finish(*given)
        die()

    match point:
        case "before-first-commit":
            work.repository.commit_trials = die
        case "after-commit":
            work.repository.commit_trials = commit_then_die
        case "before-event":
            runner.jobs.add_event = die
        case "before-files":
            work.files = die
        case "before-finish":
            runner.jobs.finish = die
        case "after-finish":
            runner.jobs.finish = finish_then_die
        case _:
            raise ValueError(point)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        _server(*sys.argv[2:])
    else:
        _runner(*sys.argv[2:])
