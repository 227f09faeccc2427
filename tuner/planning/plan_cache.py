"""Guesses and plans of earlier runs in a file: what was planned before is not planned again.

    ~/.cache/tilewright/plans-1.sqlite     TILEWRIGHT_PLANS names another file, or none with "none"

An entry is kept under a digest of everything that it follows from: the kernel or network, the target, the
options, and the code that made it. So it never answers for another question, and one that is gone is made
again. Each entry is written whole, with a checksum; several processes may write at once.
"""

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

import tilewright.compiler_core
import tilewright.cost_model
import tilewright.search_space
import tilewright.tuner.kernel
import tilewright.tuner.planning
from tilewright.compiler_core.digest import Json, digest_of

FORMAT = 1
VARIABLE = "TILEWRIGHT_PLANS"
MOST_GUESSES, MOST_PLANS = 100_000, 256
"""Entries that are kept, the last written: some 30 MB of kernels, 10 KB a network of a hundred kernels."""
WAIT_S = 2.0
GUESSES, PLANS = "guesses", "plans"
_MOST = {GUESSES: MOST_GUESSES, PLANS: MOST_PLANS}
_PLANNING = (
    tilewright.compiler_core,
    tilewright.cost_model,
    tilewright.search_space,
    tilewright.tuner.kernel,
    tilewright.tuner.planning,
)


def cache_path() -> Path | None:
    """The file of this user; None where none is wanted."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return None if named in ("", "none") else Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "tilewright" / f"plans-{FORMAT}.sqlite"


@cache
def code_state() -> str:
    """A digest of the code that plans: the files of its packages by name, size and time, and numpy's version,
    whose random numbers a guess begins with.
    """
    states = []
    for package in _PLANNING:
        folder = Path(package.__file__ or "").parent
        for path in sorted(folder.resolve().rglob("*.py")):
            found = path.stat()
            states.append((str(path.relative_to(folder.resolve())), found.st_size, found.st_mtime_ns))
    return hashlib.sha256(repr((FORMAT, np.__version__, states)).encode()).hexdigest()


class PlanCache:
    """Entries of one file. What is `put` is written by `flush`, all at once.

    A file that cannot be opened or written counts as empty; of one that is damaged `say` gets a line, and it
    is not used.
    """

    def __init__(self, path: Path | None, say: Callable[[str], None] = lambda line: None) -> None:
        self._path = path
        self._say = say
        self._fresh: dict[str, dict[str, Json]] = {GUESSES: {}, PLANS: {}}
        self._opened: sqlite3.Connection | None = None

    def get(self, table: str, about: Json) -> Json:
        """The entry about something; None where there is none."""
        key = _key(about)
        if key in self._fresh[table]:
            return self._fresh[table][key]
        file = self._file()
        if file is None:
            return None
        try:
            row = file.execute(f"SELECT body FROM {table} WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return None if row is None else _unpacked(key, row[0])

    def put(self, table: str, about: Json, entry: Json) -> None:
        """Keep an entry."""
        if self._path is not None:
            self._fresh[table][_key(about)] = entry

    def flush(self) -> None:
        """Write what is new, and let the oldest go."""
        file = self._file() if any(self._fresh.values()) else None
        if file is not None:
            try:
                with file:
                    self._write(file)
            except sqlite3.Error as error:
                self._give_up(error)
        for entries in self._fresh.values():
            entries.clear()

    def _write(self, file: sqlite3.Connection) -> None:
        file.execute("BEGIN IMMEDIATE")
        for table, entries in self._fresh.items():
            rows = [(key, _packed(key, entry)) for key, entry in entries.items()]
            file.executemany(f"INSERT OR REPLACE INTO {table} (key, body) VALUES (?, ?)", rows)
            oldest = f"(SELECT max(rowid) FROM {table}) - {_MOST[table]}"
            file.execute(f"DELETE FROM {table} WHERE rowid <= {oldest}")

    def close(self) -> None:
        """Write what is new, and let the file go."""
        self.flush()
        if self._opened is not None:
            self._opened.close()
        self._path, self._opened = None, None

    def _file(self) -> sqlite3.Connection | None:
        """The open file; made where it is missing."""
        if self._opened is None and self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._opened = sqlite3.connect(
                    self._path, WAIT_S, isolation_level=None, check_same_thread=False
                )
                self._opened.execute("PRAGMA synchronous = OFF")
                for table in _MOST:
                    self._opened.execute(
                        f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, body BLOB NOT NULL)"
                    )
            except (OSError, sqlite3.Error) as error:
                self._give_up(error)
        return self._opened

    def _give_up(self, error: Exception) -> None:
        """Go on without the file. One that is busy or cannot be written is no fault of anybody."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._say(f"warning: the plans kept in {self._path} are damaged and not used; delete the file")
        if self._opened is not None:
            self._opened.close()
        self._path, self._opened = None, None


def _key(about: Json) -> str:
    return digest_of([about, code_state()])


def _checksum(key: str, packed: bytes) -> bytes:
    return hashlib.sha256(key.encode() + packed).digest()[:8]


def _packed(key: str, entry: Json) -> bytes:
    packed = zlib.compress(json.dumps(entry, separators=(",", ":")).encode(), 1)
    return _checksum(key, packed) + packed


def _unpacked(key: str, body: object) -> Json:
    """The entry of a row; None where it is not as it was written."""
    if not isinstance(body, bytes) or body[:8] != _checksum(key, body[8:]):
        return None
    entry: Json = json.loads(zlib.decompress(body[8:]))
    return entry
