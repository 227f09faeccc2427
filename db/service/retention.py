"""The retention times of a service for jobs that have ended, files, the audit log and workers.

Records are never deleted. The runs of a job that is deleted become the operator's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, update

from tilewright.db.service.job_rows import ENDED, JobState
from tilewright.db.storage.columns import database_clock
from tilewright.db.storage.schema import audit, job, job_event, run, upload, upload_part, worker
from tilewright.db.storage.session import Database

ROWS_AT_ONCE = 100
"""In one transaction, so that nobody waits long for the lock of a SQLite file."""
IN_USE_S = 3600.0
"""A file that was used this short a time ago is kept however much there is: its job may be on its way."""
DAY_S = 86_400.0


@dataclass(frozen=True)
class Keep:
    """Ages in seconds: of jobs since their end, of models since their last use, of entries of the audit log,
    of workers since they were seen. `stored_bytes` is for models and results; the longest unused go.
    """

    jobs_s: float
    models_s: float
    audit_s: float
    workers_s: float
    stored_bytes: int


@dataclass(frozen=True)
class Freed:
    """The number of deleted rows, and the bytes of the files among them."""

    jobs: int = 0
    events: int = 0
    files: int = 0
    file_bytes: int = 0
    audit: int = 0
    workers: int = 0

    def __str__(self) -> str:
        return (
            f"{self.jobs} jobs, {self.events} events, {self.files} files ({self.file_bytes / 1e6:.1f} MB), "
            f"{self.audit} entries of the audit log and {self.workers} workers deleted"
        )


def sweep(database: Database, keep: Keep) -> Freed:
    """Deletes expired rows, in many short transactions."""
    jobs, events = _sweep_jobs(database, keep.jobs_s)
    # A model is needed until its jobs have ended, a result for as long as its job may be looked at.
    models, results = upload.c.symbols.is_not(None), upload.c.symbols.is_(None)
    files = [
        *_sweep_files(database, models & _older(upload.c.used_at_s, keep.models_s)),
        *_sweep_files(database, results & _older(upload.c.used_at_s, keep.jobs_s)),
        *_sweep_longest_unused(database, keep.stored_bytes),
    ]
    audit_rows = _sweep_rows(database, audit, audit.c.id, _older(audit.c.created_at_s, keep.audit_s))
    workers = _sweep_rows(database, worker, worker.c.name, _older(worker.c.last_seen_at_s, keep.workers_s))
    return Freed(jobs, events, len(files), sum(files), audit_rows, workers)


def _older(moment: ColumnElement[float], age_s: float) -> ColumnElement[bool]:
    return moment < database_clock() - age_s


def _sweep_jobs(database: Database, age_s: float) -> tuple[int, int]:
    """Jobs and events that went."""
    old = job.c.state.in_(ENDED) & _older(job.c.finished_at_s, age_s)
    jobs = events = 0
    while True:
        with database.writing() as connection:
            rows = connection.execute(select(job.c.id, job.c.uid).where(old).limit(ROWS_AT_ONCE)).all()
            ids, uids = [row.id for row in rows], [row.uid for row in rows]
            events += connection.execute(delete(job_event).where(job_event.c.job_id.in_(ids))).rowcount
            connection.execute(update(run).where(run.c.job.in_(uids)).values(job=None))
            connection.execute(delete(job).where(job.c.id.in_(ids)))
        jobs += len(rows)
        if len(rows) < ROWS_AT_ONCE:
            return jobs, events


def _sweep_files(database: Database, which: ColumnElement[bool]) -> list[int]:
    """Bytes of each file that went, of those that no waiting or running job needs."""
    sizes: list[int] = []
    question = select(upload.c.digest, upload.c.size_bytes).where(which, upload.c.kept, _unneeded())
    while True:
        with database.writing() as connection:
            rows = connection.execute(question.limit(ROWS_AT_ONCE)).all()
            _drop(connection, [row.digest for row in rows])
        sizes += [row.size_bytes for row in rows]
        if len(rows) < ROWS_AT_ONCE:
            return sizes


def _sweep_longest_unused(database: Database, most_bytes: int) -> list[int]:
    """Bytes of each file that went until all together are within the limit, or the rest is in use."""
    sizes: list[int] = []
    may_go = (upload.c.kept, _unneeded(), _older(upload.c.used_at_s, IN_USE_S))
    unused = select(upload.c.digest, upload.c.size_bytes).where(*may_go).order_by(upload.c.used_at_s)
    while True:
        with database.writing() as connection:
            total = select(func.coalesce(func.sum(upload.c.size_bytes), 0)).where(upload.c.kept)
            over = int(connection.execute(total).scalar_one()) - most_bytes
            rows = connection.execute(unused.limit(ROWS_AT_ONCE)).all() if over > 0 else []
            gone = list(_until(rows, over))
            _drop(connection, [row.digest for row in gone])
        sizes += [row.size_bytes for row in gone]
        if len(gone) < ROWS_AT_ONCE:
            return sizes


def _until(rows: Sequence[Any], over: int) -> Iterable[Any]:
    for row in rows:
        if over <= 0:
            return
        over -= row.size_bytes
        yield row


def _unneeded() -> ColumnElement[bool]:
    at_work = job.c.state.in_((JobState.QUEUED, JobState.RUNNING)) & job.c.upload_digest.is_not(None)
    return upload.c.digest.not_in(select(job.c.upload_digest).where(at_work))


def _drop(connection: Connection, digests: Sequence[str]) -> None:
    """Deletes the parts of files; the row of one stays while a job names it."""
    connection.execute(delete(upload_part).where(upload_part.c.digest.in_(digests)))
    connection.execute(update(upload).where(upload.c.digest.in_(digests)).values(kept=False, symbols=None))
    named = select(job.c.upload_digest).where(job.c.upload_digest.is_not(None))
    connection.execute(delete(upload).where(upload.c.kept.is_(False), upload.c.digest.not_in(named)))


def _sweep_rows(database: Database, table: Table, key: ColumnElement[Any], old: ColumnElement[bool]) -> int:
    gone = 0
    while True:
        with database.writing() as connection:
            some = select(key).where(old).limit(ROWS_AT_ONCE)
            count = connection.execute(delete(table).where(key.in_(some))).rowcount
        gone += count
        if count < ROWS_AT_ONCE:
            return gone
