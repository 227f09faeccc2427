"""Leases on runs: of one network, on one target, for one objective, one run is under way at a time.

A second run learns who holds the lease, and may ask again. A run whose process has gone is taken over at
once, another one when its lease has run out; it goes on where its records end. A lease that ran out while
nobody else came, as on a laptop that slept, still holds.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Row, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import Key, NewRun, Purpose, RunRow, check_run, plain_text
from tilewright.db.service.leases import Guard, LeaseLostError, granted, guard_of, latest, prolong, running
from tilewright.db.storage.near import parse_json
from tilewright.db.storage.rows import run_columns, to_run
from tilewright.db.storage.schema import run, trial
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import lock_name


@dataclass(frozen=True)
class RunLease:
    """The right to write about a run; `token` fences out earlier holders."""

    run: RunRow
    token: int


@dataclass(frozen=True)
class BusyRun:
    """A run that another process has under way: `holder` names it, `trials` counts its trials so far."""

    run: RunRow
    holder: str
    trials: int


class RunLeases:
    """Verbs on leases of runs; the promises on threads, transactions and errors are those of Repository."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def take(
        self,
        asked: NewRun,
        holder: str,
        duration_s: float,
        is_gone: Callable[[str], bool] = lambda holder: False,
        ended: int | None = None,
    ) -> RunLease | BusyRun | None:
        """The run that does what is asked, leased: the latest left unfinished, or a new one.

        Another run of the same key that is under way comes back instead: not where its holder `is_gone`, nor
        where both are of one job, whose own lease says who works on it. None where not `ended` runs of the
        key have ended by now: what was asked for may have been done meanwhile.
        """
        check_run(asked)
        key = _key_of(asked)
        alike = and_(_of(key), run.c.finished_at_s.is_(None), run.c.imported.is_(False))
        with self.database.writing() as connection:
            lock_name(connection, f"run {key}")
            for row in connection.execute(select(run).where(alike, running(run))).all():
                if not is_gone(row.holder) and (asked.job is None or row.job != asked.job):
                    return BusyRun(to_run(row), row.holder, _searched(connection, row.id))
            if ended is not None and ended != _ended(connection, key):
                return None
            fence = {"lease_token": run.c.lease_token + 1, "lease_until_s": None}
            connection.execute(update(run).where(alike, run.c.lease_until_s.is_not(None)).values(fence))
            left = _left(connection, asked, alike)
            mine = start_run(connection, asked) if left is None else to_run(left)
            lease = {"holder": plain_text(holder)[:200], **granted(run, duration_s)}
            connection.execute(update(run).where(run.c.uid == mine.uid).values(lease))
            token = connection.execute(select(run.c.lease_token).where(run.c.uid == mine.uid)).scalar_one()
            return RunLease(mine, token)

    def ended(self, key: Key) -> int:
        """The number of runs of a key that have ended; read it before `take`."""
        with self.database.snapshot() as connection:
            return _ended(connection, key)

    def heartbeat(self, lease: RunLease, duration_s: float) -> None:
        """Prolongs a lease. LeaseLostError when another process took the run over, or it has ended."""
        with self.database.writing() as connection:
            prolong(connection, run, _still(lease), duration_s, _lost(lease))

    def guard(self, lease: RunLease) -> Guard:
        """The check that `commit_trials` and `finish_run` make inside their own transaction."""
        return guard_of(run, _still(lease), _lost(lease))

    def release(self, lease: RunLease) -> None:
        """Gives a lease back, if it is still held: the next run with the same request continues at once."""
        with self.database.writing() as connection:
            connection.execute(update(run).where(_still(lease)).values(lease_until_s=None))


def start_run(connection: Connection, asked: NewRun) -> RunRow:
    """A new run. RecordError when its uid is taken or its target or model was never put."""
    check_run(asked)
    parse_json(asked.settings, "settings of the run")
    parse_json(asked.versions, "versions of the run")
    asked = asked if asked.uid else replace(asked, uid=secrets.token_hex(16))
    try:
        connection.execute(insert(run), run_columns(asked))
    except IntegrityError as error:
        raise RecordError(
            f"run {asked.uid!r} cannot start: its uid is taken, or its target or model was never put"
        ) from error
    return to_run(connection.execute(select(run).where(run.c.uid == asked.uid)).one())


def _key_of(asked: NewRun) -> Key:
    if asked.model_digest is None:
        raise RecordError("a run without a model has no lease; only whole networks are tuned in turns")
    return Key(asked.model_digest, asked.target_digest, asked.toolchain, asked.objective)


def _of(key: Key) -> ColumnElement[bool]:
    return and_(
        run.c.model_digest == key.workload_digest,
        run.c.target_digest == key.target_digest,
        run.c.toolchain == key.toolchain,
        run.c.objective == key.objective,
    )


def _left(
    connection: Connection, asked: NewRun, alike: ColumnElement[bool]
) -> "Row[tuple[object, ...]] | None":
    """The latest unfinished run with the same request, of any versions."""
    columns = run_columns(asked).items()
    same = [run.c[name] == value for name, value in columns if name not in ("uid", "versions")]
    same += [run.c.uid == asked.uid] if asked.uid else []
    question = select(run).where(alike, *same, run.c.hidden_at_s.is_(None))
    return connection.execute(question.order_by(run.c.id.desc()).limit(1)).first()


def _ended(connection: Connection, key: Key) -> int:
    counted = select(func.count()).where(_of(key), run.c.finished_at_s.is_not(None))
    return connection.execute(counted).scalar_one()


def _searched(connection: Connection, run_id: int) -> int:
    counted = select(func.count()).where(trial.c.run_id == run_id, trial.c.purpose == Purpose.SEARCH)
    return connection.execute(counted).scalar_one()


def _still(lease: RunLease) -> ColumnElement[bool]:
    return latest(run, lease.run.uid, lease.token) & run.c.finished_at_s.is_(None)


def _lost(lease: RunLease) -> LeaseLostError:
    return LeaseLostError(
        f"run {lease.run.uid}: another process has taken it over;"
        " run the same line again to wait for its answer"
    )
