"""Runs and records, page by page, limited to those that the viewer may see.

A run that a job asked for belongs to the job's tenant. A run without a job (made on the command line, or
imported) belongs to the operator of the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlalchemy import Row, Select, func, literal, select
from sqlalchemy.sql.elements import ColumnElement

from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import Purpose, RunRow, TrialRow
from tilewright.db.storage.rows import select_trial, to_run, to_trial
from tilewright.db.storage.schema import (
    UNUSUAL_PURPOSE,
    UNUSUAL_STATUS,
    job,
    model,
    run,
    target,
    trial,
    workload,
)
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status

LARGEST_PAGE = 500
PAGE_BYTES = 1 << 20
A_ROW_BYTES = 200
RECENT = 20_000
"""Records that are looked through for a page before those of fitting runs are."""


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
        limit, before = max(1, min(limit, LARGEST_PAGE)), _number(cursor)
        of_trial, of_run = self._conditions(viewer, wanted)
        if before is not None:
            of_trial.append(trial.c.id < before)
        found = None if wanted.run is not None else self._among_newest(of_trial, of_run, limit)
        if found is None:
            found = [row.number for row in self.database.ask(_numbers(of_trial, of_run, limit))]
        length = _length(trial.c.config, trial.c.reason, trial.c.samples_us)
        measured = select(trial.c.id.label("row_number"), length.label("length")).where(trial.c.id.in_(found))
        kept = _fitting(self.database.ask(measured.order_by(trial.c.id.desc())), limit)
        rows = self.database.ask(_records.where(trial.c.id.in_(found[:kept])).order_by(trial.c.id.desc()))
        return [_to_record(row) for row in rows], str(found[kept - 1]) if len(found) > kept else None

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

    def _conditions(
        self, viewer: Viewer, wanted: Wanted
    ) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
        """The conditions on a record itself, and on its run."""
        of_trial, of_run = [], [_visible(viewer)]
        if wanted.run is not None:
            of_run.append(run.c.uid == wanted.run)
        if wanted.objective is not None:
            of_run.append(run.c.objective == wanted.objective)
        if wanted.status is not None:
            of_trial.append(trial.c.status == wanted.status)
        if wanted.purpose is not None:
            of_trial.append(trial.c.purpose == wanted.purpose)
        if wanted.status not in (None, Status.OK):
            of_trial.append(UNUSUAL_STATUS)
        if wanted.purpose not in (None, Purpose.SEARCH):
            of_trial.append(UNUSUAL_PURPOSE)
        if wanted.workload is not None:
            digests = self._whole(workload.c.digest, wanted.workload)
            numbers = select(workload.c.id.label("number")).where(workload.c.digest.in_(digests))
            of_trial.append(trial.c.workload_id.in_([row.number for row in self.database.ask(numbers)]))
        if wanted.target is not None:
            of_run.append(run.c.target_digest.in_(self._whole(target.c.digest, wanted.target)))
        if wanted.model is not None:
            of_run.append(run.c.model_digest.in_(self._whole(model.c.digest, wanted.model)))
        return of_trial, of_run

    def _among_newest(
        self, of_trial: Sequence[ColumnElement[bool]], of_run: Sequence[ColumnElement[bool]], limit: int
    ) -> list[int] | None:
        """The numbers of a page's records and of the next one's first, if they are among the newest.

        Records come first, from the newest on, by an index that keeps them in that order: a planner that
        begins with the runs sorts a million records for a page of 50. None where the RECENT newest that fit
        by themselves hold too few of fitting runs; then these runs are few, and beginning with them is right.
        """
        newest = (
            select(trial.c.id, trial.c.run_id)
            .where(*of_trial)
            .order_by(trial.c.id.desc())
            .limit(RECENT)
            .subquery()
        )
        question = (
            select(newest.c.id.label("number"))
            .join(run, newest.c.run_id == run.c.id)
            .where(*of_run)
            .order_by(newest.c.id.desc())
            .limit(limit + 1)
        )
        found = [row.number for row in self.database.ask(question)]
        if len(found) > limit:
            return found
        looked_at = self.database.ask(select(func.count().label("trials")).select_from(newest))[0].trials
        return found if looked_at < RECENT else None

    def trial_counts(self) -> dict[str, int]:
        """The number of trials by status, of all tenants."""
        question = (
            select(trial.c.status, func.count().label("trials"))
            .where(UNUSUAL_STATUS)
            .group_by(trial.c.status)
        )
        counts = {row.status: row.trials for row in self.database.ask(question)}
        every = self.database.ask(select(func.count().label("trials")).select_from(trial))[0].trials
        usual = every - sum(counts.values())
        return counts | ({Status.OK.value: usual} if usual > 0 else {})

    def _page(
        self,
        question: Select[Any],
        number: ColumnElement[int],
        length: ColumnElement[int],
        cursor: str | None,
        limit: int,
    ) -> tuple[Sequence[Any], str | None]:
        """At most `limit` rows and, but for the first, PAGE_BYTES of what may be long in them."""
        limit, before = max(1, min(limit, LARGEST_PAGE)), _number(cursor)
        if before is not None:
            question = question.where(number < before)
        ahead = question.with_only_columns(number.label("row_number"), length.label("length"))
        found = self.database.ask(ahead.limit(limit + 1))
        kept = _fitting(found, limit)
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


def _numbers(
    of_trial: Sequence[ColumnElement[bool]], of_run: Sequence[ColumnElement[bool]], limit: int
) -> Select[Any]:
    """The numbers of a page's records and of the next one's first, in the planner's own way."""
    return (
        select(trial.c.id.label("number"))
        .join(run, trial.c.run_id == run.c.id)
        .where(*of_trial, *of_run)
        .order_by(trial.c.id.desc())
        .limit(limit + 1)
    )


def _number(cursor: str | None) -> int | None:
    """The number before which a page begins; RecordError for a cursor that no page gave."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise RecordError(f"cursor {cursor[:40]!r} is not one that a page gave")
    return int(cursor)


def _fitting(found: Sequence[Row[Any]], limit: int) -> int:
    """The number of these rows on a page: at most `limit` and, but for the first, PAGE_BYTES of `length`."""
    within = [sum_ <= PAGE_BYTES for sum_ in accumulate(row.length for row in found[:limit])].count(True)
    return max(within, min(1, len(found)))


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
