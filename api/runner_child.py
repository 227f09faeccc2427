"""A runner as a process: under `tune serve`, which it must not outlive, or on its own."""

import os
import secrets
import signal
import socket
import sys
import threading

from api.logs import write_json_lines
from api.metrics import RunnerMetrics
from api.settings import Settings, load_settings
from db.session import open_database
from tuner.runner import Runner, RunnerSettings
from tuner.work import Tuning


def run_runner(settings: Settings, name: str | None = None, watch_parent: bool = False) -> int:
    """Works on jobs until SIGINT or SIGTERM, or until standard input ends where `watch_parent`."""
    write_json_lines(settings.log_level)
    name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    database = open_database(settings.database)
    times = RunnerSettings(name, settings.lease_s, settings.lease_s / 4)
    work = Tuning(settings.database, settings.workers, settings.ray)
    runner = Runner(database, times, work, RunnerMetrics())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: runner.stop())
    if watch_parent:
        threading.Thread(target=_stop_at_end_of_input, args=(runner,), daemon=True).start()
    try:
        runner.serve()
    finally:
        database.close()
    return 0


def _stop_at_end_of_input(runner: Runner) -> None:
    while os.read(0, 1024):
        pass
    runner.stop()


if __name__ == "__main__":
    sys.exit(run_runner(load_settings(os.environ), watch_parent=True))
