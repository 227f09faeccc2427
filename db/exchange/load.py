"""Import into a database: all or nothing, and served only after a measurement here.

Imported trials serve as priors; no best is ever derived from them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Connection, insert, select, update

from tilewright.compiler_core.errors import RecordError
from tilewright.db.exchange.entries import KINDS, Entry, RunFinish, StoredRun, StoredSignature, StoredTrial
from tilewright.db.exchange.export import entries_of, stored_run
from tilewright.db.exchange.lines import Bounds, read_lines
from tilewright.db.records import ModelRow, TargetRow, TrialRow, WorkloadRow
from tilewright.db.storage.rows import (
    run_columns,
    select_trial,
    to_run,
    to_trial,
    to_workload,
    trial_columns,
    workload_columns,
)
from tilewright.db.storage.schema import model, run, signature, target, trial, workload
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import insert_missing, workload_ids

Objection: TypeAlias = Callable[[Entry], str]

_ROWS_AT_A_TIME = 2_000


@dataclass(frozen=True)
class LoadCounts:
    """The numbers of entries that were new, and of those that were here before."""

    new: int
    known: int


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
    return load_entries(destination, entries_of(source), source.name)


def load_entries(database: Database, entries: Iterable[Entry], name: str, first_line: int = 1) -> LoadCounts:
    """Writes sorted entries in one transaction. RecordError when one contradicts an entry that is here."""
    new = known = 0
    line = first_line
    with database.writing() as connection:
        loader = _Loader(connection)
        for some in _batches(entries):
            try:
                added = loader.load(some)
            except _ContradictionError as error:
                raise RecordError(
                    f"{name}, line {line + error.at}: {error.reason}; nothing was taken"
                ) from None
            new += added
            known += len(some) - added
            line += len(some)
    return LoadCounts(new, known)


class _ContradictionError(Exception):
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
        self._connection = connection

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
                raise _ContradictionError(index, f"workload {row.digest[:12]} is here with different content")
        missing = [workload_columns(row) for row in some if row.digest not in known]
        insert_missing(self._connection, workload, missing)
        return len(missing)

    def _runs(self, some: list[StoredRun]) -> int:
        question = select(run).where(run.c.uid.in_([row.asked.uid for row in some]))
        known = {row.uid: stored_run(to_run(row)) for row in self._connection.execute(question)}
        for index, row in enumerate(some):
            if known.get(row.asked.uid, row) != row:
                raise _ContradictionError(index, f"run {row.asked.uid} is here with different content")
        missing = [
            {**run_columns(row.asked), "started_at_s": row.started_at_s, "imported": True}
            for row in some
            if row.asked.uid not in known
        ]
        if missing:
            self._connection.execute(insert(run), missing)
        return len(missing)

    def _finishes(self, some: list[RunFinish]) -> int:
        new = 0
        for index, entry in enumerate(some):
            here = to_run(self._connection.execute(select(run).where(run.c.uid == entry.run)).one())
            values = {
                "finished_at_s": entry.finished_at_s,
                "stop_reason": entry.stop_reason,
                "regret_estimate": entry.regret_estimate,
            }
            if here.finished_at_s is not None:
                if any(getattr(here, name) != value for name, value in values.items()):
                    raise _ContradictionError(index, f"run {entry.run} ended here in another way")
            elif not here.imported:
                raise _ContradictionError(index, f"run {entry.run} is still going on here")
            else:
                self._connection.execute(update(run).where(run.c.uid == entry.run).values(values))
                new += 1
        return new

    def _trials(self, some: list[StoredTrial]) -> int:
        uid = some[0].trial.run
        row = self._connection.execute(select(run).where(run.c.uid == uid)).one()
        numbers = [each.trial.number for each in some]
        question = select_trial.where(
            run.c.uid == uid, trial.c.number >= min(numbers), trial.c.number <= max(numbers)
        )
        known = {
            _place(each): StoredTrial(each.trial, each.created_at_s)
            for each in map(to_trial, self._connection.execute(question))
        }
        missing = []
        for index, each in enumerate(some):
            here = known.get(_place(each))
            if here is not None and here != each:
                raise _ContradictionError(
                    index, f"trial {each.trial.number} of run {uid} is here, but different"
                )
            if here is None and not row.imported and row.finished_at_s is None:
                raise _ContradictionError(index, f"run {uid} is still going on here")
            if here is None:
                missing.append(each)
        ids = workload_ids(self._connection, {each.trial.workload_digest for each in missing})
        rows = [
            {
                **trial_columns(each.trial, row.id, ids[each.trial.workload_digest]),
                "created_at_s": each.created_at_s,
                "imported": True,
            }
            for each in missing
        ]
        if rows:
            self._connection.execute(insert(trial), rows)
        return len(rows)

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
            if place not in ids:
                raise _ContradictionError(
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


def _place(row: TrialRow | StoredTrial) -> tuple[str, int, int]:
    return row.trial.purpose, row.trial.number, row.trial.attempt
