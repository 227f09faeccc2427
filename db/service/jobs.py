"""Jobs: requests that wait in the database for a runner, and the leases under which runners hold them.

A lease is fenced: each time a job is leased its token grows. A runner with an older token, or whose lease has
run out, can write nothing more for the job. All times are the database's own clock.

    queued -> running -> succeeded | failed | cancelled
    queued -> cancelled;  running -> running (next token) when the lease ran out
"""

import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import RecordError
from tilewright.db.service.job_rows import (
    ENDED,
    NOTHING_SAID,
    About,
    JobEvent,
    JobLease,
    JobRow,
    JobState,
    KeyReusedError,
    Page,
    columns_of_lines,
    to_job,
    to_lease,
    to_line,
)
from tilewright.db.service.leases import Guard, LeaseLostError, granted, guard_of, latest, prolong, running
from tilewright.db.service.queue import give_turn, next_job
from tilewright.db.service.quotas import Quota, require_room
from tilewright.db.storage.columns import database_clock
from tilewright.db.storage.near import parse_json
from tilewright.db.storage.schema import job, job_event
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import lock_name

MOST_ATTEMPTS = 5
LARGEST_PAGE = 500
LARGEST_OUTLINE = 2000


class Jobs:
    """Verbs on jobs; the promises on threads, transactions and errors are those of Repository."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def submit(
        self,
        tenant: str,
        spec: str,
        upload_digest: str | None = None,
        idempotency_key: str | None = None,
        priority: int = 0,
        about: About = NOTHING_SAID,
        quota: Quota | None = None,
    ) -> tuple[JobRow, bool]:
        """Queues a job; (the job, whether it is new). Of a tenant's jobs the most urgent is leased first.

        The same tenant, idempotency key and request give the first job again; KeyReusedError when the request
        differs. QuotaError when a new job is more than the tenant's `quota` leaves room for.
        """
        parse_json(spec, "spec of the job")
        request = digest_of([spec, upload_digest, priority])
        with self.database.writing() as connection:
            if idempotency_key is not None:
                lock_name(connection, f"job {tenant} {idempotency_key}")
                same = (job.c.tenant == tenant, job.c.idempotency_key == idempotency_key)
                row = connection.execute(select(job).where(*same)).first()
                if row is not None and row.request_digest != request:
                    raise KeyReusedError(
                        f"Idempotency-Key {idempotency_key[:80]!r} belongs to another request; use a new one"
                    )
                if row is not None:
                    return to_job(row), False
            if quota is not None:
                require_room(connection, tenant, quota, about.trials, priority)
            uid = secrets.token_hex(16)
            connection.execute(
                insert(job),
                {
                    "uid": uid,
                    "tenant": tenant,
                    "state": JobState.QUEUED,
                    "spec": spec,
                    "upload_digest": upload_digest,
                    "priority": priority,
                    "idempotency_key": idempotency_key,
                    "request_digest": request,
                    **asdict(about),
                },
            )
            return to_job(connection.execute(select(job).where(job.c.uid == uid)).one()), True

    def get(self, uid: str, tenant: str | None = None) -> JobRow | None:
        """The job, unless it belongs to another tenant than asked for."""
        rows = self.database.ask(select(job).where(*_is(uid, tenant)))
        return to_job(rows[0]) if rows else None

    def list(
        self,
        tenant: str | None = None,
        state: JobState | None = None,
        cursor: str | None = None,
        limit: int = 50,
        beginning: str = "",
    ) -> Page:
        """Jobs newest first, each as a short line; those whose uid begins with `beginning`, hex digits.

        RecordError for a cursor that no page gave.
        """
        limit = max(1, min(limit, LARGEST_PAGE))
        question = select(*columns_of_lines()).order_by(job.c.id.desc()).limit(limit + 1)
        if tenant is not None:
            question = question.where(job.c.tenant == tenant)
        if state is not None:
            question = question.where(job.c.state == state)
        if beginning:
            question = question.where(job.c.uid.between(beginning, beginning + "g"))  # "g" is beyond "f"
        if cursor is not None:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
                raise RecordError(f"cursor {cursor[:40]!r} is not one that a page of jobs gave")
            question = question.where(job.c.id < int(cursor))
        rows = self.database.ask(question)
        more = len(rows) > limit
        return Page(tuple(map(to_line, rows[:limit])), str(rows[limit - 1].id) if more else None)

    def counts(self) -> dict[JobState, int]:
        """The number of jobs by state."""
        rows = self.database.ask(select(job.c.state, func.count().label("jobs")).group_by(job.c.state))
        found = {row.state: row.jobs for row in rows}
        return {state: found.get(state, 0) for state in JobState}

    def lease(self, runner: str, duration_s: float, offered: str = "") -> JobLease | None:
        """The next job that waits or whose runner let its lease run out, if there is one: tenants take turns
        (queue.py), and of a tenant's jobs the most urgent, then the oldest comes first.

        Jobs for a CPU go to runners that have `offered` it. A job whose lease ran out MOST_ATTEMPTS times
        without progress is failed, a cancelled one is ended.
        """
        with self.database.writing() as connection:
            while (row := next_job(connection, offered)) is not None:
                if row.cancel_requested:
                    _end(connection, job.c.id == row.id, JobState.CANCELLED, None, "")
                elif row.attempts >= MOST_ATTEMPTS:
                    error = (
                        f"its runner was lost {MOST_ATTEMPTS} times without progress, at last {row.runner!r}"
                    )
                    _end(connection, job.c.id == row.id, JobState.FAILED, None, error)
                else:
                    given = {"state": JobState.RUNNING, "runner": runner, "attempts": job.c.attempts + 1}
                    lease = {**given, **granted(job, duration_s)}
                    connection.execute(update(job).where(job.c.id == row.id).values(lease))
                    give_turn(connection, row.tenant)
                    return to_lease(connection.execute(select(job).where(job.c.id == row.id)).one())
        return None

    def heartbeat(self, lease: JobLease, duration_s: float) -> JobLease:
        """Prolongs a lease; the job that comes back shows whether a cancel was requested. LeaseLostError when
        it ran out.
        """
        with self.database.writing() as connection:
            prolong(connection, job, _holds(lease), duration_s, _lost(lease))
            return to_lease(connection.execute(select(job).where(job.c.uid == lease.job.uid)).one())

    def guard(self, lease: JobLease) -> Guard:
        """The check that `commit_trials` and `finish_run` make inside their own transaction."""
        return guard_of(job, _holds(lease), _lost(lease))

    def finish(self, lease: JobLease, state: JobState, result: str | None = None, error: str = "") -> None:
        """Ends a job that is still held; `result` is JSON text. LeaseLostError when it is held no more."""
        if state not in ENDED:
            raise RecordError(f"a job ends as one of {', '.join(ENDED)}, not as {state}")
        if result is not None:
            parse_json(result, "result of the job")
        with self.database.writing() as connection:
            if _end(connection, _holds(lease), state, result, error) != 1:
                raise _lost(lease)

    def release(self, lease: JobLease) -> None:
        """Puts a job back into the queue, for a runner that shuts down; it does not count as an attempt."""
        with self.database.writing() as connection:
            changed = connection.execute(
                update(job)
                .where(_holds(lease))
                .values(state=JobState.QUEUED, lease_until_s=None, attempts=job.c.attempts - 1)
            )
            if changed.rowcount != 1:
                raise _lost(lease)

    def cancel(self, uid: str, tenant: str | None = None) -> JobRow | None:
        """Cancels a waiting job at once, asks the runner of a running one; no change to one that ended."""
        with self.database.writing() as connection:
            question = select(job).where(*_is(uid, tenant)).with_for_update()
            row = connection.execute(question).first()
            if row is None:
                return None
            if row.state == JobState.QUEUED:
                _end(connection, job.c.id == row.id, JobState.CANCELLED, None, "")
            elif row.state == JobState.RUNNING:
                connection.execute(update(job).where(job.c.id == row.id).values(cancel_requested=True))
            return to_job(connection.execute(select(job).where(job.c.id == row.id)).one())

    def add_event(self, lease: JobLease, kind: str, body: str, progress: bool = False) -> None:
        """Appends to the story of a job that is still held; with `progress`, earlier losses are forgiven."""
        parse_json(body, "body of the event")
        with self.database.writing() as connection:
            self.guard(lease)(connection)
            job_id = connection.execute(select(job.c.id).where(job.c.uid == lease.job.uid)).scalar_one()
            if progress:
                connection.execute(
                    update(job).where(job.c.id == job_id, job.c.attempts > 1).values(attempts=1)
                )
            last = select(func.coalesce(func.max(job_event.c.number), 0)).where(job_event.c.job_id == job_id)
            number = connection.execute(last).scalar_one() + 1
            connection.execute(
                insert(job_event), {"job_id": job_id, "number": number, "kind": kind, "body": body}
            )

    def events(self, uid: str, after: int = 0, limit: int = LARGEST_PAGE) -> Sequence[JobEvent]:
        """The events of a job with a number above `after`, in order."""
        question = (
            select(job_event)
            .join(job, job.c.id == job_event.c.job_id)
            .where(job.c.uid == uid, job_event.c.number > after)
            .order_by(job_event.c.number)
            .limit(limit)
        )
        return [
            JobEvent(row.number, row.kind, row.body, row.created_at_s) for row in self.database.ask(question)
        ]

    def outline(self, uid: str, most: int = LARGEST_OUTLINE) -> Sequence[JobEvent]:
        """The events of a job, thinned out evenly to about `most`; the first and the last stay."""
        of_job = (job.c.uid == uid) & (job_event.c.job_id == job.c.id)
        counted = self.database.ask(select(func.count().label("events")).where(of_job))[0].events
        every = max(1, math.ceil(counted / most))
        some = job_event.c.number % every == counted % every
        question = select(job_event).where(of_job, some | (job_event.c.number == 1))
        return [
            JobEvent(row.number, row.kind, row.body, row.created_at_s)
            for row in self.database.ask(question.order_by(job_event.c.number))
        ]


def _is(uid: str, tenant: str | None) -> list[ColumnElement[bool]]:
    return [job.c.uid == uid] if tenant is None else [job.c.uid == uid, job.c.tenant == tenant]


def _holds(lease: JobLease) -> ColumnElement[bool]:
    return latest(job, lease.job.uid, lease.token) & running(job) & (job.c.state == JobState.RUNNING)


def _lost(lease: JobLease) -> LeaseLostError:
    return LeaseLostError(
        f"job {lease.job.uid}: the lease with token {lease.token} is lost; stop working on it"
    )


def _end(
    connection: Connection,
    which: ColumnElement[bool],
    state: JobState,
    result: str | None,
    error: str,
) -> int:
    return connection.execute(
        update(job)
        .where(which)
        .values(state=state, result=result, error=error, lease_until_s=None, finished_at_s=database_clock())
    ).rowcount
