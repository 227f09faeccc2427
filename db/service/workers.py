"""The workers ever seen, and which of them are in quarantine."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, select, update

from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import plain_name, plain_text
from tilewright.db.storage.columns import database_clock
from tilewright.db.storage.schema import worker
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import insert_missing


class WorkerState(StrEnum):
    """Quarantined: a canary came back wrong, and its answers since the last good one are measured again."""

    HEALTHY = "healthy"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class WorkerRow:
    """A worker as of its last report."""

    name: str
    device: str
    state: WorkerState
    reason: str
    first_seen_at_s: float
    last_seen_at_s: float


@dataclass(frozen=True)
class WorkerNews:
    """A pool's report on one of its workers; `reason` where it is quarantined."""

    name: str
    device: str
    state: WorkerState = WorkerState.HEALTHY
    reason: str = ""


def note_seen(connection: Connection, workers: Iterable[WorkerNews]) -> None:
    """Notes, inside a transaction of the caller, that these workers are alive, and their states."""
    for each in sorted(workers, key=lambda worker: worker.name):  # in one order, or two runs may deadlock
        row = {
            "name": plain_name(each.name),
            "device": plain_name(each.device),
            "state": each.state,
            "reason": plain_text(each.reason),
        }
        insert_missing(connection, worker, [row], key="name")
        connection.execute(
            update(worker).where(worker.c.name == row["name"]).values(**row, last_seen_at_s=database_clock())
        )


class Workers:
    """Verbs on workers; the promises on threads, transactions and errors are those of Repository."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def seen(self, name: str, device: str) -> None:
        """Notes that the worker is alive; its state does not change."""
        with self.database.writing() as connection:
            first = {"name": name, "device": device, "state": WorkerState.HEALTHY, "reason": ""}
            insert_missing(connection, worker, [first], key="name")
            connection.execute(
                update(worker)
                .where(worker.c.name == name)
                .values(device=device, last_seen_at_s=database_clock())
            )

    def judge(self, name: str, state: WorkerState, reason: str = "") -> None:
        """Quarantines a worker or lets it back. RecordError when it was never seen."""
        with self.database.writing() as connection:
            changed = connection.execute(
                update(worker).where(worker.c.name == name).values(state=state, reason=reason)
            )
            if changed.rowcount != 1:
                raise RecordError(f"worker {name!r} was never seen by this database")

    def list(self) -> list[WorkerRow]:
        """Every worker by name."""
        return [
            WorkerRow(
                row.name,
                row.device,
                WorkerState(row.state),
                row.reason,
                row.first_seen_at_s,
                row.last_seen_at_s,
            )
            for row in self.database.ask(select(worker).order_by(worker.c.name))
        ]
