"""SQLite over files that fail: short writes, full disks and failed syncs, at the n-th call of a kind.

SQLite reaches files through a VFS, a table of functions. Here the library that Python uses gets a new default
one: it opens files as the old one does, and counts and spoils writes, syncs and truncations on their way.
Structures are those of sqlite3.h.
"""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

IOERR_WRITE, IOERR_FSYNC, IOERR_TRUNCATE, FULL = 10 | 3 << 8, 10 | 4 << 8, 10 | 6 << 8, 13
POINTER, INT, INT64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
OPEN = ctypes.CFUNCTYPE(INT, POINTER, POINTER, POINTER, INT, POINTER)  # a name has to outlive the call
WRITE = ctypes.CFUNCTYPE(INT, POINTER, POINTER, INT, INT64)
_KEPT: list[Any] = []
"""What SQLite may call or look at for as long as a file is open, which nobody can say from here."""
TRUNCATE = ctypes.CFUNCTYPE(INT, POINTER, INT64)
SYNC = ctypes.CFUNCTYPE(INT, POINTER, INT)


class Vfs(ctypes.Structure):
    """sqlite3_vfs, up to xOpen; the rest is copied as it is."""

    _fields_ = (
        ("version", INT),
        ("file_bytes", INT),
        ("longest_path", INT),
        ("next", POINTER),
        ("name", ctypes.c_char_p),
        ("data", POINTER),
        ("open", POINTER),
        ("rest", POINTER * 15),
    )


class Methods(ctypes.Structure):
    """sqlite3_io_methods of a file."""

    _fields_ = (
        ("version", INT),
        ("close", POINTER),
        ("read", POINTER),
        ("write", POINTER),
        ("truncate", POINTER),
        ("sync", POINTER),
        ("rest", POINTER * 13),
    )


class Fault(Enum):
    """What goes wrong, of which kind of call."""

    SHORT_WRITE = "half of a write arrives"
    FULL_DISK = "no write arrives"
    FAILED_SYNC = "a sync fails"


@dataclass
class Plan:
    """Spoils the calls of a kind from number `at` on, `count` of them; counts what came."""

    fault: Fault | None = None
    at: int = 0
    count: int = 1
    writes: int = 0
    syncs: int = 0
    spoiled: int = 0

    def spoils(self, fault: Fault, number: int) -> bool:
        if fault is self.fault and self.at <= number < self.at + self.count:
            self.spoiled += 1
            return True
        return False


def library() -> ctypes.CDLL | None:
    """The SQLite that Python's sqlite3 uses; None where it is part of the interpreter."""
    import sqlite3

    sqlite3.connect(":memory:").close()
    maps = Path("/proc/self/maps")
    found = re.search(r"/\S*libsqlite3\S*", maps.read_text()) if maps.exists() else None
    return ctypes.CDLL(found[0]) if found else None


@contextmanager
def spoiling(sqlite: ctypes.CDLL, plan: Plan) -> Iterator[None]:
    """Files opened in the block fail as planned, for as long as they are open."""
    sqlite.sqlite3_vfs_find.restype = ctypes.POINTER(Vfs)
    old = sqlite.sqlite3_vfs_find(None)
    new = Vfs()
    ctypes.pointer(new)[0] = old.contents
    new.name = b"spoiling"
    tables: dict[int, Methods] = {}

    def open_spoiled(vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        code: int = OPEN(old.contents.open)(ctypes.addressof(old.contents), name, file, flags, out)
        place = ctypes.cast(file, ctypes.POINTER(ctypes.c_void_p))
        if place[0]:
            if place[0] not in tables:
                tables[place[0]] = _spoiled(Methods.from_address(place[0]), plan)
            place[0] = ctypes.addressof(tables[place[0]])
        return code

    callback = OPEN(open_spoiled)
    _KEPT.append((callback, new, tables))
    new.open = ctypes.cast(callback, POINTER)
    sqlite.sqlite3_vfs_register(ctypes.byref(new), 1)
    try:
        yield
    finally:
        sqlite.sqlite3_vfs_register(old, 1)
        sqlite.sqlite3_vfs_unregister(ctypes.byref(new))


def _spoiled(honest: Methods, plan: Plan) -> Methods:
    write, sync, truncate = WRITE(honest.write), SYNC(honest.sync), TRUNCATE(honest.truncate)

    def spoiled_write(file: int, data: int, size: int, offset: int) -> int:
        plan.writes += 1
        if plan.spoils(Fault.FULL_DISK, plan.writes):
            return FULL
        if plan.spoils(Fault.SHORT_WRITE, plan.writes):
            write(file, data, size // 2, offset)
            return IOERR_WRITE
        return int(write(file, data, size, offset))

    def spoiled_sync(file: int, flags: int) -> int:
        plan.syncs += 1
        return IOERR_FSYNC if plan.spoils(Fault.FAILED_SYNC, plan.syncs) else int(sync(file, flags))

    def spoiled_truncate(file: int, size: int) -> int:
        return int(truncate(file, size))

    table = Methods()
    ctypes.pointer(table)[0] = honest
    callbacks = WRITE(spoiled_write), SYNC(spoiled_sync), TRUNCATE(spoiled_truncate)
    _KEPT.append((callbacks, table))
    table.write, table.sync, table.truncate = (ctypes.cast(each, POINTER) for each in callbacks)
    return table
