"""A read-only file of records as a layer. Its keys are kept in memory, so that a miss costs little."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tilewright.db.layers.layer import AnswerContext, RecordsLayer
from tilewright.db.layers.selectors import SelectorRow
from tilewright.db.records import Best, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database

MOST_KEYS = 100_000
"""Of one target, toolchain and objective; a file of more is asked each time."""
_State = tuple[tuple[int, int] | None, ...]


@dataclass(eq=False)
class FileLayer:
    """A database file that others may replace or write to: its keys are read anew when it changed."""

    records: RecordsLayer
    trouble: str = ""
    _known: dict[AnswerContext, frozenset[str] | None] = field(default_factory=dict)
    _state: _State = ()

    @classmethod
    def of(cls, name: str, database: Database) -> "FileLayer":
        """Over an open SQLite file."""
        return cls(RecordsLayer(name, Repository(database)))

    @property
    def name(self) -> str:
        """As its user calls it."""
        return self.records.name

    @property
    def database(self) -> Database:
        """The file."""
        return self.records.database

    def bests(
        self, workloads: Sequence[str], context: AnswerContext, before_s: float | None = None
    ) -> Mapping[str, Best]:
        """By one query, for those that are there."""
        known = self._keys(context)
        asked = workloads if known is None else [digest for digest in workloads if digest in known]
        return self.records.bests(asked, context, before_s) if asked else {}

    def relatives(
        self, families: Sequence[str], context: AnswerContext
    ) -> Mapping[str, Sequence[tuple[WorkloadRow, Best]]]:
        """By one query."""
        return self.records.relatives(families, context)

    def intervals(self, digest: str, symbol: str, context: AnswerContext) -> Sequence[SelectorRow]:
        """By one query."""
        return self.records.intervals(digest, symbol, context)

    def symbols(self, context: AnswerContext) -> frozenset[str] | None:
        """By one query."""
        return self.records.symbols(context)

    def close(self) -> None:
        """Close the file."""
        self.records.close()

    def _keys(self, context: AnswerContext) -> frozenset[str] | None:
        """The workloads with a best in a context; None where they are too many."""
        state = _state_of(self.database.name)
        if state != self._state:
            self._known.clear()
            self._state = state
        if context not in self._known:
            where = context.target_digest, context.toolchain, context.objective
            found = self.records.repository.workloads_with_best(*where, MOST_KEYS + 1)
            self._known[context] = frozenset(found) if len(found) <= MOST_KEYS else None
        return self._known[context]


def _state_of(name: str) -> _State:
    """A value that changes with the file or its log."""
    return tuple(_stamp(path) for path in (name, f"{name}-wal"))


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
