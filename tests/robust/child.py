"""One `tune run` in a fork of this process: its exit code, what it said, what it took."""

import os
import resource
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_SECONDS, MOST_BYTES = 10.0, 1 << 30
"""Of processor time, and of memory, that any file may cost."""
STOPPED_S, STOPPED_BYTES = 40, 4 << 30
"""Where a run that got out of hand is ended, for the sake of the machine."""
TRACEBACK = 99


@dataclass(frozen=True)
class Ending:
    """How a run ended. `code` is that of the process: negative for a signal, TRACEBACK for a bug."""

    code: int
    said: str
    seconds: float
    peak_bytes: int

    @property
    def complaint(self) -> str:
        """What is wrong with it; empty for an answer, or one clear line."""
        if self.code == TRACEBACK or "Traceback" in self.said:
            return "traceback"
        if self.code not in (0, 1, 2, 3):
            return f"exit {self.code}"
        if self.code and not self.said.strip().splitlines()[-1:]:
            return "no word"
        if self.seconds > MOST_SECONDS:
            return f"{self.seconds:.1f} s"
        return f"{self.peak_bytes >> 20} MiB" if self.peak_bytes > MOST_BYTES else ""


def tune(arguments: Sequence[str], said: Path) -> Ending:
    """`tune` with these arguments, in a process of its own under limits; `said` takes what it says."""
    process = os.fork()
    if not process:
        _run(arguments, said)
    _, status, used = os.wait4(process, 0)
    text = said.read_text(errors="replace")
    seconds = used.ru_utime + used.ru_stime
    return Ending(os.waitstatus_to_exitcode(status), text, seconds, used.ru_maxrss * 1024)


def _run(arguments: Sequence[str], said: Path) -> None:
    code = TRACEBACK
    try:
        resource.setrlimit(resource.RLIMIT_AS, (STOPPED_BYTES, STOPPED_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (STOPPED_S, STOPPED_S))
        with said.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = file
            try:
                from tilewright.api.cli.main import main

                code = main(arguments)
            except BaseException:  # noqa: BLE001 - whatever it is, it is what this looks for
                traceback.print_exc()
            file.flush()
    finally:
        os._exit(code)


def warm() -> None:
    """Load what every run loads, before the first fork."""
    import onnx  # noqa: F401
    import optuna  # noqa: F401
    import xgboost  # noqa: F401

    import tilewright.api.cli.run
    import tilewright.measure.simulator.worker
    import tilewright.tuner.verbs.ranges  # noqa: F401
