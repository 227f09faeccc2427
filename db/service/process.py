"""Which process this is, whether another one is still there, and how much memory either may use."""

import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


def this_process() -> str:
    """This process for people, and in brackets an identity that is unique over hosts: see `is_gone`."""
    return f"process {os.getpid()} on {socket.gethostname()} [{_place()} {_born(os.getpid())}]"


def is_gone(process: str) -> bool:
    """Whether what `this_process` named has ended for sure; never of a process elsewhere, which may live.

    Elsewhere is another host, another boot of this one, or another namespace of process ids (a container).
    """
    try:
        words = process.split()
        number, place, born = int(words[1]), words[-2].removeprefix("["), words[-1].removesuffix("]")
    except (IndexError, ValueError):
        return False
    return place == _place() != "" and _born(number) != born


def memory_bytes() -> int:
    """The memory of this machine, or of the container that this process is in where that has less."""
    bounds = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError):
        bounds.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(bounds)


@cache
def _place() -> str:
    """This boot of this host and this namespace of process ids; empty where the system lacks one."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _born(number: int) -> str:
    """When the process of that number started, in ticks since the boot; empty when there is none."""
    try:
        fields = (_PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
