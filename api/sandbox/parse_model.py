"""Reads models that somebody sent, each in a process that has nothing to lose.

    python -m api.parse_model MEMORY_MB SECONDS

waits for paths on standard input, one a line, and answers each with one line of JSON: what the model is, why
it is none, or how its reader ended. What reads a file is a fork of this process, which has loaded the code
before and never touches a file itself. The fork has no network, no other programs, no files to write, and
limits on memory and time: whatever the file does to it, the service sees one line.
"""

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tilewright.api.sandbox.confine import forbid_network_and_programs

LONGEST_ANSWER = 1 << 20
PR_SET_PDEATHSIG = 1


def confine(memory_mb: int, seconds: int) -> None:
    """Give up memory, time, written files, network, signals and other programs, for good."""
    for kind, limit in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    forbid_network_and_programs()


def read(path: Path) -> dict[str, Any]:
    """What the model is, or why it is none."""
    from tilewright.compiler_core.errors import ModelError
    from tilewright.compiler_core.onnx_import.importer import import_model

    try:
        model = import_model(path)
    except ModelError as error:
        return {"error": str(error).replace(repr(str(path)), "the model")}
    return {"ops": len(model.graph.ops), "symbols": sorted(model.graph.symbols)}


def read_apart(path: Path, memory_mb: int, seconds: int) -> dict[str, Any]:
    """`read` in a fork; `{"ended": "slow"}` or `{"ended": "died"}` where it gives no answer."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _answer_through(theirs, path, memory_mb, seconds)
    os.close(theirs)
    try:
        text = _until_end(ours, time.monotonic() + seconds)
    finally:
        os.close(ours)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if text is None:
        return {"ended": "slow"}
    try:
        said = json.loads(text)
    except ValueError:
        return {"ended": "died"}
    return said if isinstance(said, dict) else {"ended": "died"}


def _answer_through(pipe: int, path: Path, memory_mb: int, seconds: int) -> None:
    """The life of the fork; it shares no channel with anybody but this pipe."""
    try:
        os.closerange(0, 2)
        confine(memory_mb, seconds)
        answer = json.dumps(read(path)).encode()
        while answer:
            answer = answer[os.write(pipe, answer) :]
    finally:
        os._exit(0)


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


def main(memory_mb: int, seconds: int) -> None:
    """Import the code first; then answer until standard input ends."""
    import tilewright.compiler_core.onnx_import.importer  # noqa: F401 - every fork starts with it loaded

    while line := sys.stdin.readline():
        print(json.dumps(read_apart(Path(json.loads(line)), memory_mb, seconds)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
