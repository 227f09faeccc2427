"""Giving up, for good, everything that reading a file does not need.

A confined process computes and answers through one pipe. It has limits on memory and time, no capabilities,
and on Linux no system calls but those of seccomp.py and no files but those of landlock.py.
"""

import ctypes
import os
import resource
import signal
import site
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tilewright.api.sandbox import landlock
from tilewright.measure.host import seccomp

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
CAPABILITY_VERSION_3 = 0x20080522
MOST_FILES = 64


@dataclass(frozen=True)
class Confined:
    """Which walls stand: the filter of calls, the rules on files. Limits hold everywhere."""

    calls: bool
    files: bool


def confine(memory_mb: int, seconds: int, answer: int, readable: Iterable[Path] = ()) -> Confined:
    """Give up everything but `answer`, a file descriptor, and reading below `readable` and Python's folders.

    Where the kernel has Landlock, other files cannot be opened at all; where it has none they can be read,
    never changed. RuntimeError where this is Linux and the filter of calls cannot be set.
    """
    os.setsid()
    os.closerange(0, answer)
    os.closerange(answer + 1, 1 << 16)
    _limit(memory_mb, seconds)
    _drop_capabilities()
    files = landlock.read_only([*readable, *python_folders()])
    calls = seccomp.allow_calls()
    if sys.platform == "linux" and not calls:
        raise RuntimeError("the kernel takes no filter of system calls")
    return Confined(calls, files)


def hide_memory() -> None:
    """Nobody without privileges may trace this process, or read its memory and environment."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def python_folders() -> list[Path]:
    """The folders of the interpreter and the packages, for code that is loaded late."""
    paths = map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))
    names = {*paths, *site.getsitepackages()}
    ours = Path(__file__).resolve().parents[2]
    return [*map(Path, sorted(names)), Path(sys.base_prefix) / "lib", *(ours / name for name in PACKAGES)]


PACKAGES = ("api", "compiler_core", "cost_model", "db", "measure", "search_space", "tilewright", "tuner")


def _limit(memory_mb: int, seconds: int) -> None:
    for kind, limit in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, MOST_FILES),
    ):
        _, most = resource.getrlimit(kind)
        lowered = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(kind, (lowered, lowered))


def _drop_capabilities() -> None:
    """Root without capabilities is an ordinary user that owns many files."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    libc.capset(header, (ctypes.c_uint32 * 6)())
