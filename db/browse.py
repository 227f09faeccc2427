"""Runs and records, page by page, limited to those that the viewer may see.

A run that a job asked for belongs to the job's tenant. A run without a job (made on the command line, or
imported) belongs to the operator of the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from sqlalchemy import Select, func, literal, select
from sqlalchemy.sql.elements import ColumnElement

from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import Purpose, RunRow, TrialRow
from tilewright.db.storage.rows import select_trial, to_run, to_trial
from tilewright.db.storage.schema import job, model, run, target, trial, workload
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status

LARGEST_PAGE = 500
PAGE_BYTES = 1 << 20
A_ROW_BYTES = 200
RECENT = 20_000
"""Records that are looked through for a page before all of them are."""


@dataclass(frozen=True)
class Viewer:
    """Whose eyes: a tenant's jobs (everybody's when None), and the operator's runs where `operator`."""

    tenant: str | None
    operator: bool


@dataclass(frozen=True)
class Wanted:
    """Which records: None admits all. `workload`, `target` and `model` (a network) are digests, or how they
    begin.
    """

    workload: str | None = None
    target: str | None = None
    model: str | None = None
    run: str | None = None
    objective: Objective | None = None
    status: Status | None = None
    purpose: Purpose | None = None


@dataclass(frozen=True)
class RecordRow:
    """A record with its number in this database, and the names of its model and target."""

    id: int
    row: TrialRow
    model_name: str
    target_name: str


class Browse:
    """Reading verbs; the promises on threads, transactions and errors are those of Repository."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def runs(
        self, viewer: Viewer, job_uid: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> tuple[list[RunRow], str | None]:
        """Runs newest first, and the cursor of the next page."""
        question = select(run).where(_visible(viewer)).order_by(run.c.id.desc())
        if job_uid is not None:
            question = question.where(run.c.job == job_uid)
        length = _length(run.c.settings, run.c.versions, run.c.stop_reason)
        rows, following = self._page(question, run.c.id, length, cursor, limit)
        return [to_run(row) for row in rows], following

    def run(self, viewer: Viewer, uid: str) -> RunRow | None:
        """The run of that uid, if it exists and is visible."""
        rows = self.database.ask(select(run).where(run.c.uid == uid, _visible(viewer)))
        return to_run(rows[0]) if rows else None

    def records(
        self, viewer: Viewer, wanted: Wanted, cursor: str | None = None, limit: int = 50
    ) -> tuple[list[RecordRow], str | None]:
        """Records newest first, and the cursor of the next page."""
        conditions: list[ColumnElement[bool]] = [_visible(viewer)]
        for column, value in (
            (run.c.uid, wanted.run),
            (run.c.objective, wanted.objective),
            (trial.c.status, wanted.status),
            (trial.c.purpose, wanted.purpose),
        ):
            if value is not None:
                conditions.append(column == value)
        for column, known, beginning in (
            (workload.c.digest, workload.c.digest, wanted.workload),
            (run.c.target_digest, target.c.digest, wanted.target),
            (run.c.model_digest, model.c.digest, wanted.model),
        ):
            if beginning is not None:
                conditions.append(column.in_(self._whole(known, beginning)))
        question = _records.where(*conditions).order_by(trial.c.id.desc())
        length = _length(trial.c.config, trial.c.reason, trial.c.samples_us)
        if wanted == replace(wanted, workload=None, target=None, model=None, run=None):
            recent = self._recent(conditions, cursor, limit)
            if recent is not None:
                question = question.where(trial.c.id >= recent)
        rows, following = self._page(question, trial.c.id, length, cursor, limit)
        return [_to_record(row) for row in rows], following

    def record(self, viewer: Viewer, record_id: int) -> RecordRow | None:
        """The record with that number, if it exists and is visible."""
        rows = self.database.ask(_records.where(trial.c.id == record_id, _visible(viewer)))
        return _to_record(rows[0]) if rows else None

    def kernels_of(self, model_digest: str, viewer: Viewer) -> list[str]:
        """Digests of the workloads that runs of a network measured, as far as they are to be seen."""
        question = (
            select(workload.c.digest)
            .join(trial, trial.c.workload_id == workload.c.id)
            .join(run, run.c.id == trial.c.run_id)
            .where(run.c.model_digest == model_digest, _visible(viewer))
            .distinct()
            .order_by(workload.c.digest)
        )
        return [row.digest for row in self.database.ask(question)]

    def models(self, viewer: Viewer, limit: int = LARGEST_PAGE) -> list[tuple[str, str]]:
        """Digest and name of networks with visible runs, by name."""
        question = (
            select(model.c.digest, model.c.name)
            .join(run, run.c.model_digest == model.c.digest)
            .where(_visible(viewer))
            .distinct()
            .order_by(model.c.name, model.c.digest)
            .limit(limit)
        )
        return [(row.digest, row.name) for row in self.database.ask(question)]

    def _whole(self, column: ColumnElement[str], beginning: str) -> list[str]:
        """The digests in `column` that begin so: found first, an index answers the rest."""
        if len(beginning) == 64:
            return [beginning]
        between = column.between(beginning.ljust(64, "0"), beginning.ljust(64, "f"))
        question = select(column.label("digest")).where(between).order_by(column).limit(LARGEST_PAGE)
        return [row.digest for row in self.database.ask(question)]

    def _recent(
        self, conditions: Sequence[ColumnElement[bool]], cursor: str | None, limit: int
    ) -> int | None:
        """The number of the oldest record that a page and the next one's first need, if it is a recent one.

        Read from the newest on: a planner that begins with the runs sorts a million records for a page of 50.
        None where the last RECENT records hold too few; then they are few, and the planner's way is right.
        """
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            return None
        newest = self.database.ask(select(func.max(trial.c.id).label("number")))[0].number or 0
        last = min(newest, int(cursor) - 1) if cursor is not None else newest
        of_run = trial.c.run_id + 0 == run.c.id  # no index fits this: trials come first, runs by their number
        question = (
            select(trial.c.id.label("number"))
            .join(run, of_run)
            .where(*conditions, trial.c.id <= last, trial.c.id > last - RECENT)
            .order_by(trial.c.id.desc())
            .limit(max(1, min(limit, LARGEST_PAGE)) + 1)
        )
        found = self.database.ask(question)
        return found[-1].number if len(found) > limit else None

    def trial_counts(self) -> dict[str, int]:
        """The number of trials by status, of all tenants."""
        question = select(trial.c.status, func.count().label("trials")).group_by(trial.c.status)
        return {row.status: row.trials for row in self.database.ask(question)}

    def _page(
        self,
        question: Select[Any],
        number: ColumnElement[int],
        length: ColumnElement[int],
        cursor: str | None,
        limit: int,
    ) -> tuple[Sequence[Any], str | None]:
        """At most `limit` rows and, but for the first, PAGE_BYTES of what may be long in them."""
        limit = max(1, min(limit, LARGEST_PAGE))
        if cursor is not None:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
                raise RecordError(f"cursor {cursor[:40]!r} is not one that a page gave")
            question = question.where(number < int(cursor))
        ahead = question.with_only_columns(number.label("row_number"), length.label("length"))
        found = self.database.ask(ahead.limit(limit + 1))
        fitting = [sum_ <= PAGE_BYTES for sum_ in accumulate(row.length for row in found[:limit])].count(True)
        kept = max(fitting, min(1, len(found)))
        if kept == 0:
            return (), None
        first, last = found[0].row_number, found[kept - 1].row_number
        rows = self.database.ask(question.where(number <= first, number >= last))
        return rows, str(last) if len(found) > kept else None


_records: Select[Any] = (
    select_trial.add_columns(
        trial.c.id.label("record_id"),
        func.coalesce(model.c.name, "").label("model_name"),
        target.c.name.label("target_name"),
    )
    .outerjoin(model, model.c.digest == run.c.model_digest)
    .join(target, target.c.digest == run.c.target_digest)
)


def _length(*texts: ColumnElement[str]) -> ColumnElement[int]:
    """Signs of these texts together, and a little for the rest of the row."""
    total: ColumnElement[int] = literal(A_ROW_BYTES)
    for text in texts:
        total = total + func.length(text)
    return total


def _visible(viewer: Viewer) -> ColumnElement[bool]:
    jobs = select(job.c.uid)
    if viewer.tenant is not None:
        jobs = jobs.where(job.c.tenant == viewer.tenant)
    own = run.c.job.in_(jobs)
    seen = own | run.c.job.is_(None) if viewer.operator else own
    return seen & run.c.hidden_at_s.is_(None)


def _to_record(row: Any) -> RecordRow:
    return RecordRow(row.record_id, to_trial(row), row.model_name, row.target_name)
