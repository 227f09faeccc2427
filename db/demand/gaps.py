"""The typical ratio of tuned latencies to their bounds, from the answers of a database."""

from statistics import median
from typing import Any

from sqlalchemy import Select, bindparam, select

from tilewright.db.records import WorkloadKind
from tilewright.db.storage.schema import best, workload
from tilewright.db.storage.session import Database

MOST_READ = 2_000
_gaps: Select[Any] = (
    select(best.c.latency_us, best.c.bound_us)
    .join(workload, workload.c.digest == best.c.workload_digest)
    .where(
        best.c.target_digest == bindparam("of_target"),
        best.c.toolchain == bindparam("of_toolchain"),
        best.c.bound_us > 0.0,
        workload.c.kind == bindparam("of_kind"),
    )
    .limit(MOST_READ)
)


def typical_gap(database: Database, target_digest: str, toolchain: str, kind: WorkloadKind) -> float | None:
    """The median of latency over bound of the answers on a target; None where there are none."""
    asked = {"of_target": target_digest, "of_toolchain": toolchain, "of_kind": kind}
    found = [row.latency_us / row.bound_us for row in database.ask(_gaps, asked)]
    return median(found) if found else None
