"""The share of a service that one tenant may use."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from tilewright.compiler_core.errors import RecordError
from tilewright.db.service.job_rows import JobState
from tilewright.db.storage.schema import job, upload
from tilewright.db.storage.writes import lock_name


class QuotaError(RecordError):
    """A tenant asks for more than its quota leaves room for; later there may be room."""


@dataclass(frozen=True)
class Quota:
    """Limits of each tenant: jobs that wait or run, trials that those may measure together, bytes of
    models stored for all its jobs, and the highest priority.
    """

    jobs: int
    trials: int
    stored_bytes: int
    priority: int


def require_room(connection: Connection, tenant: str, quota: Quota, trials: int, priority: int) -> None:
    """QuotaError where one more job with these trials is too much, in the transaction that makes it."""
    lock_name(connection, f"quota {tenant}")
    if priority > quota.priority:
        raise QuotaError(f"priority {priority} is above {quota.priority}, the highest that is allowed here")
    under_way = (job.c.tenant == tenant, job.c.state.in_((JobState.QUEUED, JobState.RUNNING)))
    counted = select(func.count(), func.coalesce(func.sum(job.c.trials), 0)).where(*under_way)
    jobs, asked = connection.execute(counted).one()
    if jobs >= quota.jobs:
        raise QuotaError(f"{jobs} jobs of this tenant wait or run, as many as it may have")
    if asked + trials > quota.trials:
        raise QuotaError(
            f"{trials} trials on top of the {asked} of this tenant's jobs are more than its {quota.trials}"
        )


def require_space(connection: Connection, tenant: str, quota: Quota, more_bytes: int) -> None:
    """QuotaError where so many more bytes do not fit beside the models of a tenant's jobs."""
    its_own = select(job.c.upload_digest).where(job.c.tenant == tenant)
    stored = select(func.coalesce(func.sum(upload.c.size_bytes), 0)).where(
        upload.c.digest.in_(its_own), upload.c.kept
    )
    taken = int(connection.execute(stored).scalar_one())
    if taken + more_bytes > quota.stored_bytes:
        raise QuotaError(
            f"the models of this tenant take {taken} bytes; {more_bytes} more are above its"
            f" {quota.stored_bytes}"
        )
