"""Ends the processes that a private Ray leaves behind, however its driver ended. Run as a file; standard
library only.

Ray's agents outlive a killed driver by a minute, and processes that a device started outlive their worker.
All of them inherit a mark in their environment. The driver holds the other end of this process's standard
input: when it closes, for any reason, every marked process is killed, and Ray's files are removed (the whole
private directory, too, if the driver sent no text before).
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "TILEWRIGHT_PRIVATE_RAY"
ROUNDS = 50  # a process may start another while it is being killed
ROUND_S = 0.1


def marked(mark: str) -> list[int]:
    """Processes other than this one whose environment holds `mark`, or which are Ray's with files there.

    Ray's processes write their title over their environment; what they start still inherits it.
    """
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit() or int(directory.name) == os.getpid():
            continue
        try:
            marks = f"{MARK}={mark}".encode() in (directory / "environ").read_bytes().split(b"\0")
            ours = marks or (
                (directory / "cmdline").read_bytes().startswith(b"ray::")
                and any(os.readlink(file).startswith(mark + "/") for file in (directory / "fd").iterdir())
            )
        except OSError:  # gone, or another user's
            continue
        if ours:
            found.append(int(directory.name))
    return found


def sweep(mark: str) -> None:
    """Kill every marked process, and return when none is left."""
    for _ in range(ROUNDS):
        processes = marked(mark)
        if not processes:
            return
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(ROUND_S)


if __name__ == "__main__":
    if os.fork():  # a driver that is terminated takes its children with it; this is none
        os._exit(0)
    private = Path(sys.argv[1])
    orderly = sys.stdin.read()
    sweep(str(private))
    shutil.rmtree(private / "ray" if orderly else private, ignore_errors=True)
