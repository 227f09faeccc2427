"""Verbs that record: targets, workloads, models, runs and their trials."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from tilewright.compiler_core.errors import RecordError
from tilewright.db.answers import derive_again
from tilewright.db.records import (
    Effort,
    Key,
    ModelRow,
    NewRun,
    Purpose,
    RunRow,
    TargetRow,
    Trial,
    TrialRow,
    WorkloadKind,
    WorkloadRow,
    check_digest,
    plain_name,
    plain_text,
)
from tilewright.db.service.leases import Guard
from tilewright.db.service.run_leases import start_run
from tilewright.db.service.workers import WorkerNews, note_seen
from tilewright.db.storage.columns import database_clock
from tilewright.db.storage.rows import (
    in_trial_order,
    select_trial,
    to_run,
    to_trial,
    to_workload,
    trial_columns,
    workload_columns,
)
from tilewright.db.storage.schema import effort, model, run, target, trial, workload
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import pieces, put, run_ids, workload_ids
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status

LEAST_PREFIX = 4
"""Characters of a uid that may stand for all of it."""


class Runs:
    """Runs and trials. Each verb that writes is one transaction; the promises are those of Repository."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put_target(self, row: TargetRow) -> None:
        """Adds a target. Its text replaces that of an import with the same digest."""
        check_digest(row.digest, "target")
        with self.database.writing() as connection:
            put(connection, target, [{"digest": row.digest, "name": plain_name(row.name), "text": row.text}])

    def put_workloads(self, rows: Iterable[WorkloadRow]) -> None:
        """Adds workloads. Their texts replace those of an import with the same digest."""
        columns = [workload_columns(row) for row in rows]
        with self.database.writing() as connection:
            put(connection, workload, columns)

    def put_model(self, row: ModelRow) -> None:
        """Makes a model known by its graph digest; the latest name stays."""
        check_digest(row.digest, "model")
        with self.database.writing() as connection:
            put(connection, model, [{"digest": row.digest, "name": plain_name(row.name)}])

    def start_run(self, asked: NewRun) -> RunRow:
        """A new run that nobody leases. RecordError when its uid is taken or its target or model was never
        put.
        """
        with self.database.writing() as connection:
            return start_run(connection, asked)

    def run(self, uid: str) -> RunRow:
        """The run of that uid; RecordError when there is none."""
        rows = self.database.ask(select(run).where(run.c.uid == uid))
        if not rows:
            raise RecordError(f"run {uid!r} is not in the database; `tune db stats` lists those that are")
        return to_run(rows[0])

    def run_called(self, text: str) -> RunRow:
        """The run whose uid is `text`, or alone begins with it; RecordError where none or several do."""
        whole = self.database.ask(select(run).where(run.c.uid == text))
        if whole or len(text) < LEAST_PREFIX:
            return self.run(text)
        rows = self.database.ask(select(run).where(run.c.uid.startswith(text, autoescape=True)).limit(2))
        if len(rows) > 1:
            raise RecordError(f"run {text!r} may be {rows[0].uid}, {rows[1].uid} or others; give more of it")
        return to_run(rows[0]) if rows else self.run(text)

    def runs(self, limit: int = 100, *, budgeted: bool = False) -> list[RunRow]:
        """The latest runs, newest first, hidden ones left out; with `budgeted` those that had any trials to
        spend.
        """
        question = select(run).where(_shown(budgeted)).order_by(run.c.id.desc()).limit(limit)
        return [to_run(row) for row in self.database.ask(question)]

    def runs_on(self, key: Key, others: Sequence[str] = ()) -> list[RunRow]:
        """The runs of a network, and of `others` under the same key, newest first, hidden ones left out."""
        question = select(run).where(
            _shown(budgeted=False),
            run.c.target_digest == key.target_digest,
            run.c.toolchain == key.toolchain,
            run.c.objective == key.objective,
        )
        found = [
            row
            for some in pieces((key.workload_digest, *others))
            for row in self.database.ask(question.where(run.c.model_digest.in_(some)))
        ]
        return [to_run(row) for row in sorted(found, key=lambda row: -row.id)]

    def count_runs(self, *, budgeted: bool = False) -> int:
        """The number of runs that `runs` lists."""
        (row,) = self.database.ask(select(func.count().label("number")).where(_shown(budgeted)))
        return int(row.number)

    def finish_run(
        self,
        uid: str,
        stop_reason: str,
        regret_estimate: float | None = None,
        efforts: Sequence[Effort] = (),
        guard: Guard | None = None,
    ) -> None:
        """Closes a run, once, and enters its trials on each workload into the ledger."""
        with self.database.writing() as connection:
            if guard is not None:
                guard(connection)
            closed = connection.execute(
                update(run)
                .where(run.c.uid == uid, run.c.finished_at_s.is_(None), run.c.imported.is_(False))
                .values(
                    finished_at_s=database_clock(),
                    lease_until_s=None,
                    stop_reason=plain_text(stop_reason),
                    regret_estimate=regret_estimate,
                )
            )
            if closed.rowcount != 1:
                raise RecordError(f"run {uid!r} is not open here; it was finished before, or never started")
            run_id = run_ids(connection, [uid])[uid]
            ids = workload_ids(connection, (each.workload_digest for each in efforts))
            entries = [
                {
                    "run_id": run_id,
                    "workload_id": ids[each.workload_digest],
                    "trials_budget": each.trials_budget,
                    "regret_estimate": each.regret_estimate,
                }
                for each in efforts
            ]
            if entries:
                connection.execute(insert(effort), entries)

    def commit_trials(
        self, trials: Sequence[Trial], guard: Guard | None = None, workers: Sequence[WorkerNews] = ()
    ) -> None:
        """Appends a batch, all or nothing; when it returns, the batch is durable. `workers` measured it.

        Where a trial decides about a best (a confirmation, or wrong numbers), that best is derived again in
        the same transaction. `guard` (of a lease) is asked first, there too. RecordError when a trial is
        there already, when its run was never started or its workload never put, or when the lease is lost.
        """
        if not trials:
            return
        with self.database.writing() as connection:
            if guard is not None:
                guard(connection)
            runs = run_ids(connection, (each.run for each in trials))
            workloads = workload_ids(connection, (each.workload_digest for each in trials))
            rows = [trial_columns(each, runs[each.run], workloads[each.workload_digest]) for each in trials]
            try:
                connection.execute(insert(trial), rows)
            except IntegrityError as error:
                first = trials[0]
                raise RecordError(
                    f"run {first.run!r}: a trial from number {first.number} on is recorded already or breaks "
                    f"a rule of the table ({' '.join(str(error.orig).split())[:200]}); nothing was written"
                ) from error
            note_seen(connection, workers)
            for key in _decided(connection, trials):
                derive_again(connection, key)

    def trials_of_run(self, uid: str, purpose: Purpose | None = Purpose.SEARCH) -> list[TrialRow]:
        """The trials of one run by number and attempt; every purpose when `purpose` is None."""
        question = select_trial.where(run.c.uid == uid)
        if purpose is not None:
            question = question.where(trial.c.purpose == purpose)
        return self._trials(question.order_by(*in_trial_order))

    def trials_for(
        self, workloads: Sequence[str], target_digest: str | None = None, toolchain: str | None = None
    ) -> list[TrialRow]:
        """Search trials of these workloads, imported ones included, for priors. Not an answer to a lookup."""
        return self._prior_trials(
            [workload.c.digest.in_(some) for some in pieces(workloads)], target_digest, toolchain
        )

    def trials_of(
        self, configs: Sequence[tuple[str, str]], target_digest: str, toolchain: str
    ) -> list[TrialRow]:
        """Search trials of these Configs, each a workload's digest and its own."""
        pair = tuple_(workload.c.digest, trial.c.config_digest)
        return self._prior_trials([pair.in_(some) for some in pieces(configs, 2)], target_digest, toolchain)

    def family_trials(
        self, families: Sequence[str], target_digest: str | None = None, toolchain: str | None = None
    ) -> list[TrialRow]:
        """Search trials of every workload of these families, in any placement, for priors."""
        return self._prior_trials(
            [workload.c.family_digest.in_(some) for some in pieces(families)], target_digest, toolchain
        )

    def kernel_trials(self, toolchain: str, before_s: float, most: int) -> list[TrialRow]:
        """The latest `most` search trials of kernels on any target from before `before_s`, for priors."""
        question = select_trial.where(
            trial.c.purpose == Purpose.SEARCH,
            run.c.hidden_at_s.is_(None),
            run.c.toolchain == toolchain,
            workload.c.kind == WorkloadKind.KERNEL,
            trial.c.created_at_s < before_s,
        )
        return self._trials(question.order_by(trial.c.created_at_s.desc(), *in_trial_order).limit(most))

    def workloads(self, digests: Sequence[str]) -> dict[str, WorkloadRow]:
        """Workloads by digest; those never put are left out."""
        found: dict[str, WorkloadRow] = {}
        for some in pieces(digests):
            rows = self.database.ask(select(workload).where(workload.c.digest.in_(some)))
            found.update((row.digest, to_workload(row)) for row in rows)
        return found

    def targets(self) -> list[TargetRow]:
        """Every target, by name and digest."""
        question = select(target).order_by(target.c.name, target.c.digest)
        return [TargetRow(row.digest, row.name, row.text) for row in self.database.ask(question)]

    def target(self, digest: str) -> TargetRow | None:
        """One target; None where it was never put."""
        rows = self.database.ask(select(target).where(target.c.digest == digest))
        return next((TargetRow(row.digest, row.name, row.text) for row in rows), None)

    def toolchains(self, target_digest: str) -> list[str]:
        """Those of the runs on a target that are not hidden, in order."""
        question = select(run.c.toolchain).where(
            run.c.target_digest == target_digest, run.c.hidden_at_s.is_(None)
        )
        return sorted({row.toolchain for row in self.database.ask(question.distinct())})

    def whole_digests(self, beginning: str) -> list[str]:
        """Digests of workloads that begin so; two of them where there are more."""
        question = select(workload.c.digest).where(
            workload.c.digest.between(beginning.ljust(64, "0"), beginning.ljust(64, "f"))
        )
        return [row.digest for row in self.database.ask(question.order_by(workload.c.digest).limit(2))]

    def _prior_trials(
        self, conditions: Sequence[Any], target_digest: str | None, toolchain: str | None
    ) -> list[TrialRow]:
        question = select_trial.where(trial.c.purpose == Purpose.SEARCH, run.c.hidden_at_s.is_(None))
        if target_digest is not None:
            question = question.where(run.c.target_digest == target_digest)
        if toolchain is not None:
            question = question.where(run.c.toolchain == toolchain)
        return [
            row
            for condition in conditions
            for row in self._trials(question.where(condition).order_by(*in_trial_order))
        ]

    def _trials(self, question: Select[Any]) -> list[TrialRow]:
        return [to_trial(row) for row in self.database.ask(question)]


def _shown(budgeted: bool) -> ColumnElement[bool]:
    shown = run.c.hidden_at_s.is_(None)
    return shown & (run.c.trials_budget > 0) if budgeted else shown


def _decided(connection: Connection, trials: Sequence[Trial]) -> list[Key]:
    """The keys whose best these trials may change, in an order on which all writers agree."""
    about = {
        (each.run, each.workload_digest)
        for each in trials
        if each.purpose is Purpose.CONFIRMATION or each.measurement.status is Status.WRONG
    }
    if not about:
        return []
    question = select(run).where(run.c.uid.in_({uid for uid, _ in about}))
    runs = {row.uid: row for row in connection.execute(question)}
    keys = {
        Key(digest, runs[uid].target_digest, runs[uid].toolchain, Objective(runs[uid].objective))
        for uid, digest in about
    }
    return sorted(
        keys, key=lambda key: (key.workload_digest, key.target_digest, key.toolchain, key.objective)
    )
