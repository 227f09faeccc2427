"""Answers of a server, remembered in memory and in a file of the user's cache, misses included.

The file is a cache: where it cannot be written, or holds what it should not, nothing is remembered.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from tilewright.db.layers.layer import AnswerContext
from tilewright.db.layers.selectors import SelectorRow
from tilewright.db.layers.wire import RangeName, Relative, Told, told_of_text, told_to_json
from tilewright.db.records import Best

FORMAT = 1
MOST_REMEMBERED = 100_000
_BEST, _FAMILY, _RANGE = "best", "family", "range"
Place = tuple[str, str, str, str, str]


def cache_folder() -> Path:
    """The folder of this user's caches."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "tilewright"


class Remembered:
    """The earlier answers of one server, by question; `clock` gives seconds since 1970."""

    def __init__(
        self, server: str, folder: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._memory: dict[Place, tuple[float, Any]] = {}
        self._absent: set[Place] = set()
        self._file: sqlite3.Connection | None = None
        self._oldest_s: float | None = None
        name = f"layer-{FORMAT}-{sha256(server.encode()).hexdigest()[:16]}.db"
        try:
            path = (folder or cache_folder()) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # A lock that somebody else holds is not worth a wait.
            self._file = sqlite3.connect(path, timeout=0.02, check_same_thread=False)
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS said (kind TEXT, target TEXT, toolchain TEXT, objective TEXT,"
                " digest TEXT, at_s REAL, body TEXT,"
                " PRIMARY KEY (kind, target, toolchain, objective, digest)) WITHOUT ROWID"
            )
            with self._file:
                self._file.execute(
                    "DELETE FROM said WHERE at_s <"
                    " (SELECT at_s FROM said ORDER BY at_s DESC LIMIT 1 OFFSET ?)",
                    (MOST_REMEMBERED,),
                )
        except (OSError, sqlite3.Error):
            self._file = None

    @property
    def age_text(self) -> str:
        """The age of the oldest answer that was used: "; answers are up to 3 h old"."""
        if self._oldest_s is None:
            return ""
        hours = max(0.0, self._clock() - self._oldest_s) / 3600.0
        return f"; what it said up to {hours:.1f} h ago answers"

    def without_bests(self, workloads: Sequence[str], context: AnswerContext, fresh_s: float) -> list[str]:
        """The workloads that the server should be asked about: not answered within `fresh_s`."""
        return self._unknown(_BEST, workloads, context, fresh_s)

    def without_relatives(self, families: Sequence[str], context: AnswerContext, fresh_s: float) -> list[str]:
        """The same for families."""
        return self._unknown(_FAMILY, families, context, fresh_s)

    def bests(self, workloads: Iterable[str], context: AnswerContext) -> dict[str, Best]:
        """Those that are remembered, however old."""
        found = ((digest, self._memory.get(_place(_BEST, context, digest))) for digest in workloads)
        return {digest: said[1] for digest, said in found if said is not None and said[1] is not None}

    def relatives(self, families: Iterable[str], context: AnswerContext) -> dict[str, Sequence[Relative]]:
        """Those that are remembered, however old."""
        found = ((digest, self._memory.get(_place(_FAMILY, context, digest))) for digest in families)
        return {digest: said[1] for digest, said in found if said is not None and said[1]}

    def keep_bests(self, asked: Sequence[str], bests: Mapping[str, Best], context: AnswerContext) -> None:
        """The server's answer about all that was `asked`: what it did not name it does not know."""
        bodies = {
            digest: None if digest not in bests else Told({digest: bests[digest]}, {}) for digest in asked
        }
        self._keep(_BEST, {digest: bests.get(digest) for digest in asked}, bodies, context)

    def keep_relatives(
        self, asked: Sequence[str], relatives: Mapping[str, Sequence[Relative]], context: AnswerContext
    ) -> None:
        """The same for families."""
        bodies = {
            digest: Told({}, {digest: relatives[digest]}) if relatives.get(digest) else None
            for digest in asked
        }
        self._keep(_FAMILY, {digest: relatives.get(digest, ()) for digest in asked}, bodies, context)

    def without_ranges(self, ranges: Sequence[RangeName], context: AnswerContext, fresh_s: float) -> bool:
        """Whether the server should be asked about any of these ranges."""
        return bool(self._unknown(_RANGE, list(map(_named, ranges)), context, fresh_s))

    def range_of(self, name: RangeName, context: AnswerContext) -> Sequence[SelectorRow]:
        """The intervals that are remembered, however old."""
        said = self._memory.get(_place(_RANGE, context, _named(name)))
        found: Sequence[SelectorRow] = () if said is None else said[1] or ()
        return found

    def keep_range(self, name: RangeName, rows: Sequence[SelectorRow], context: AnswerContext) -> None:
        """The server's answer about one range, perhaps that it has none."""
        body = Told({}, {}, {name: rows}) if rows else None
        self._keep(_RANGE, {_named(name): rows}, {_named(name): body}, context)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _unknown(
        self, kind: str, digests: Sequence[str], context: AnswerContext, fresh_s: float
    ) -> list[str]:
        unknown, now_s = [], self._clock()
        for digest in digests:
            place = _place(kind, context, digest)
            said = self._memory.get(place)
            if said is None and place not in self._absent:
                said = self._recalled(place, context)
            if said is None or not 0.0 <= now_s - said[0] < fresh_s:
                unknown.append(digest)
            if said is not None and (self._oldest_s is None or said[0] < self._oldest_s):
                self._oldest_s = said[0]
        return unknown

    def _recalled(self, place: Place, context: AnswerContext) -> tuple[float, Any] | None:
        """From the file into memory."""
        if self._file is None:
            return None
        question = (
            "SELECT at_s, body FROM said"
            " WHERE kind = ? AND target = ? AND toolchain = ? AND objective = ? AND digest = ?"
        )
        try:
            row = self._file.execute(question, place).fetchone()
            if row is None:
                self._absent.add(place)
                return None
            told = None if row[1] is None else told_of_text(row[1], context)
            at_s = float(row[0])
        except (sqlite3.Error, ValueError, TypeError):
            return None
        kind, digest = place[0], place[4]
        found: Any = None if kind == _BEST else ()
        if told is not None and kind == _RANGE:
            found = next(iter(told.ranges.values()), ())
        elif told is not None:
            found = told.bests.get(digest) if kind == _BEST else told.relatives.get(digest, ())
        self._memory[place] = at_s, found
        return self._memory[place]

    def _keep(
        self,
        kind: str,
        values: Mapping[str, Any],
        bodies: Mapping[str, Told | None],
        context: AnswerContext,
    ) -> None:
        now_s = self._clock()
        if len(self._memory) + len(values) > MOST_REMEMBERED:
            self._memory.clear()
        places = {digest: _place(kind, context, digest) for digest in values}
        self._absent.clear()
        self._memory |= {places[digest]: (now_s, value) for digest, value in values.items()}
        if self._file is None:
            return
        rows = [
            (*places[digest], now_s, None if told is None else json.dumps(told_to_json(told)))
            for digest, told in bodies.items()
        ]
        with suppress(sqlite3.Error), self._file:
            self._file.executemany("INSERT OR REPLACE INTO said VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _named(name: RangeName) -> str:
    return f"{name[0]} {name[1]}"


def _place(kind: str, context: AnswerContext, digest: str) -> Place:
    return kind, context.target_digest, context.toolchain, str(context.objective), digest
