"""Reads uploaded files and texts, each in a confined process.

    python -m tilewright.api.sandbox.reader MEMORY_MB SECONDS

waits for questions on standard input, one a line of JSON, and answers each with one line of JSON: what the
file is, why it is none, or how its reader ended. A fork of this process reads the file; this process has
loaded the code before, and never opens a file itself. The fork is confined (confine.py): even if the file
takes the fork over, the service gets one line of bounded length.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tilewright.api.sandbox.confine import confine, hide_memory
from tilewright.api.sandbox.questions import answer, bounded

LONGEST_ANSWER = 1 << 16


def answer_apart(question: Mapping[str, Any], memory_mb: int, seconds: int) -> dict[str, Any]:
    """The answer of a fork; `{"ended": "slow"}` or `{"ended": "died"}` where it gives no proper one."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _answer_through(theirs, question, memory_mb, seconds)
    os.close(theirs)
    try:
        text = _until_end(ours, time.monotonic() + seconds)
    finally:
        os.close(ours)
        _end(child)
    if text is None:
        return {"ended": "slow"}
    try:
        return bounded(json.loads(text))
    except (ValueError, RecursionError):
        return {"ended": "died"}


def _answer_through(pipe: int, question: Mapping[str, Any], memory_mb: int, seconds: int) -> None:
    """The life of the fork; it shares no channel with anybody but this pipe."""
    try:
        path = question.get("path")
        confine(memory_mb, seconds, pipe, [Path(path).parent] if isinstance(path, str) else [])
        said = json.dumps(answer(question)).encode()
        while said:
            said = said[os.write(pipe, said) :]
    finally:
        os._exit(0)


def _end(child: int) -> None:
    """Kills the fork with all that it may have started, and waits for it."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it has not made a group of its own yet, or is gone
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _until_end(pipe: int, until: float) -> bytes | None:
    """Everything that comes until the other side closes; None when that takes too long or is too much."""
    taken = bytearray()
    while len(taken) <= LONGEST_ANSWER:
        ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return None
        part = os.read(pipe, 1 << 16)
        if not part:
            return bytes(taken)
        taken += part
    return None


def load_code() -> None:
    """Imports all modules that an answer may need: a confined fork can read no file, modules included."""
    import tilewright.api.schemas.jobs
    import tilewright.compiler_core.onnx_import.importer  # noqa: F401 - every fork starts with both loaded


def main(memory_mb: int, seconds: int) -> None:
    """Import the code first; then answer until standard input ends."""
    load_code()
    hide_memory()
    while line := sys.stdin.readline():
        print(json.dumps(answer_apart(json.loads(line), memory_mb, seconds)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
