"""Out of a database: every record that is not hidden, sorted, as entries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, select

from tilewright.db.exchange.entries import Entry, RunFinish, StoredRun, StoredSignature, StoredTrial, identity
from tilewright.db.exchange.lines import Written, write_lines
from tilewright.db.records import ModelRow, NewRun, Purpose, RunRow, TargetRow
from tilewright.db.storage.rows import select_trial, to_run, to_trial, to_workload
from tilewright.db.storage.schema import model, run, signature, target, trial, workload
from tilewright.db.storage.session import Database

_ROWS_AT_A_TIME = 5_000


def export_records(database: Database, path: Path, include_hidden: bool = False) -> Written:
    """Writes the records of a database as JSON Lines, from one consistent view."""
    return write_lines(path, entries_of(database, include_hidden))


def entries_of(database: Database, include_hidden: bool = False) -> Iterator[Entry]:
    """The entries of a database, sorted by identity.

    Jobs, keys, workers and uploads are nobody else's business and stay; so does the job of a run.
    """
    with database.snapshot() as connection:
        for row in _stream(connection, select(target).order_by(target.c.digest)):
            yield TargetRow(row.digest, row.name, row.text)
        for row in _stream(connection, select(model).order_by(model.c.digest)):
            yield ModelRow(row.digest, row.name)
        for row in _stream(connection, select(workload).order_by(workload.c.digest)):
            yield to_workload(row)
        question = select(run) if include_hidden else select(run).where(run.c.hidden_at_s.is_(None))
        # Sorted here: the collation of a server need not be that of Python.
        runs = sorted((to_run(row) for row in connection.execute(question)), key=lambda each: each.uid)
        for each in runs:
            yield stored_run(each)
        for each in runs:
            if each.finished_at_s is not None:
                yield RunFinish(each.uid, each.finished_at_s, each.stop_reason, each.regret_estimate)
        for each in runs:
            rows = [to_trial(row) for row in connection.execute(select_trial.where(run.c.uid == each.uid))]
            stored = [StoredTrial(row.trial, row.created_at_s) for row in rows]
            stored.sort(key=lambda one: (one.trial.purpose, one.trial.number, one.trial.attempt))
            yield from stored
        for each in runs:
            found = connection.execute(select_signature.where(run.c.uid == each.uid))
            yield from sorted((to_signature(row) for row in found), key=identity)


def stored_run(row: RunRow) -> StoredRun:
    """A run as it is exchanged: without the job that asked for it."""
    asked = NewRun(**{**vars(row.asked), "job": None})
    return StoredRun(asked, row.started_at_s)


select_signature: Select[Any] = (
    select(signature, run.c.uid, trial.c.purpose, trial.c.number, trial.c.attempt)
    .join(trial, signature.c.trial_id == trial.c.id)
    .join(run, trial.c.run_id == run.c.id)
)
"""A signature with the place of its trial."""


def to_signature(row: Any) -> StoredSignature:
    """A row of `select_signature`."""
    return StoredSignature(row.uid, Purpose(row.purpose), row.number, row.attempt, row.signer, row.signature)


def _stream(connection: Connection, question: Any) -> Any:
    return connection.execute(question.execution_options(yield_per=_ROWS_AT_A_TIME))
