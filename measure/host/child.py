"""The process that runs kernels: pinned to a core, with only Python's standard library in it.

It is started by its file's path and talks over its standard input and output: a length, a JSON object, the
bytes that the object announces. It holds buffers between guard pages and images that are written first and
made executable then. A kernel that crashes or hangs takes this process with it, and nothing else. On Linux
the process has given up all system calls that it does not need.
"""

import ctypes
import importlib.util
import json
import mmap
import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = mmap.PAGESIZE
WARM_UPS = 2
PATIENCE = 3
CROWDED = 1.08
REMEMBERED = 256
BARE_TIMES, BARE_ROUNDS = 7, 16
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_REPEATED = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64
)


def _protect(address: int, size: int, how: int) -> None:
    if _LIBC.mprotect(address, size, how):
        raise OSError(ctypes.get_errno(), "mprotect")


class GuardedBuffer:
    """Bytes that end as near to a page nobody may touch as 64-byte alignment allows.

    They lie in `file` from byte `at` on, where the parent sees them too, or in memory of this process (-1).
    """

    def __init__(self, size: int, file: int = -1, at: int = 0) -> None:
        self.size = size
        room = -(-max(size, 1) // PAGE) * PAGE
        self.memory = mmap.mmap(file, room + 2 * PAGE, offset=at)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        _protect(first, PAGE, 0)
        _protect(first + PAGE + room, PAGE, 0)
        self.start = PAGE + room - -(-max(size, 1) // 64) * 64
        self.address = first + self.start

    def write(self, data: bytes) -> None:
        """Put bytes at the start."""
        self.memory[self.start : self.start + len(data)] = data

    def fill(self, byte: int) -> None:
        """The same byte everywhere."""
        self.write(bytes([byte]) * self.size)

    def read(self) -> bytes:
        """All bytes."""
        return self.memory[self.start : self.start + self.size]


class ImageRunner:
    """Buffers and images by name; a call is an image, its operands, its scratch and its tiles."""

    def __init__(self) -> None:
        self.buffers: dict[str, GuardedBuffer] = {}
        self.images: dict[str, tuple[mmap.mmap, Callable[..., None]]] = {}
        self.kept: list[Any] = []
        self.bursts: list[float] = []

    def image(self, name: str, entry: int, code: bytes) -> None:
        """Load an image whose function begins at `entry`."""
        if name not in self.images:
            size = -(-len(code) // PAGE) * PAGE
            memory = mmap.mmap(-1, size)
            memory.write(code)
            first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            _protect(first, size, mmap.PROT_READ | mmap.PROT_EXEC)
            self.images[name] = memory, _REPEATED(first + entry)

    def call(self, spec: dict[str, Any]) -> Callable[[int], None]:
        """A function of how often, which runs one kernel."""
        operands = [self.buffers[name].address + offset for name, offset in spec["operands"]]
        pointers = (ctypes.c_void_p * max(1, len(operands)))(*operands)
        self.kept.append(pointers)
        function = self.images[spec["image"]][1]
        at, scratch = ctypes.addressof(pointers), self.buffers[spec["scratch"]].address
        first, last = spec["tiles"]
        return lambda times: function(at, scratch, first, last, times)

    def bare_ns(self, asked: dict[str, Any]) -> float:
        """What calling the kernels of a network costs here, a round: the same calls, with no tiles to do."""
        bare = [self.call(spec | {"tiles": [0, 0]}) for spec in asked["calls"]]
        found = []
        for _ in range(WARM_UPS + BARE_TIMES):
            start = time.thread_time_ns()
            for _ in range(BARE_ROUNDS):
                for call in bare:
                    call(1)
            found.append((time.thread_time_ns() - start) / BARE_ROUNDS)
        return sorted(found[WARM_UPS:])[BARE_TIMES // 2]

    def measure(self, asked: dict[str, Any]) -> list[list[float]]:
        """[kernel, burst] in ns of thread time, a pair a sample, bursts taken before and after the kernel."""
        self.kept = []
        calls = [self.call(spec) for spec in asked["calls"]]
        burst, rounds = self.call(asked["burst"]), asked["burst_rounds"]
        # A kernel by itself is repeated in machine code; a library calls its kernels from there too.
        bare_ns = self.bare_ns(asked) if len(calls) > 1 else 0.0
        clock = time.thread_time_ns

        def work(times: int) -> None:
            if len(calls) == 1:
                calls[0](times)
                return
            for _ in range(times):
                for call in calls:
                    call(1)

        once = 0
        for _ in range(WARM_UPS):
            start = clock()
            work(1)
            once = clock() - start
        times = max(1, asked["sample_ns"] // max(once, 1))
        least = asked["least"] if once < asked["budget_ns"] else 1  # a kernel this slow needs no more samples
        samples: list[list[float]] = []
        crowded: list[list[float]] = []
        spent = 0
        before: int | None = None
        while len(samples) < least or (len(samples) < asked["most"] and spent < asked["budget_ns"]):
            if spent > PATIENCE * asked["budget_ns"] and len(samples) + len(crowded) >= least:
                break
            if before is None:
                start = clock()
                burst(rounds)
                before = clock() - start
            start = clock()
            work(times)
            middle = clock()
            burst(rounds)
            after = clock() - middle
            pair = [max(1.0, (middle - start) / times - bare_ns), (before + after) / 2]
            (samples if self.is_quiet(pair[1]) else crowded).append(pair)
            spent += middle - start + after
            before = after
        return samples if len(samples) >= least else samples + crowded

    def inside(self, asked: dict[str, Any]) -> list[list[float]]:
        """The median ns of thread time of every call, [jobs, calls]: jobs are run whole and in turns."""
        self.kept = []
        jobs = [[self.call(spec) for spec in calls] for calls in asked["jobs"]]
        times: list[list[list[int]]] = [[[] for _ in calls] for calls in jobs]
        clock = time.thread_time_ns
        begin = clock()
        for number in range(asked["rounds"]):
            for calls, own in zip(jobs, times, strict=True):
                for call in calls if not number else ():
                    call(1)
                before = clock()
                for call, found in zip(calls, own, strict=True):
                    call(1)
                    now = clock()
                    found.append(now - before)
                    before = now
            if number + 1 >= asked["least"] and clock() - begin > asked["budget_ns"]:
                break
        return [[float(sorted(found)[len(found) // 2]) for found in own] for own in times]

    def is_quiet(self, burst_ns: float) -> bool:
        """Whether a burst took about as long as bursts mostly do when the core is ours alone.

        A neighbour on the same core takes multiply-adds from the burst, and something else from the kernel:
        their ratio tells nothing then.
        """
        self.bursts = [*self.bursts[1 - REMEMBERED :], burst_ns]
        return burst_ns <= CROWDED * sorted(self.bursts)[len(self.bursts) // 4]


def _exactly(count: int) -> bytes:
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        sys.exit(0)
    return data


def _answer(runner: ImageRunner, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The answer to one request, and the bytes that go with it."""
    what = asked["what"]
    if what == "image":
        runner.image(asked["name"], asked["entry"], _exactly(asked["bytes"]))
    elif what == "buffer":
        file = int(sys.argv[2]) if "at" in asked else -1
        runner.buffers[asked["name"]] = GuardedBuffer(asked["size"], file, asked.get("at", 0))
        if asked["bytes"]:
            runner.buffers[asked["name"]].write(_exactly(asked["bytes"]))
    elif what == "fill":
        runner.buffers[asked["name"]].fill(asked["byte"])
    elif what == "forget":
        runner.buffers.clear()
    elif what == "run":
        runner.kept = []
        for spec in asked["calls"]:
            runner.call(spec)(1)
    elif what == "read":
        data = runner.buffers[asked["name"]].read()
        return {"bytes": len(data)}, data
    elif what == "inside":
        return {"ns": runner.inside(asked)}, b""
    elif what == "measure":
        return {"samples": runner.measure(asked)}, b""
    return {}, b""


def _give_up_calls() -> None:
    """From here on no system calls but those of seccomp.py: no kernel starts, sends or changes anything."""
    path = Path(__file__).with_name("seccomp.py")
    spec = importlib.util.spec_from_file_location("seccomp", path)
    assert spec is not None, "a file beside this one"
    assert spec.loader is not None, "a file beside this one"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.allow_calls()


def main() -> None:
    """Answer requests until the parent is gone."""
    core = int(sys.argv[1])
    if core >= 0:
        os.sched_setaffinity(0, {core})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.dup(1)
    os.dup2(2, 1)
    pipe = os.fdopen(out, "wb")
    _give_up_calls()
    runner = ImageRunner()
    while True:
        asked = json.loads(_exactly(struct.unpack("<I", _exactly(4))[0]))
        try:
            answer, data = _answer(runner, asked)
        except (OSError, KeyError, ValueError) as error:
            answer, data = {"error": f"{type(error).__name__}: {error}"}, b""
        text = json.dumps(answer).encode()
        pipe.write(struct.pack("<I", len(text)) + text + data)
        pipe.flush()


if __name__ == "__main__":
    main()
