"""A file of demand: sums of lookups by question, in SQLite, apart from the records and smaller than they are.

Demand is no record: nothing of it answers a lookup, it is merged by adding up, and losing it costs a list.
So it has a file of its own, which a service on PostgreSQL or a compiler with a read-only database has too.
"""

import json
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tilewright.compiler_core.errors import RecordError
from tilewright.db.demand.entries import Asked, Demandable, Demanded, Served

APPLICATION_ID, VERSION = 0x74776465, 1
MOST_ROWS = 500_000
"""Questions kept one by one; of more, those asked for least and longest ago are only counted."""
MOST_CONTEXTS = 4_096
MOST_SUBJECTS = 20_000
LONGEST_SUBJECT = 256 << 10
KEPT_SHARE = 0.9
LOOKS_EVERY = 64
"""Batches between two looks at the number of rows."""
_SCHEMA = (
    "CREATE TABLE context (id INTEGER PRIMARY KEY, target BLOB NOT NULL, toolchain TEXT NOT NULL,"
    " objective TEXT NOT NULL, served TEXT NOT NULL, UNIQUE (target, toolchain, objective, served))",
    "CREATE TABLE demand (workload BLOB NOT NULL, context INTEGER NOT NULL, count INTEGER NOT NULL,"
    " cost_us REAL NOT NULL, last_s INTEGER NOT NULL, PRIMARY KEY (workload, context)) WITHOUT ROWID",
    "CREATE TABLE subject (workload BLOB PRIMARY KEY, about BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE uncounted (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), count INTEGER NOT NULL)",
    "INSERT INTO uncounted VALUES (1, 0)",
)
_ADD = (
    "INSERT INTO demand VALUES (?, ?, ?, ?, ?) ON CONFLICT (workload, context) DO UPDATE SET"
    " count = count + excluded.count, cost_us = cost_us + excluded.cost_us,"
    " last_s = max(last_s, excluded.last_s)"
)


