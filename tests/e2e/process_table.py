"""The table of processes in /proc: descendants, their time on the processor, and who was started by whom."""

import os
from contextlib import suppress
from pathlib import Path

TABLE = Path("/proc")


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for directory in TABLE.glob("[0-9]*"):
        if fields := _fields(int(directory.name)):
            children.setdefault(int(fields[1]), []).append(int(directory.name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, []))
    return found


def spent_s(pid: int) -> float:
    """Seconds that a process and its descendants, those that it has waited for too, had the processor."""
    ticks = (map(int, fields[11:15]) for each in family(pid) if (fields := _fields(each)))
    return sum(map(sum, ticks)) / os.sysconf("SC_CLK_TCK")


def started_with(mark: bytes) -> list[int]:
    """Processes in whose environment `mark` stands."""
    found = []
    for directory in TABLE.glob("[0-9]*"):
        with suppress(OSError):  # gone, or not ours
            if mark in (directory / "environ").read_bytes().split(b"\0"):
                found.append(int(directory.name))
    return found


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat from the state on, as in proc(5): that, the parent, ..., times from the 11th on."""
    with suppress(OSError):
        return (TABLE / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []
