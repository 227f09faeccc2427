"""The runs that keep both sides of a conflict.

Two databases may hold a run of one uid with different content: one of them was changed, or was restored and
worked on. Neither is believed more than the other, so both stay: what is here keeps its name, what comes is
kept under UID.conflict-2, or the next number that is free. The records that are kept are the same in whatever
order databases meet; which of them has the plain name is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Row, insert, select, update

from tilewright.compiler_core.errors import RecordError
from tilewright.db.exchange.entries import Entry, RunFinish, StoredRun, to_object
from tilewright.db.exchange.export import stored_run
from tilewright.db.records import RunRow
from tilewright.db.storage.rows import run_columns, to_run
from tilewright.db.storage.schema import run
from tilewright.db.storage.writes import pieces

MARK = ".conflict-"
MOST_VERSIONS = 1_000
LONGEST_UID = 64


@dataclass(frozen=True)
class Version:
    """A run here, with the `id` of its row."""

    id: int
    row: RunRow

    @property
    def uid(self) -> str:
        """Its name here."""
        return self.row.uid

    @property
    def takes_more(self) -> bool:
        """Whether records from elsewhere may be added: it came from there, or has ended."""
        return self.row.imported or self.row.finished_at_s is not None


def plain_uid(uid: str) -> str:
    """The uid that a run had before anything conflicted with it."""
    return uid.partition(MARK)[0]


def fields_apart(one: Entry, other: Entry) -> str:
    """The names of the fields in which two entries of one identity differ, after a comma each."""
    mine, theirs = (to_object(each)["value"] for each in (one, other))
    names = sorted({*mine, *theirs} - {"uid", "run"})
    return ", ".join(name for name in names if mine.get(name) != theirs.get(name))


class Versions:
    """The runs of each plain uid, inside a transaction of the caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, list[Version]] = {}
        self._marked: list[Row[tuple[object, ...]]] | None = None

    def load(self, uids: Iterable[str]) -> None:
        """Reads the versions of these runs; those that were read before stay."""
        if self._marked is None:
            conflicting = select(run).where(run.c.uid.contains(MARK, autoescape=True)).order_by(run.c.id)
            self._marked = list(self._connection.execute(conflicting))
        wanted = sorted({plain_uid(uid) for uid in uids} - self._known.keys())
        self._known |= {uid: [] for uid in wanted}
        for some in pieces(wanted):
            for row in self._connection.execute(select(run).where(run.c.uid.in_(some))):
                self._known[row.uid].append(Version(row.id, to_run(row)))
        for row in self._marked:
            if plain_uid(row.uid) in wanted:
                self._known[plain_uid(row.uid)].append(Version(row.id, to_run(row)))

    def alike(self, entry: StoredRun) -> list[Version]:
        """The versions here that are `entry` but for the name; the one of the same name first."""
        uid, told = entry.asked.uid, _unnamed(entry)
        found = [each for each in self._known[plain_uid(uid)] if _unnamed(stored_run(each.row)) == told]
        return sorted(found, key=lambda each: each.uid != uid)

    def called(self, uid: str) -> Version | None:
        """The version of exactly this name."""
        return next((each for each in self._known[plain_uid(uid)] if each.uid == uid), None)

    def add(self, entry: StoredRun) -> Version:
        """Enters the run under its own name, or the next that is free."""
        known = self._known[plain_uid(entry.asked.uid)]
        uid, number = entry.asked.uid, 2
        while any(each.uid == uid for each in known):
            uid = f"{plain_uid(uid)}{MARK}{number}"
            number += 1
        if len(known) >= MOST_VERSIONS or len(uid) > LONGEST_UID:
            raise RecordError(f"run {entry.asked.uid} has too many versions already; nothing was taken")
        asked = replace(entry.asked, uid=uid)
        values = {**run_columns(asked), "started_at_s": entry.started_at_s, "imported": True}
        made = self._connection.execute(insert(run), values).inserted_primary_key
        assert made is not None, "one row was entered"
        row = self._connection.execute(select(run).where(run.c.id == made[0])).one()
        known.append(Version(row.id, to_run(row)))
        return known[-1]

    def finish(self, version: Version, finish: RunFinish) -> None:
        """Says how a version ended."""
        values = {name: value for name, value in vars(finish).items() if name != "run"}
        self._connection.execute(update(run).where(run.c.id == version.id).values(values))
        known = self._known[plain_uid(version.uid)]
        known[known.index(version)] = Version(version.id, replace(version.row, **values))


def _unnamed(entry: StoredRun) -> StoredRun:
    return replace(entry, asked=replace(entry.asked, uid=plain_uid(entry.asked.uid)))
