"""Hiding records that a newer toolchain made stale. Nothing is deleted; hidden records can be shown again."""

from collections.abc import Iterator

from sqlalchemy import Connection, exists, select, update

from tilewright.db.answers import derive_again
from tilewright.db.records import Key, Purpose
from tilewright.db.storage.columns import database_clock
from tilewright.db.storage.schema import best, run, trial, workload
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective


def hide_stale(database: Database, toolchain: str, target_digest: str | None = None) -> list[str]:
    """Hides the finished runs of a device's other toolchains that `toolchain` has answered for; their uids.

    Devices are those that have measured under `toolchain`: no simulator answers for a board. A run is hidden
    when each workload that it searched has a best under the same target and objective and the current
    toolchain: so nothing is hidden that is still the only prior there is. Hidden runs are left out of priors,
    of counts, of exports and of what best is derived from.
    """
    answered = exists().where(
        best.c.workload_digest == workload.c.digest,
        best.c.target_digest == run.c.target_digest,
        best.c.objective == run.c.objective,
        best.c.toolchain == toolchain,
    )
    unanswered = exists().where(
        trial.c.run_id == run.c.id,
        trial.c.workload_id == workload.c.id,
        trial.c.purpose != Purpose.CANARY,
        ~answered,
    )
    current = run.alias()
    stale = select(run.c.id, run.c.uid).where(
        run.c.toolchain != toolchain,
        run.c.device.in_(select(current.c.device).where(current.c.toolchain == toolchain)),
        run.c.finished_at_s.is_not(None),
        run.c.hidden_at_s.is_(None),
        ~unanswered,
    )
    if target_digest is not None:
        stale = stale.where(run.c.target_digest == target_digest)
    with database.writing() as connection:
        rows = connection.execute(stale.order_by(run.c.uid)).all()
        _set_hidden(connection, [row.id for row in rows], hide=True)
    return [row.uid for row in rows]


def show_again(database: Database, uids: list[str]) -> None:
    """Undoes `hide_stale` for these runs."""
    with database.writing() as connection:
        ids = connection.execute(select(run.c.id).where(run.c.uid.in_(uids))).scalars().all()
        _set_hidden(connection, list(ids), hide=False)


def _set_hidden(connection: Connection, ids: list[int], *, hide: bool) -> None:
    for run_id in ids:
        connection.execute(
            update(run).where(run.c.id == run_id).values(hidden_at_s=database_clock() if hide else None)
        )
    for key in {key for run_id in ids for key in _keys(connection, run_id)}:
        derive_again(connection, key)


def _keys(connection: Connection, run_id: int) -> Iterator[Key]:
    question = (
        select(workload.c.digest, run.c.target_digest, run.c.toolchain, run.c.objective)
        .join(trial, trial.c.workload_id == workload.c.id)
        .join(run, run.c.id == trial.c.run_id)
        .where(run.c.id == run_id)
        .distinct()
    )
    for row in connection.execute(question):
        yield Key(row.digest, row.target_digest, row.toolchain, Objective(row.objective))