class DemandFile:
    """Sums of lookups. `add` is one transaction: what it took in when it returns is there after a power cut.

    Many processes may add to one file. RecordError, one line, where the file cannot be used.
    """

    def __init__(self, path: str | Path, read_only: bool = False) -> None:
        self.path = Path(path)
        self._contexts: dict[tuple[str, str, str, str], int] = {}
        self._subjects: set[str] = set()
        self._batches = 0
        with self._one_line():
            if read_only and not self.path.is_file():
                raise RecordError(
                    f"demand {self.path}: there is no such file; TILEWRIGHT_DEMAND names one to log to"
                )
            mode = "ro" if read_only else "rwc"
            self._open(f"{self.path.absolute().as_uri()}?mode={mode}", read_only)

    def _open(self, uri: str, read_only: bool) -> None:
        self._connection = sqlite3.connect(
            uri, uri=True, timeout=30.0, isolation_level=None, check_same_thread=False
        )
        tables = self._value("SELECT count(*) FROM sqlite_master")
        if tables and self._value("PRAGMA application_id") != APPLICATION_ID:
            raise RecordError(f"demand {self.path} is a file of something else; choose another path")
        if tables and self._value("PRAGMA user_version") != VERSION:
            raise RecordError(f"demand {self.path} was written by another version; choose another path")
        if not read_only:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            if not tables:
                self._create()

    def _create(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        if not self._value("SELECT count(*) FROM sqlite_master"):
            for statement in _SCHEMA:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
        self._connection.execute("COMMIT")

    def add(
        self,
        sums: Mapping[Asked, tuple[int, float]],
        subjects: Mapping[str, Demandable] | None = None,
        uncounted: int = 0,
    ) -> None:
        """Add counts and costs of questions, and what is known of their subjects; one transaction.

        `uncounted` are lookups that could not be logged one by one.
        """
        now = int(time.time())
        with self._writing():
            rows = []
            for asked, (count, cost_us) in sums.items():
                context = self._context(asked[1:])
                if context is None:
                    uncounted += count
                else:
                    rows.append((bytes.fromhex(asked[0]), context, count, cost_us, now))
            rows.sort()
            self._connection.executemany(_ADD, rows)
            for digest, about in (subjects or {}).items():
                self._put(digest, about)
            self._batches += 1
            if self._batches % LOOKS_EVERY == 0:
                uncounted += self._forget()
            if uncounted:
                self._connection.execute("UPDATE uncounted SET count = count + ?", (uncounted,))

    def _context(self, of: tuple[str, str, str, str]) -> int | None:
        if of not in self._contexts:
            if len(self._contexts) >= MOST_CONTEXTS:
                return None
            target, *rest = of
            values = bytes.fromhex(target), *rest
            self._connection.execute(
                "INSERT OR IGNORE INTO context (target, toolchain, objective, served) VALUES (?, ?, ?, ?)",
                values,
            )
            question = (
                "SELECT id FROM context WHERE target = ? AND toolchain = ? AND objective = ? AND served = ?"
            )
            self._contexts[of] = int(self._connection.execute(question, values).fetchone()[0])
        return self._contexts[of]

    def _put(self, digest: str, about: Demandable) -> None:
        text = zlib.compress(json.dumps(asdict(about)).encode())
        if digest in self._subjects or len(text) > LONGEST_SUBJECT:
            return
        if (
            len(self._subjects) < MOST_SUBJECTS
            and self._value("SELECT count(*) FROM subject") < MOST_SUBJECTS
        ):
            self._connection.execute(
                "INSERT OR REPLACE INTO subject VALUES (?, ?)", (bytes.fromhex(digest), text)
            )
            self._subjects.add(digest)

    def _forget(self) -> int:
        """Give up the questions asked for least where there are too many; how many lookups these were."""
        many = self._value("SELECT count(*) FROM demand") - MOST_ROWS
        if many <= 0:
            return 0
        many += int((1.0 - KEPT_SHARE) * MOST_ROWS)
        least = "SELECT workload, context FROM demand ORDER BY count, last_s LIMIT ?"
        question = f"SELECT sum(count) FROM demand WHERE (workload, context) IN ({least})"
        gone = int(self._connection.execute(question, (many,)).fetchone()[0] or 0)
        self._connection.execute(f"DELETE FROM demand WHERE (workload, context) IN ({least})", (many,))
        return gone

    def rows(self) -> Iterator[Demanded]:
        """Every question with its sum, the most asked first."""
        question = (
            "SELECT workload, target, toolchain, objective, served, count, cost_us, last_s"
            " FROM demand JOIN context ON context.id = demand.context ORDER BY count DESC, workload, context"
        )
        with self._one_line():
            for (
                workload,
                target,
                toolchain,
                objective,
                served,
                count,
                cost_us,
                last_s,
            ) in self._connection.execute(question):
                asked = Asked(workload.hex(), target.hex(), toolchain, objective, served)
                yield Demanded(asked, count, cost_us, last_s)

    def subject(self, digest: str) -> Demandable | None:
        """The known facts of a workload that was asked for."""
        with self._one_line():
            found = self._connection.execute(
                "SELECT about FROM subject WHERE workload = ?", (bytes.fromhex(digest),)
            ).fetchone()
        if found is None:
            return None
        try:
            about = json.loads(zlib.decompress(found[0]))
            return Demandable(**{**about, "dims": tuple((name, size) for name, size in about["dims"])})
        except (ValueError, TypeError, KeyError, zlib.error):
            raise RecordError(f"demand {self.path}: what it holds of {digest[:12]} is damaged") from None

    def totals(self) -> Mapping[str, int]:
        """Lookups by what they were served; `uncounted` are those that were not logged one by one."""
        question = (
            "SELECT served, sum(count) FROM demand JOIN context ON context.id = demand.context"
            " GROUP BY served"
        )
        with self._one_line():
            found = {served: int(count) for served, count in self._connection.execute(question)}
            uncounted = self._value("SELECT count FROM uncounted")
        return {**{str(each): found.get(each, 0) for each in Served}, "uncounted": uncounted}

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _value(self, question: str) -> int:
        return int(self._connection.execute(question).fetchone()[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._one_line():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._contexts.clear()
                self._connection.rollback()
                raise

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise RecordError(f"demand {self.path}: {' '.join(str(error).split())[:200]}") from None
