"""Work in a process of its own, with limits: foreign code on foreign data may crash, or use up the memory.

The work runs in a fork and sends lines of JSON; no array and no object crosses. In every case the caller gets
the lines sent so far, and one line about the end.
"""

import faulthandler
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

from tilewright.compiler_core.errors import ModelError

STEP_CPU_S = 120
"""Processor time between two lines that are sent."""
STEP_WALL_S = 1200
"""The same of real time: a machine may be busy, but a process that waits for ever is lost."""
MOST_BYTES, LEAST_BYTES = 8 << 30, 1 << 30
"""Limit on the memory of the work, unless less is free."""
SHARE_OF_FREE = 0.7
_DONE, _RAISED = "done", "raised"
_CHUNK = 1 << 16

Send = Callable[[dict[str, Any]], None]


class LostError(ModelError):
    """The work crashed, or met a limit; the message names it."""


def apart(work: Callable[[Send], None]) -> Generator[dict[str, Any], None, None]:
    """The lines of `work`, as it sends them. LostError where it crashes or meets a limit. Its other
    exceptions are raised here: a ModelError as such, anything else as a RuntimeError.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _run(work, write)
    os.close(write)
    status: int | None = None
    try:
        for line in _lines(read):
            message = json.loads(line)
            if _RAISED in message:
                raise _raised(*message[_RAISED])
            if _DONE in message:
                return
            yield message
        status = os.waitpid(child, 0)[1]
        raise LostError(_how_it_ended(status))
    finally:
        os.close(read)
        if status is None:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _run(work: Callable[[Send], None], write: int) -> None:
    """The child: never returns."""

    def send(what: dict[str, Any]) -> None:
        text = json.dumps(what).encode() + b"\n"
        while text:
            text = text[os.write(write, text) :]
        _allow_more_time()

    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        faulthandler.disable()
        for stream in (0, 1, 2):  # an abort's last words are not for the user
            os.dup2(nowhere, stream)
        _limit_memory()
        _allow_more_time()
        try:
            work(send)
            send({_DONE: True})
        except MemoryError:
            send({_RAISED: ["MemoryError", ""]})
        except Exception as error:  # noqa: BLE001 - it is raised again on the other side
            send({_RAISED: [type(error).__name__ if isinstance(error, ModelError) else "", str(error)]})
    finally:
        os._exit(0)


def _lines(read: int) -> Iterator[bytes]:
    """Lines from a pipe until it ends; LostError where none comes in time."""
    rest = b""
    while True:
        *lines, rest = rest.split(b"\n")
        yield from lines
        if not select.select([read], [], [], STEP_WALL_S)[0]:
            raise LostError(f"took more than {STEP_WALL_S} s")
        chunk = os.read(read, _CHUNK)
        if not chunk:
            return
        rest += chunk


def _raised(kind: str, text: str) -> Exception:
    if kind == "MemoryError":
        return LostError("ran out of memory")
    return ModelError(text) if kind else RuntimeError(text)


def _how_it_ended(status: int) -> str:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGXCPU:
        return f"took more than {STEP_CPU_S} s of processor time"
    if number == signal.SIGKILL:
        return "was killed, most likely for lack of memory"
    return f"crashed ({signal.Signals(number).name})" if number else "ended without a word"


def _allow_more_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + STEP_CPU_S
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until if most < 0 else min(until, most), most))


def _limit_memory() -> None:
    """At most so many bytes more than the parent has; only Linux counts what is allocated."""
    if sys.platform != "linux":
        return
    free = _kilobytes("/proc/meminfo", "MemAvailable:") << 10
    held = _kilobytes("/proc/self/status", "VmData:") << 10
    budget = max(LEAST_BYTES, min(MOST_BYTES, int(SHARE_OF_FREE * free)))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + budget if most < 0 else min(held + budget, most), most))


def _kilobytes(file: str, name: str) -> int:
    with open(file, encoding="ascii") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
