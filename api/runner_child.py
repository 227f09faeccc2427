"""A runner as a process: under `tune serve`, which it must not outlive, or on its own."""

import os
import secrets
import signal
import socket
import sys
import threading

from tilewright.api.observability.logs import write_json_lines
from tilewright.api.observability.metrics import RunnerMetrics
from tilewright.api.settings import Settings, load_settings
from tilewright.compiler_core.target_model.file import load_target
from tilewright.db.storage.session import open_database
from tilewright.measure.host.file import ensure_host
from tilewright.tuner.jobs.request import name_of
from tilewright.tuner.jobs.runner import JobRunner, RunnerSettings
from tilewright.tuner.jobs.work import Tuning
from tilewright.tuner.request import PoolChoice


def run_runner(
    settings: Settings, name: str | None = None, watch_parent: bool = False, host: bool = False
) -> int:
    """Works on jobs until SIGINT or SIGTERM, or until standard input ends where `watch_parent`.

    With `host` jobs for this kind of CPU are taken too, and measured on one core of it.
    """
    write_json_lines(settings.log_level)
    name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    database = open_database(settings.database)
    if not watch_parent:  # the server has looked
        database.require_sound()
    offered = name_of(load_target(ensure_host())) if host else ""
    times = RunnerSettings(name, settings.lease_s, settings.lease_s / 4, offered=offered)
    work = Tuning(settings.database, PoolChoice(settings.workers, settings.ray), offered)
    runner = JobRunner(database, times, work, RunnerMetrics())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: runner.stop())
    if watch_parent:
        threading.Thread(target=_stop_at_end_of_input, args=(runner,), daemon=True).start()
    try:
        runner.serve()
    finally:
        database.close()
    return 0


def _stop_at_end_of_input(runner: JobRunner) -> None:
    while os.read(0, 1024):
        pass
    runner.stop()


if __name__ == "__main__":
    sys.exit(run_runner(load_settings(os.environ), watch_parent=True))
