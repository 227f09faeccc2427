"""The parent's end of a child that runs kernels: requests with deadlines, crashes and hangs as errors."""

import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import DeviceError

CHILD = Path(__file__).with_name("child.py")


class ChildDiedError(Exception):
    """The child is gone: it crashed on a request. The reason names the signal."""


class ChildHungError(Exception):
    """The child did not answer in time, and was killed."""


def runner(core: int = -1, file: int = -1) -> "HostProcess":
    """A child that runs kernels, pinned to a core (-1: to none), and may keep buffers in an open file."""
    command = (sys.executable, "-I", "-S", str(CHILD), str(core), str(file))
    return HostProcess(command, () if file < 0 else (file,))


class SharedBuffers:
    """A file in memory that a child maps too: numbers go to and fro without being sent."""

    def __init__(self) -> None:
        self._open = tempfile.TemporaryFile() if not hasattr(os, "memfd_create") else None  # noqa: SIM115
        self.file = self._open.fileno() if self._open else os.memfd_create("buffers")
        self._end = 0

    def clear(self) -> None:
        """Forget all buffers; nobody may read them any more."""
        self._end = 0

    def take(self, size: int) -> tuple[int, memoryview]:
        """Room for a buffer as the child lays it out: where it begins in the file, and its `size` bytes."""
        room = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE + 2 * mmap.PAGESIZE
        at, self._end = self._end, self._end + room
        if os.fstat(self.file).st_size < self._end:
            os.ftruncate(self.file, self._end)
        start = room - mmap.PAGESIZE - -(-max(size, 1) // 64) * 64
        return at, memoryview(mmap.mmap(self.file, room, offset=at))[start : start + size]

    def close(self) -> None:
        """Give the memory back."""
        if self._open is None:
            os.close(self.file)
        else:
            self._open.close()


class HostProcess:
    """A child that answers requests, started when it is first asked, and again after it died."""

    def __init__(self, command: Sequence[str], files: Sequence[int] = ()) -> None:
        self._command = tuple(command)
        self._files = tuple(files)
        self._child: subprocess.Popen[bytes] | None = None
        self.births = 0
        """How often a child was started; after a change its buffers are gone."""

    @property
    def pid(self) -> int:
        """The child's process; 0 without one."""
        return 0 if self._child is None else self._child.pid

    def ask(self, what: dict[str, Any], data: bytes = b"", deadline_s: float = 30.0) -> Any:
        """The answer to a request: its fields, and its bytes under "data".

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
                pass_fds=self._files,
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
        """End the child at any point of its work. Idempotent."""
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
