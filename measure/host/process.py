"""The parent's end of a child that runs kernels: requests with deadlines, crashes and hangs as errors."""

import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import DeviceError

CHILD = Path(__file__).with_name("child.py")


class ChildDiedError(Exception):
    """The child is gone: it crashed on what it was asked. The reason names the signal."""


class ChildHungError(Exception):
    """The child did not answer in time, and was killed."""


def runner(core: int = -1) -> "HostProcess":
    """A child that runs kernels, pinned to a core (-1: to none)."""
    return HostProcess((sys.executable, "-I", "-S", str(CHILD), str(core)))


class HostProcess:
    """A child that answers requests, started when it is first asked, and again after it died."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._child: subprocess.Popen[bytes] | None = None
        self.births = 0
        """How often a child was started; what it held before is gone when this has changed."""

    def ask(self, what: dict[str, Any], data: bytes = b"", deadline_s: float = 30.0) -> Any:
        """The answer to a request: what it says, with the bytes it carries under "data".

        ChildDiedError and ChildHungError leave no child behind; DeviceError where none can be had.
        """
        child = self._child or self._start()
        request = json.dumps(what | {"bytes": len(data)} if data or "size" in what else what).encode()
        assert child.stdin is not None, "made with pipes"
        end = time.monotonic() + deadline_s
        try:
            child.stdin.write(struct.pack("<I", len(request)) + request + data)
            child.stdin.flush()
            answer = json.loads(self._exactly(struct.unpack("<I", self._exactly(4, end))[0], end))
            if "bytes" in answer:
                answer["data"] = self._exactly(answer["bytes"], end)
        except BrokenPipeError:
            raise self._died() from None
        if "error" in answer:
            raise DeviceError(f"a child process of the host cannot go on: {answer['error']}")
        return answer

    def _start(self) -> "subprocess.Popen[bytes]":
        try:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise DeviceError(f"no child process can be started here: {error}") from None
        self.births += 1
        return self._child

    def _exactly(self, count: int, end: float) -> bytes:
        child = self._child
        assert child is not None, "asked of a child"
        assert child.stdout is not None, "made with pipes"
        pipe = child.stdout.fileno()
        data = bytearray()
        while len(data) < count:
            ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                self.close()
                raise ChildHungError
            part = os.read(pipe, min(1 << 20, count - len(data)))
            if not part:
                raise self._died()
            data += part
        return bytes(data)

    def _died(self) -> ChildDiedError:
        child = self._child
        assert child is not None, "asked of a child"
        child.kill()
        code = child.wait()
        self.close()
        named = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ChildDiedError(f"its process ended: {named}")

    def close(self) -> None:
        """End the child, whatever it is doing. Idempotent."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        continue
