"""The task of a kernel search, its history, and its trials: frozen values."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.cost_model.plain_features import FeatureFunction, Features, plain_features
from tilewright.measure.device import Task
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config, Rows
from tilewright.search_space.moves import Keys, feasible_rows, row_keys, sample
from tilewright.search_space.space import Space
from tilewright.tuner.kernel.climb import best_drafts
from tilewright.tuner.kernel.row_memo import MOST, Answer, RowMemo

Floats: TypeAlias = npt.NDArray[np.float64]
RowFunction: TypeAlias = Callable[[Rows], Floats]

# Up to here all of a space is ranked at every proposal; beyond, an evolved pool stands for it.
_WHOLE_SPACE = 20_000
CLIMBED = 256
"""The number of rows of lowest draft in every pool."""


class Promise(NamedTuple):
    """Draft and bound of one objective, as `Problem` has them."""

    draft_log: RowFunction | None
    bound_log: RowFunction | None


@dataclass(frozen=True)
class Problem:
    """One kernel task and everything known about it before measuring.

    `features` maps rows [n, knobs] to float32 [n, f]; None stands for the plain features of the space.
    `draft_log` and `bound_log` map rows to float64 [n], log of the objective in the units it is measured in:
    a best guess, and a value nothing can beat. `seeds` are rows to ask first: what a database knows; `beaten`
    are rows not to ask at all, which earlier runs have measured as no better than the seeds. `start`
    are rows that the climb over the draft begins at, `others` what is promised of other objectives.
    `in_full`: slow answers are learned as they are, which only a front has a use for.
    """

    task: Task
    space: Space
    features: FeatureFunction | None = None
    draft_log: RowFunction | None = None
    bound_log: RowFunction | None = None
    seeds: Rows | None = None
    beaten: Rows | None = None
    start: Rows | None = None
    objective: Objective = Objective.LATENCY
    others: Mapping[Objective, "Promise"] = field(default_factory=dict)
    in_full: bool = False

    def towards(self, objective: Objective) -> "Problem":
        """The same task searched for another objective, for which a bound on latency does not hold. Where the
        objective has no draft, the draft of the latency serves if it ranks Configs well.
        """
        if objective == self.objective:
            return self
        draft = self.draft_log if objective.row.has_draft else None
        promise = self.others.get(objective, Promise(draft, None))
        return replace(self, objective=objective, draft_log=promise.draft_log, bound_log=promise.bound_log)

    @cached_property
    def feature_function(self) -> FeatureFunction:
        """`features`, or the plain ones."""
        return self.features or plain_features(self.space)

    @property
    def model_key(self) -> str:
        """Problems of one key share a model: plain features mean something inside one space only."""
        space = "shared" if self.features is not None else self.space.digest
        return f"{self.objective} {self.in_full} {space}"

    @cached_property
    def whole(self) -> Rows | None:
        """All feasible rows where they are few enough to be ranked at every proposal, else None."""
        return feasible_rows(self.space, _WHOLE_SPACE)

    @cached_property
    def beaten_keys(self) -> Keys:
        """Keys of the `beaten` rows."""
        return np.empty(0, dtype=np.uint64) if self.beaten is None else row_keys(self.beaten)

    @cached_property
    def climbed(self) -> Rows:
        """Up to CLIMBED rows of lowest draft, lowest first; none without a draft."""
        none = np.empty((0, len(self.space.knobs)), dtype=np.int32)
        if self.draft_log is None:
            return none
        start = none if self.start is None else self.start
        return best_drafts(self.space, self.draft_log, start, CLIMBED, np.random.default_rng(0))

    @cached_property
    def reference_features(self) -> Features:
        """Features of up to 256 rows of the space, to scale each feature."""
        return self.feature_function(sample(self.space, 256, np.random.default_rng(0)))

    @cached_property
    def description(self) -> RowMemo[tuple[Features, Floats]]:
        """Maps rows [n, knobs] to their features [n, f] and log drafts [n], and remembers the latest."""
        return self.remembered(lambda rows: (self.feature_function(rows), self.drafts(rows)))

    def remembered(self, function: Callable[[Rows], Answer]) -> RowMemo[Answer]:
        """`function` of rows, which remembers a small space whole."""
        return RowMemo(function, MOST if self.whole is None else max(MOST, 2 * len(self.whole)))

    def drafts(self, rows: Rows) -> Floats:
        """Log draft [n]; zeros without a draft."""
        return np.zeros(len(rows)) if self.draft_log is None else self.draft_log(rows)


@dataclass(frozen=True)
class History:
    """The trials of one task, in order: rows [n, knobs] and log objective [n], NaN where a trial failed.

    `pending` rows [p, knobs] are under measurement.
    """

    rows: Rows
    value_log: Floats
    pending: Rows

    @cached_property
    def asked(self) -> Keys:
        """Keys of everything that must not be asked again."""
        return row_keys(np.concatenate([self.rows, self.pending]))

    @cached_property
    def ok(self) -> npt.NDArray[np.bool_]:
        """Which of the answers are successes, [n]."""
        return np.isfinite(self.value_log)

    @property
    def best_log(self) -> float:
        """Log of the best value, +inf before the first success."""
        return float(self.value_log[self.ok].min()) if self.ok.any() else float("inf")

    @property
    def since_best(self) -> int:
        """Answers after the best one; all of them before the first success."""
        return len(self.rows) - 1 - int(np.nanargmin(self.value_log)) if self.ok.any() else len(self.rows)

    def best_rows(self, count: int) -> Rows:
        """The best `count` rows, best first."""
        order = np.argsort(np.where(self.ok, self.value_log, np.inf), kind="stable")
        return self.rows[order[: min(count, int(self.ok.sum()))]]


def no_history(space: Space) -> History:
    """The History before the first trial."""
    none = np.empty((0, len(space.knobs)), dtype=np.int32)
    return History(none, np.empty(0), none)


@dataclass(frozen=True)
class SearchTrial:
    """One measurement asked of a Device: `number` counts from 0 within its task and run."""

    number: int
    config: Config
    measurement: Measurement


def trial_seed(run: str, number: int) -> int:
    """The seed of trial `number` of `run`: a hash, so that a resumed run repeats itself."""
    return int.from_bytes(hashlib.sha256(f"{run}/{number}".encode()).digest()[:8], "big") >> 1
