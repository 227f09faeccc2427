"""Import into a database: all or nothing, and served only after a measurement here.

Imported trials serve as priors; no best is ever derived from them. A record that conflicts with one that is
here is kept beside it, under another run (versions.py), and told.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Connection, insert, select

from tilewright.compiler_core.errors import RecordError
from tilewright.db.exchange.entries import KINDS, Entry, RunFinish, StoredRun, StoredSignature, StoredTrial
from tilewright.db.exchange.export import entries_of, stored_run
from tilewright.db.exchange.lines import Bounds, read_lines
from tilewright.db.exchange.versions import Version, Versions, fields_apart, plain_uid
from tilewright.db.records import ModelRow, TargetRow, TrialRow, WorkloadRow
from tilewright.db.storage.rows import (
    select_trial,
    to_trial,
    to_workload,
    trial_columns,
    workload_columns,
)
from tilewright.db.storage.schema import best, model, run, signature, target, trial, workload
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import insert_missing, workload_ids

Objection: TypeAlias = Callable[[Entry], str]
_Place: TypeAlias = tuple[str, int, int]

_ROWS_AT_A_TIME = 2_000


@dataclass(frozen=True)
class LoadCounts:
    """The numbers of entries that were new, and of those that were here before. `conflicts` has a line for
    each that was here with different content; both are kept.
    """

    new: int
    known: int
    conflicts: tuple[str, ...] = ()


def import_records(
    database: Database, path: Path, objection: Objection | None = None, bounds: Bounds | None = None
) -> LoadCounts:
    """Takes a JSON Lines file in, whole or not at all. RecordError names the line that is wrong.

    The file is read twice: first to judge it, without touching the database, then to write it in one
    transaction. `objection(entry)` may refuse an entry with a reason (a workload whose digest is not its
    own, a config outside its space).
    """
    for number, entry in enumerate(read_lines(path, bounds), start=2):
        reason = objection(entry) if objection is not None else ""
        if reason:
            raise RecordError(f"{path.name}, line {number}: {reason}; nothing was taken")
    return load_entries(database, read_lines(path, bounds), path.name, first_line=2)


def merge_database(source: Database, destination: Database) -> LoadCounts:
    """Takes in another database, as if it had been exported and imported."""
    with source.snapshot() as connection:
        _refuse_answers_alone(connection, source.name)
    return load_entries(destination, entries_of(source), source.name)


def load_entries(database: Database, entries: Iterable[Entry], name: str, first_line: int = 1) -> LoadCounts:
    """Writes sorted entries in one transaction. RecordError when one cannot be kept: a workload with other
    content than its digest stands for, or more of a run that is still going on here.
    """
    new = known = 0
    line = first_line
    with database.writing() as connection:
        _refuse_answers_alone(connection, database.name)
        loader = _Loader(connection)
        for some in _batches(entries):
            try:
                added = loader.load(some)
            except _UnkeepableError as error:
                raise RecordError(
                    f"{name}, line {line + error.at}: {error.reason}; nothing was taken"
                ) from None
            new += added
            known += len(some) - added
            line += len(some)
    return LoadCounts(new, known, tuple(loader.conflicts))


def _refuse_answers_alone(connection: Connection, name: str) -> None:
    """RecordError for a file that `export_best` wrote: its answers have no trials, so the first record that
    came to one of their keys would put an end to the answer.
    """
    if connection.execute(select(best.c.run).limit(1)).first() is None:
        return
    if connection.execute(select(trial.c.id).limit(1)).first() is None:
        raise RecordError(
            f"database {name} holds answers alone, as `tune db export --best` writes them, and no records;"
            " TILEWRIGHT_LAYERS asks it, and a database of your own takes records"
        )


class _UnkeepableError(Exception):
    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


def _batches(entries: Iterable[Entry]) -> Iterator[list[Any]]:
    """Entries of one kind, and of one run where they are trials, in bounded batches."""

    def alike(entry: Entry) -> tuple[int, str]:
        of_run = entry.trial.run if isinstance(entry, StoredTrial) else ""
        return KINDS.index(type(entry)), entry.run if isinstance(entry, StoredSignature) else of_run

    for _, same in groupby(entries, key=alike):
        some: list[Entry] = []
        for entry in same:
            some.append(entry)
            if len(some) == _ROWS_AT_A_TIME:
                yield some
                some = []
        if some:
            yield some


class _Loader:
    """Each method takes entries of one kind and returns how many of them were new."""

    def __init__(self, connection: Connection) -> None:
        self.conflicts: list[str] = []
        self._connection = connection
        self._versions = Versions(connection)
        self._runs_come: dict[str, StoredRun] = {}
        self._elsewhere: set[tuple[str, _Place]] = set()

    def load(self, some: list[Any]) -> int:
        match some[0]:
            case TargetRow():
                return self._described(target, some)
            case ModelRow():
                return self._described(model, some)
            case WorkloadRow():
                return self._workloads(some)
            case StoredRun():
                return self._runs(some)
            case RunFinish():
                return self._finishes(some)
            case StoredSignature():
                return self._signatures(some)
            case _:
                return self._trials(some)

    def _described(self, table: Any, some: list[TargetRow] | list[ModelRow]) -> int:
        digests = [row.digest for row in some]
        question = select(table.c.digest).where(table.c.digest.in_(digests))
        known = {row.digest for row in self._connection.execute(question)}
        insert_missing(self._connection, table, [vars(row) for row in some if row.digest not in known])
        return len(some) - len(known)

    def _workloads(self, some: list[WorkloadRow]) -> int:
        question = select(workload).where(workload.c.digest.in_([row.digest for row in some]))
        known = {row.digest: to_workload(row) for row in self._connection.execute(question)}
        for index, row in enumerate(some):
            if known.get(row.digest, row) != row:
                raise _UnkeepableError(index, f"workload {row.digest[:12]} is here with different content")
        missing = [workload_columns(row) for row in some if row.digest not in known]
        insert_missing(self._connection, workload, missing)
        return len(missing)

    def _runs(self, some: list[StoredRun]) -> int:
        self._versions.load(each.asked.uid for each in some)
        new = 0
        for entry in some:
            uid = entry.asked.uid
            self._runs_come[uid] = entry
            if self._versions.alike(entry):
                continue
            here = self._versions.called(uid)
            kept = self._versions.add(entry)
            new += 1
            if here is not None:
                self._tell(f"run {uid}", fields_apart(stored_run(here.row), entry), kept)
        return new

    def _finishes(self, some: list[RunFinish]) -> int:
        new = 0
        for index, entry in enumerate(some):
            versions = self._versions.alike(self._runs_come[entry.run])
            if any(_finish_of(each) == replace(entry, run=each.uid) for each in versions):
                continue
            if versions[0].row.finished_at_s is None and not versions[0].row.imported:
                raise _UnkeepableError(index, f"run {entry.run} is still going on here")
            named = self._versions.called(entry.run) is not None
            free = [each for each in versions if each.row.finished_at_s is None]
            kept = next((each for each in free if named or each.uid == entry.run), None)
            kept = kept or self._versions.add(self._runs_come[entry.run])
            self._versions.finish(kept, entry)
            new += 1
            first = _finish_of(versions[0])
            if first is not None and kept.uid != entry.run:
                self._tell(f"end of run {entry.run}", fields_apart(first, entry), kept)
        return new

    def _trials(self, some: list[StoredTrial]) -> int:
        uid = some[0].trial.run
        versions = self._versions.alike(self._runs_come[uid])
        known = {each.uid: self._places_of(each, some) for each in versions}
        missing: list[tuple[Version, StoredTrial]] = []
        for index, each in enumerate(some):
            place = _place(each)
            found = next((one for one in versions if known[one.uid].get(place) == _told_of(each)), None)
            if found is not None:
                if found.uid != uid:
                    self._elsewhere.add((uid, place))
                continue
            if not versions[0].takes_more:
                raise _UnkeepableError(index, f"run {uid} is still going on here")
            named = self._versions.called(uid) is not None
            free = [one for one in versions if one.takes_more and place not in known[one.uid]]
            kept = next((one for one in free if named or one.uid == uid), None)
            if kept is None:
                kept = self._versions.add(self._runs_come[uid])
                versions.append(kept)
                known[kept.uid] = {}
            here = known[versions[0].uid].get(place)
            known[kept.uid][place] = _told_of(each)
            missing.append((kept, each))
            if kept.uid != uid:
                self._elsewhere.add((uid, place))
                if here is not None:
                    told = f"trial {' '.join(map(str, place))} of run {uid}"
                    self._tell(told, fields_apart(here, each), kept)
        ids = workload_ids(self._connection, {each.trial.workload_digest for _, each in missing})
        rows = [
            {
                **trial_columns(each.trial, version.id, ids[each.trial.workload_digest]),
                "created_at_s": each.created_at_s,
                "imported": True,
            }
            for version, each in missing
        ]
        if rows:
            self._connection.execute(insert(trial), rows)
        return len(rows)

    def _places_of(self, version: Version, some: list[StoredTrial]) -> dict[_Place, StoredTrial]:
        """The trials of a version that have the numbers of `some`, by place."""
        numbers = [each.trial.number for each in some]
        question = select_trial.where(
            trial.c.run_id == version.id, trial.c.number >= min(numbers), trial.c.number <= max(numbers)
        )
        rows = map(to_trial, self._connection.execute(question))
        return {_place(row): _told_of(StoredTrial(row.trial, row.created_at_s)) for row in rows}

    def _tell(self, what: str, apart: str, kept: Version) -> None:
        self.conflicts.append(f"{what}: {apart}; kept as run {kept.uid}")

    def _signatures(self, some: list[StoredSignature]) -> int:
        numbers = [each.number for each in some]
        question = (
            select(trial.c.id, trial.c.purpose, trial.c.number, trial.c.attempt)
            .join(run, trial.c.run_id == run.c.id)
            .where(run.c.uid == some[0].run, trial.c.number >= min(numbers), trial.c.number <= max(numbers))
        )
        ids = {(row.purpose, row.number, row.attempt): row.id for row in self._connection.execute(question)}
        rows = []
        for index, each in enumerate(some):
            place = str(each.purpose), each.number, each.attempt
            if (each.run, place) in self._elsewhere:
                continue  # it is over the trial under its own run, which another holds here
            if place not in ids:
                raise _UnkeepableError(
                    index, f"a signature of trial {each.number} of run {each.run}, which is nowhere"
                )
            rows.append((ids[place], each.signer, each.signature))
        known = {
            (row.trial_id, row.signer, row.signature)
            for row in self._connection.execute(
                select(signature.c.trial_id, signature.c.signer, signature.c.signature).where(
                    signature.c.trial_id.in_({row[0] for row in rows})
                )
            )
        }
        missing = [
            {"trial_id": place, "signer": signer, "signature": signed}
            for place, signer, signed in dict.fromkeys(rows)
            if (place, signer, signed) not in known
        ]
        if missing:
            self._connection.execute(insert(signature), missing)
        return len(missing)


def _place(row: TrialRow | StoredTrial) -> _Place:
    return str(row.trial.purpose), row.trial.number, row.trial.attempt


def _told_of(stored: StoredTrial) -> StoredTrial:
    """A trial under the plain name of its run, so that versions of it can be compared."""
    return replace(stored, trial=replace(stored.trial, run=plain_uid(stored.trial.run)))


def _finish_of(version: Version) -> RunFinish | None:
    row = version.row
    if row.finished_at_s is None:
        return None
    return RunFinish(row.uid, row.finished_at_s, row.stop_reason, row.regret_estimate)
