"""The order of jobs. Tenants take turns, so that neither many jobs nor urgent ones starve another tenant.

First comes the tenant of whom the fewest jobs run, among equals the one whose last turn is longest ago. Of a
tenant's jobs the most urgent comes first, among equals the oldest: priority says nothing between tenants.

    waiting  a: 3 3 0   b: 9   c: 1 1      one runner takes  a3 b9 c1 a3 c1 a0
"""

from typing import Any

from sqlalchemy import Connection, Row, case, func, or_, select, update

from tilewright.db.service.job_rows import JobState
from tilewright.db.service.leases import running
from tilewright.db.storage.schema import job, tenant
from tilewright.db.storage.writes import insert_missing

_held = (job.c.state == JobState.RUNNING) & running(job)
_waits = or_(job.c.state == JobState.QUEUED, (job.c.state == JobState.RUNNING) & ~running(job))


CPU = "cpu:"
"""Prefix of a job's target name where only a CPU of one kind can measure it."""


def next_job(connection: Connection, offered: str = "") -> Row[Any] | None:
    """The row of the job to lease, locked until the transaction ends; None where nothing waits.

    Jobs for a CPU are left to runners that have `offered` it, by its target's name.
    """
    named = func.coalesce(job.c.target_name, "")
    fits = or_(named.not_like(f"{CPU}%"), named == offered)
    for name in _in_turn(connection):
        mine = select(job).where(job.c.tenant == name, _waits, fits)
        mine = mine.order_by(job.c.priority.desc(), job.c.id)
        row = connection.execute(mine.limit(1).with_for_update(skip_locked=True)).first()
        if row is not None:
            return row
    return None


def give_turn(connection: Connection, name: str) -> None:
    """Notes that a tenant had its turn: everybody else comes before it now."""
    insert_missing(connection, tenant, [{"name": name, "turn": 0}], key="name")
    latest = select(func.max(tenant.c.turn) + 1).scalar_subquery()
    connection.execute(update(tenant).where(tenant.c.name == name).values(turn=latest))


def _in_turn(connection: Connection) -> list[str]:
    """Tenants with a job that waits, whose turn it is first."""
    held, waiting = (func.sum(case((which, 1), else_=0)) for which in (_held, _waits))
    question = (
        select(job.c.tenant)
        .outerjoin(tenant, tenant.c.name == job.c.tenant)
        .where(job.c.state.in_((JobState.QUEUED, JobState.RUNNING)))
        .group_by(job.c.tenant, tenant.c.turn)
        .having(waiting > 0)
        .order_by(held, func.coalesce(tenant.c.turn, 0), func.min(job.c.id))
    )
    return list(connection.execute(question).scalars())
