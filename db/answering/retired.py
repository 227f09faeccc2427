"""Records of retired toolchains as marked guesses, each with the error to expect of it.

    before: 8.20 us under toolchain 2, no record under toolchain 3
    after:  a guess of 8.61 us under toolchain 3, within 6 %, from 48 Configs that were measured under both

Old against new timings of the same Config of the same kernel give the factor (their median ratio) and the
error: the share of it that 19 of 20 ratios keep to, by their ranks alone (split conformal prediction, Lei et
al. 2018, "Distribution-Free Predictive Inference for Regression", section 2.2). Below 19 pairs the largest
stands in for it; below 9 no error is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from statistics import median
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from tilewright.db.records import Purpose
from tilewright.db.storage.schema import run, trial
from tilewright.db.storage.session import Database
from tilewright.measure.results import Status

CONFIDENCE = 0.95
FEWEST_PAIRS = 9
MOST_PAIRS = 5_000
_toolchains: Select[Any] = (
    select(run.c.toolchain)
    .where(
        run.c.target_digest == bindparam("of_target"),
        run.c.device == bindparam("of_device"),
        run.c.toolchain != bindparam("of_toolchain"),
        run.c.hidden_at_s.is_(None),
    )
    .group_by(run.c.toolchain)
    .order_by(func.max(run.c.started_at_s).desc(), run.c.toolchain)
)


def _confirmed(name: str) -> Any:
    """Confirmations under one toolchain: a mean latency a Config of a workload."""
    return (
        select(trial.c.workload_id, trial.c.config_digest, func.avg(trial.c.latency_us).label("us"))
        .join(run, run.c.id == trial.c.run_id)
        .where(
            run.c.target_digest == bindparam("of_target"),
            run.c.device == bindparam("of_device"),
            run.c.toolchain == bindparam(name),
            run.c.hidden_at_s.is_(None),
            trial.c.purpose == Purpose.CONFIRMATION,
            trial.c.status == Status.OK,
            trial.c.imported.is_(False),
        )
        .group_by(trial.c.workload_id, trial.c.config_digest)
        .subquery(name)
    )


_old, _new = _confirmed("old"), _confirmed("new")
_pairs: Select[Any] = (
    select(_old.c.us.label("old_us"), _new.c.us.label("new_us"))
    .join(
        _new,
        (_new.c.workload_id == _old.c.workload_id) & (_new.c.config_digest == _old.c.config_digest),
    )
    .limit(MOST_PAIRS)
)


@dataclass(frozen=True)
class ToolchainDrift:
    """What a change of toolchain did to the times of Configs: their median `factor`, and the relative `error`
    that a time times the factor keeps to; None where too few of the `pairs` are known.
    """

    toolchain: str
    factor: float
    error: float | None
    pairs: int

    def expected_us(self, old_us: float) -> float:
        """The latency to expect today of one that was measured under the old toolchain."""
        return old_us * self.factor

    def __str__(self) -> str:
        told = f"measured under toolchain {self.toolchain}, a guess under today's"
        if self.error is None:
            return f"{told}; too few were measured under both to say how far off ({self.pairs})"
        return f"{told}; within {self.error:.1%} by {self.pairs} Configs measured under both"


def drift_of(toolchain: str, ratios: Sequence[float]) -> ToolchainDrift:
    """The drift from the ratios of new over old times."""
    if not ratios:
        return ToolchainDrift(toolchain, 1.0, None, 0)
    logs = [log(ratio) for ratio in ratios]
    middle = median(logs)
    apart = sorted(abs(each - middle) for each in logs)
    rank = min(ceil((len(apart) + 1) * CONFIDENCE), len(apart))
    error = exp(apart[rank - 1]) - 1.0 if len(apart) >= FEWEST_PAIRS else None
    return ToolchainDrift(toolchain, exp(middle), error, len(ratios))


def drift(database: Database, target_digest: str, device: str, toolchains: tuple[str, str]) -> ToolchainDrift:
    """The drift from the first to the second of two `toolchains` of a device, by what both have measured."""
    old, new = toolchains
    asked = {"of_target": target_digest, "of_device": device, "old": old, "new": new}
    rows = database.ask(_pairs, asked)
    return drift_of(old, [row.new_us / row.old_us for row in rows])


def retired_toolchains(
    database: Database, target_digest: str, device: str, toolchain: str
) -> tuple[str, ...]:
    """Other toolchains of the same device than today's, the last used first."""
    asked = {"of_target": target_digest, "of_device": device, "of_toolchain": toolchain}
    return tuple(row.toolchain for row in database.ask(_toolchains, asked))
