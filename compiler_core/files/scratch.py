"""Folders for a while: gone with the block, and where a process was killed, with the next one that needs one.

A folder is locked by the process that uses it. The system lets go of the lock when that process ends, however
it ends; a folder that no process holds is removed when the next one of its kind is made.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


@contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """A folder of our own below the system's one for temporary files, named after its `kind`."""
    sweep(kind)
    folder, lock = _locked(kind)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@cache
def sweep(kind: str) -> None:
    """Removes what killed processes of this user left, once a process."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix(kind)}*"):
        try:
            lock = _opened(folder)
        except OSError:  # somebody else's, no folder, or gone already
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:  # in use
            pass
        finally:
            os.close(lock)


def _locked(kind: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(kind)))
        try:
            lock = _opened(folder)
        except FileNotFoundError:  # a sweeper came before the lock
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _prefix(kind: str) -> str:
    return f"tilewright-{kind}."
