"""Records from elsewhere that answer nothing yet, and what to do about them."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, bindparam, select

from tilewright.db.storage.schema import best, run, target, trial, workload
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import pieces
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status

_good = (trial.c.imported, trial.c.status == Status.OK, run.c.hidden_at_s.is_(None))
_claimed: Select[Any] = (
    select(workload.c.digest)
    .select_from(
        workload.join(trial, trial.c.workload_id == workload.c.id).join(run, run.c.id == trial.c.run_id)
    )
    .where(
        workload.c.digest.in_(bindparam("digests", expanding=True)),
        run.c.target_digest == bindparam("of_target"),
        run.c.objective == bindparam("of_objective"),
        *_good,
    )
    .distinct()
)
# A target whose imported runs have workloads without an answer; the runs are few, their trials many.
_targets: Select[Any] = (
    select(target.c.name)
    .where(
        target.c.digest == run.c.target_digest,
        run.c.imported,
        run.c.hidden_at_s.is_(None),
        select(trial.c.id)
        .join(workload, workload.c.id == trial.c.workload_id)
        .where(trial.c.run_id == run.c.id, trial.c.status == Status.OK)
        .where(
            ~select(best.c.run)
            .where(
                best.c.workload_digest == workload.c.digest,
                best.c.target_digest == run.c.target_digest,
                best.c.objective == run.c.objective,
            )
            .exists()
        )
        .exists(),
    )
    .distinct()
    .order_by(target.c.name)
)


def claimed(
    database: Database, workloads: Collection[str], target_digest: str, objective: Objective
) -> frozenset[str]:
    """Those of the workloads, by digest, that others have measured on the target; one question."""
    found: set[str] = set()
    for some in pieces(list(workloads)):
        asked = {"digests": some, "of_target": target_digest, "of_objective": objective}
        found.update(row.digest for row in database.ask(_claimed, asked))
    return frozenset(found)


def unverified_targets(database: Database) -> tuple[str, ...]:
    """Names of targets that have imported records of workloads without an answer."""
    return tuple(row.name for row in database.ask(_targets))


def advice(names: Collection[str]) -> str:
    """The command that makes answers of imported records of these targets, in one line; empty if there are
    none.
    """
    verbs = ", ".join(f"tune db verify --target {name}" for name in sorted(names))
    return f"imported, not verified: {verbs}" if names else ""
