"""Verbs that count: trials spent on a key, rows of the database, coverage of a network."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select

from tilewright.db.answers import Answers
from tilewright.db.records import Key, Ledger, Purpose, WorkloadKind, WorkloadRow
from tilewright.db.storage.schema import best, effort, metadata, run, target, trial, workload
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective


@dataclass(frozen=True)
class ContextStats:
    """The number of records of one target under one toolchain and objective. `runs` had a budget of trials,
    `trials` are those that searches spent, as a run counts them; `others` are measurements of whole networks,
    confirmations and canaries.
    """

    target_name: str
    target_digest: str
    toolchain: str
    objective: Objective
    runs: int
    trials: int
    others: int
    bests: int


@dataclass(frozen=True)
class Stats:
    """Rows of each table, and the records by context; hidden runs count in the tables only."""

    rows: tuple[tuple[str, int], ...]
    contexts: tuple[ContextStats, ...]


@dataclass(frozen=True)
class Coverage:
    """The answers to the kernels of a network: digests in each of the three groups."""

    measured: tuple[str, ...]
    other_placement: tuple[str, ...]
    unknown: tuple[str, ...]


class Accounts:
    """Counting verbs; none of them writes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._answers = Answers(database)

    def ledger(self, key: Key) -> Ledger:
        """Trials that runs of this database (imported and hidden ones left out) spent on `key`."""
        of_key = (
            workload.c.digest == key.workload_digest,
            run.c.target_digest == key.target_digest,
            run.c.toolchain == key.toolchain,
            run.c.objective == key.objective,
            run.c.imported.is_(False),
            run.c.hidden_at_s.is_(None),
        )
        measured = (
            select(func.count(), func.count(trial.c.run_id.distinct()))
            .select_from(trial)
            .join(run, run.c.id == trial.c.run_id)
            .join(workload, workload.c.id == trial.c.workload_id)
            .where(*of_key, trial.c.purpose == Purpose.SEARCH, trial.c.imported.is_(False))
        )
        spent = (
            select(effort.c.trials_budget, effort.c.regret_estimate, run.c.tuner_version)
            .join(run, run.c.id == effort.c.run_id)
            .join(workload, workload.c.id == effort.c.workload_id)
            .where(*of_key)
            .order_by(run.c.id)
        )
        with self.database.snapshot() as connection:
            trials, runs = connection.execute(measured).one()
            efforts = connection.execute(spent).all()
        return Ledger(
            key=key,
            trials=trials,
            trials_budget=sum(row.trials_budget for row in efforts),
            runs=runs,
            tuner_version=efforts[-1].tuner_version if efforts else "",
            regret_estimate=efforts[-1].regret_estimate if efforts else None,
            best=self._answers.best(key),
        )

    def stats(self) -> Stats:
        """Counts, by table and by context."""
        context = (run.c.target_digest, run.c.toolchain, run.c.objective)
        is_spent = (trial.c.purpose == Purpose.SEARCH) & (workload.c.kind != WorkloadKind.GRAPH)
        counted = (
            select(
                *context,
                target.c.name,
                func.count(case((run.c.trials_budget > 0, run.c.id)).distinct()).label("runs"),
                func.count(trial.c.id).label("measured"),
                func.coalesce(func.sum(case((is_spent, 1), else_=0)), 0).label("trials"),
            )
            .join(target, target.c.digest == run.c.target_digest)
            .outerjoin(trial, trial.c.run_id == run.c.id)
            .outerjoin(workload, workload.c.id == trial.c.workload_id)
            .where(run.c.hidden_at_s.is_(None))
            .group_by(*context, target.c.name)
            .order_by(target.c.name, *context)
        )
        served = select(best.c.target_digest, best.c.toolchain, best.c.objective, func.count()).group_by(
            best.c.target_digest, best.c.toolchain, best.c.objective
        )
        with self.database.snapshot() as connection:
            rows = tuple(
                (table.name, connection.execute(select(func.count()).select_from(table)).scalar_one())
                for table in metadata.sorted_tables
            )
            bests = {tuple(row[:3]): row[3] for row in connection.execute(served)}
            contexts = tuple(
                ContextStats(
                    row.name,
                    row.target_digest,
                    row.toolchain,
                    Objective(row.objective),
                    row.runs,
                    row.trials,
                    row.measured - row.trials,
                    bests.get((row.target_digest, row.toolchain, row.objective), 0),
                )
                for row in connection.execute(counted)
            )
        return Stats(rows, contexts)

    def coverage(
        self,
        workloads: Sequence[WorkloadRow],
        target_digest: str,
        toolchain: str,
        objective: Objective = Objective.LATENCY,
    ) -> Coverage:
        """Which of these workloads have a best, which only a relative under another placement."""
        context = (target_digest, toolchain, objective)
        measured = self._answers.best_many([row.digest for row in workloads], *context)
        rest = [row for row in workloads if row.digest not in measured]
        families = self._answers.best_of_families([row.family_digest for row in rest], *context)
        return Coverage(
            measured=tuple(row.digest for row in workloads if row.digest in measured),
            other_placement=tuple(row.digest for row in rest if row.family_digest in families),
            unknown=tuple(row.digest for row in rest if row.family_digest not in families),
        )
