"""The frozen values of jobs: their states, leases and events."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, func
from sqlalchemy.sql.elements import ColumnElement

from tilewright.compiler_core.errors import RecordError
from tilewright.db.storage.schema import job

LONGEST_LISTED_ERROR = 300
_LONG = ("tenant", "spec", "result", "error", "runner", "idempotency_key")


class KeyReusedError(RecordError):
    """An Idempotency-Key came back with another request."""


class JobState(StrEnum):
    """The states of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class JobRow:
    """A job as stored. `spec` and `result` are JSON texts; `upload_digest` names the model file."""

    uid: str
    tenant: str
    state: JobState
    spec: str
    upload_digest: str | None
    priority: int
    cancel_requested: bool
    runner: str
    attempts: int
    result: str | None
    error: str
    created_at_s: float
    finished_at_s: float | None


@dataclass(frozen=True)
class About:
    """The facts of a job for lists and quotas, all of them short. `trials` is how many it may measure."""

    model_name: str = ""
    target_name: str = ""
    objective: str = ""
    trials: int = 0


NOTHING_SAID = About()


@dataclass(frozen=True)
class JobLine:
    """A job in a list: names and digests, and no field of unbounded length."""

    uid: str
    state: JobState
    about: About
    request_digest: str
    upload_digest: str | None
    priority: int
    cancel_requested: bool
    attempts: int
    error: str
    created_at_s: float
    finished_at_s: float | None


@dataclass(frozen=True)
class JobLease:
    """The right to work on a job until `until_s`; `token` is what fences out earlier holders."""

    job: JobRow
    token: int
    until_s: float


@dataclass(frozen=True)
class JobEvent:
    """One line of a job's story; `number` counts from 1 without gaps, `body` is JSON text."""

    number: int
    kind: str
    body: str
    created_at_s: float


@dataclass(frozen=True)
class Page:
    """Some jobs, newest first, and the cursor of the next page (None on the last)."""

    jobs: tuple[JobLine, ...]
    cursor: str | None


def to_lease(row: Row[Any]) -> JobLease:
    """A row of table job that has just been leased."""
    return JobLease(to_job(row), row.lease_token, row.lease_until_s)


def columns_of_lines() -> tuple[ColumnElement[Any], ...]:
    """The columns of table job that `to_line` takes."""
    whole = [column for column in job.c if column.name not in _LONG]
    return (*whole, func.substr(job.c.error, 1, LONGEST_LISTED_ERROR).label("error"))


def to_line(row: Row[Any]) -> JobLine:
    """A row of `columns_of_lines`."""
    return JobLine(
        uid=row.uid,
        state=JobState(row.state),
        about=About(row.model_name, row.target_name, row.objective, row.trials),
        request_digest=row.request_digest,
        upload_digest=row.upload_digest,
        priority=row.priority,
        cancel_requested=row.cancel_requested,
        attempts=row.attempts,
        error=row.error,
        created_at_s=row.created_at_s,
        finished_at_s=row.finished_at_s,
    )


def to_job(row: Row[Any]) -> JobRow:
    """A row of table job."""
    return JobRow(
        uid=row.uid,
        tenant=row.tenant,
        state=JobState(row.state),
        spec=row.spec,
        upload_digest=row.upload_digest,
        priority=row.priority,
        cancel_requested=row.cancel_requested,
        runner=row.runner,
        attempts=row.attempts,
        result=row.result,
        error=row.error,
        created_at_s=row.created_at_s,
        finished_at_s=row.finished_at_s,
    )
