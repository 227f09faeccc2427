"""Verbs that answer: the best of a key, derived from records, published and found again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, exists, insert, or_, select, text
from sqlalchemy.sql.elements import ColumnElement

from tilewright.db.derive import best_value, derive_best, derive_default, objection, ranked_for
from tilewright.db.records import (
    Best,
    Key,
    Purpose,
    TrialRow,
    WorkloadKind,
    WorkloadRow,
)
from tilewright.db.storage.rows import best_columns, select_trial, to_best, to_trial
from tilewright.db.storage.schema import best, run, signature, trial, workload
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import lock_name, pieces
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status

_answer_columns = [
    column for column in best.c if column.name not in ("target_digest", "toolchain", "objective")
]
_of_context = (
    best.c.target_digest == bindparam("target_digest"),
    best.c.toolchain == bindparam("toolchain"),
    best.c.objective == bindparam("objective"),
)
_select_one: Select[Any] = select(*_answer_columns[1:]).where(
    best.c.workload_digest == bindparam("workload_digest"), *_of_context
)
_select_many: Select[Any] = select(*_answer_columns).where(
    best.c.workload_digest.in_(bindparam("digests", expanding=True)), *_of_context
)
_select_answered: Select[Any] = select(best.c.workload_digest).where(*_of_context)
_select_families: Select[Any] = (
    select(best, workload.c.family_digest, workload.c.kind, workload.c.placement, workload.c.body)
    .join(workload, workload.c.digest == best.c.workload_digest)
    .where(workload.c.family_digest.in_(bindparam("families", expanding=True)), *_of_context)
    .order_by(best.c.latency_us, best.c.workload_digest)
)
# Publishing depends on confirmations, and on any proof that a config computes wrong numbers.
# Of others' records only those count that a trusted key vouches for.
_vouched = exists().where(signature.c.trial_id == trial.c.id, signature.c.vouched)
_deciding: Select[Any] = select_trial.where(
    or_(trial.c.purpose == Purpose.CONFIRMATION, trial.c.status == Status.WRONG),
    or_(trial.c.imported.is_(False), _vouched),
    run.c.hidden_at_s.is_(None),
)
_ROWS_AT_A_TIME = 10_000


class Answers:
    """Best records. They are derived, never entered: publishing derives them again from the trials."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def best(self, key: Key) -> Best | None:
        """The best of exactly this key, by one indexed read."""
        rows = self.database.ask(
            _select_one,
            {
                "workload_digest": key.workload_digest,
                "target_digest": key.target_digest,
                "toolchain": key.toolchain,
                "objective": key.objective,
            },
        )
        return to_best(rows[0], key) if rows else None

    def fastest_readings(self, key: Key, limit: int) -> list[TrialRow]:
        """The successful measurements of a key that took least, at most `limit`, the fastest first."""
        question = (
            select_trial.where(
                *_measures(key),
                trial.c.status == Status.OK,
                trial.c.imported.is_(False),
                run.c.hidden_at_s.is_(None),
            )
            .order_by(trial.c.latency_us, trial.c.id)
            .limit(limit)
        )
        return [to_trial(row) for row in self.database.ask(question)]

    def best_many(
        self,
        workloads: Sequence[str],
        target_digest: str,
        toolchain: str,
        objective: Objective = Objective.LATENCY,
        before_s: float | None = None,
    ) -> dict[str, Best]:
        """The best of each workload that has one, by digest; one query.

        With `before_s` the best at that moment, derived anew from the trials until then.
        """
        found: dict[str, Best] = {}
        if before_s is not None:
            context = (
                run.c.target_digest == target_digest,
                run.c.toolchain == toolchain,
                run.c.objective == objective,
                trial.c.created_at_s < before_s,
            )
            for some in pieces(workloads):
                with self.database.snapshot() as connection:
                    for each in _derive_all(connection, workload.c.digest.in_(some), *context):
                        found[each.key.workload_digest] = each
            return found
        if len(workloads) == 1:
            key = Key(workloads[0], target_digest, toolchain, objective)
            one = self.best(key)
            return {} if one is None else {key.workload_digest: one}
        for some in pieces(workloads):
            asked = {
                "digests": some,
                "target_digest": target_digest,
                "toolchain": toolchain,
                "objective": objective,
            }
            for row in self.database.ask(_select_many, asked):
                key = Key(row.workload_digest, target_digest, toolchain, objective)
                found[row.workload_digest] = to_best(row, key)
        return found

    def workloads_with_best(
        self, target_digest: str, toolchain: str, objective: Objective, limit: int
    ) -> list[str]:
        """Digests of workloads that have a best, at most `limit`, in no order."""
        asked = {"target_digest": target_digest, "toolchain": toolchain, "objective": objective}
        rows = self.database.ask(_select_answered.limit(limit), asked)
        return [row.workload_digest for row in rows]

    def best_of_families(
        self,
        families: Sequence[str],
        target_digest: str,
        toolchain: str,
        objective: Objective = Objective.LATENCY,
    ) -> dict[str, list[tuple[WorkloadRow, Best]]]:
        """By family digest, the bests of its members under any placement, fastest first; one query."""
        found: dict[str, list[tuple[WorkloadRow, Best]]] = {}
        for some in pieces(families):
            asked = {
                "families": some,
                "target_digest": target_digest,
                "toolchain": toolchain,
                "objective": objective,
            }
            for row in self.database.ask(_select_families, asked):
                member = WorkloadRow(
                    row.workload_digest, row.family_digest, WorkloadKind(row.kind), row.placement, row.body
                )
                found.setdefault(row.family_digest, []).append((member, to_best(row)))
        return found

    def publish_best(self, key: Key) -> Best | None:
        """Derives the best of `key` again and serves it from now on; None when no trial may be published.

        To publish a config: verify it, measure it three more times, commit these as trials with purpose
        CONFIRMATION, their verification and their bound; and the default likewise, marked as such, on the
        same device. Committing them derives already; this verb repeats it and tells the outcome, and
        `why_not_best` explains a refusal.
        """
        with self.database.writing() as connection:
            return derive_again(connection, key)

    def why_not_best(self, key: Key, config_digest: str) -> str:
        """Why the config may not be published for `key`; empty when it may."""
        with self.database.snapshot() as connection:
            rows = [_counted(row) for row in connection.execute(_deciding.where(*_measures(key)))]
            return objection(rows, config_digest, _kind(connection, key))

    def default(self, key: Key) -> Best | None:
        """The latest measurement of the default of `key`; perhaps not verified."""
        question = _deciding.where(*_measures(key), trial.c.is_default)
        return derive_default(map(_counted, self.database.ask(question)))

    def rebuild_best(self) -> int:
        """Throws every best away and derives them all again from the trials; how many there are now."""
        with self.database.writing() as connection:
            if not self.database.on_sqlite:
                connection.execute(text("LOCK TABLE best IN ACCESS EXCLUSIVE MODE"))
            connection.execute(delete(best))
            derived = 0
            for some in _in_batches(_derive_all(connection)):
                connection.execute(insert(best), [best_columns(each) for each in some])
                derived += len(some)
        return derived

    def to_verify(self, target_digest: str, toolchain: str) -> list[TrialRow]:
        """Claims to measure again here: per key under `toolchain`, the best one that is not proven.

        Claims are good trials that were imported, made under another toolchain, or on a device that did not
        say its protocol, where there is no best of today's toolchain or the claim beats it. One per workload
        and objective, in that order.
        """
        question = select_trial.add_columns(workload.c.kind).where(
            run.c.target_digest == target_digest,
            run.c.hidden_at_s.is_(None),
            trial.c.status == Status.OK,
            trial.c.purpose != Purpose.CANARY,
            or_(trial.c.imported, run.c.toolchain != toolchain, run.c.protocol == ""),
        )
        claims: dict[tuple[str, Objective], tuple[float, tuple[bool, str], TrialRow]] = {}
        with self.database.snapshot() as connection:
            for row in connection.execute(question.execution_options(yield_per=_ROWS_AT_A_TIME)):
                claim = to_trial(row)
                kind = WorkloadKind(row.kind)
                value = ranked_for(claim.key.objective, kind).of(claim.trial.measurement)
                if value is None:
                    continue
                about = claim.key.workload_digest, claim.key.objective
                # Of claims that are as fast as each other, the one that its own database served.
                beside = claim.trial.purpose is not Purpose.CONFIRMATION, claim.trial.config.digest
                ranked = value, beside, claim
                if about not in claims or ranked[:2] < claims[about][:2]:
                    claims[about] = ranked
            published = (
                select(best, workload.c.kind)
                .join(workload, workload.c.digest == best.c.workload_digest)
                .where(best.c.target_digest == target_digest, best.c.toolchain == toolchain)
            )
            proven = {
                (found.key.workload_digest, found.key.objective): best_value(found, WorkloadKind(row.kind))
                for row in connection.execute(published)
                for found in (to_best(row),)
            }
        return [
            claim
            for about, (value, _, claim) in sorted(claims.items(), key=lambda item: item[0])
            if about not in proven or value < proven[about]
        ]

    def all_best(self) -> Iterator[Best]:
        """Every best in key order, from one consistent view."""
        question = select(best).order_by(
            best.c.workload_digest, best.c.target_digest, best.c.toolchain, best.c.objective
        )
        with self.database.snapshot() as connection:
            for row in connection.execute(question.execution_options(yield_per=_ROWS_AT_A_TIME)):
                yield to_best(row)


