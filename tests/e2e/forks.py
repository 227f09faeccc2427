"""`tune` in processes that are forked from one that has loaded the code: a start costs milliseconds.

A fork is a process like any other: it can be killed, and what it held is gone. It must come from a process
of one thread that has no database open.
"""

import atexit
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path


def load() -> None:
    """Imports and compiles what a search needs, in this process, of one thread."""
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    import tilewright.api.cli.run
    import tilewright.api.cli.runner
    import tilewright.api.runner_child
    import tilewright.tuner.jobs.work
    import tilewright.tuner.verbs.ranges  # noqa: F401
    from tilewright.tuner.verbs.warm import warm

    warm()


class Fork:
    """One `tune` command in a session of its own, as much of subprocess.Popen as a killer needs."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        sys.stdout.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _become(arguments, environment, log)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """The same, once it has ended."""
        while self.poll() is None:
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """A signal, where it still lives."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _become(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    code = 1
    atexit._clear()  # what the parent leaves to its own end
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.environ.update(environment)
        import tempfile

        tempfile.tempdir = None  # the environment has another
        from tilewright.api.cli.main import main

        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter itself does
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)