def derive_again(connection: Connection, key: Key) -> Best | None:
    """Replaces the best of `key` inside a transaction of the caller; two that do so take turns."""
    lock_name(connection, f"best {key.workload_digest} {key.target_digest} {key.toolchain} {key.objective}")
    found = _derive(connection, key)
    connection.execute(delete(best).where(*_is(key)))
    if found is not None:
        connection.execute(insert(best), best_columns(found))
    return found


def _derive(connection: Connection, key: Key) -> Best | None:
    rows = [_counted(row) for row in connection.execute(_deciding.where(*_measures(key)))]
    return derive_best(rows, _kind(connection, key)) if rows else None


def _derive_all(connection: Connection, *of: ColumnElement[bool]) -> Iterator[Best]:
    """The best of every key that has one, from the trials `of` which all this holds."""
    question = (
        _deciding.where(*of)
        .add_columns(workload.c.kind)
        .order_by(trial.c.workload_id, run.c.target_digest, run.c.toolchain, run.c.objective)
    )
    rows = connection.execute(question.execution_options(yield_per=_ROWS_AT_A_TIME))
    pairs = ((_counted(row), WorkloadKind(row.kind)) for row in rows)
    for _, same in groupby(pairs, key=lambda pair: pair[0].key):
        of_key = list(same)
        found = derive_best([row for row, _ in of_key], of_key[0][1])
        if found is not None:
            yield found


def _counted(row: Any) -> TrialRow:
    """A row of `_deciding`: measured here, or vouched for."""
    return replace(to_trial(row), imported=False)


def _in_batches(bests: Iterator[Best]) -> Iterator[list[Best]]:
    some: list[Best] = []
    for each in bests:
        some.append(each)
        if len(some) == _ROWS_AT_A_TIME:
            yield some
            some = []
    if some:
        yield some


def _measures(key: Key) -> tuple[Any, ...]:
    return (
        workload.c.digest == key.workload_digest,
        run.c.target_digest == key.target_digest,
        run.c.toolchain == key.toolchain,
        run.c.objective == key.objective,
    )


def _is(key: Key) -> tuple[Any, ...]:
    return (
        best.c.workload_digest == key.workload_digest,
        best.c.target_digest == key.target_digest,
        best.c.toolchain == key.toolchain,
        best.c.objective == key.objective,
    )


def _kind(connection: Connection, key: Key) -> WorkloadKind:
    found = connection.execute(
        select(workload.c.kind).where(workload.c.digest == key.workload_digest)
    ).scalar()
    return WorkloadKind(found or WorkloadKind.KERNEL)
