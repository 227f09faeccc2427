"""Pattern search behind a classifier of the good, as Helion's autotuner describes it (LFBO pattern search).

Sources: the description of the search in the documentation of Helion (BSD-3), and Song et al., "A general
recipe for likelihood-free Bayesian optimization" (ICML 2022): a random forest learns which Configs belong
to the best tenth, better ones weighing more; five copies of a pattern search draw 300 neighbours each, the
tenth of them that the forest likes is measured, less what shares the leaves of those already chosen. First
comes a random population.
"""

from dataclasses import dataclass

import numpy as np
import xgboost as xgb

from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import distinct, row_keys, sample
from tilewright.tuner.kernel.problem import Floats, History, Problem


@dataclass(frozen=True)
class PatternSettings:
    """Sizes of the search, by the names of its description."""

    initial_population: int = 100
    copies: int = 5
    neighbours: int = 300
    selected: float = 0.1
    radius: int = 2
    quantile: float = 0.1
    similarity_penalty: float = 1.0
    patience: int = 1
    least_improvement: float = 1e-3
    trees: int = 100


@dataclass
class _Copy:
    """Where one copy of the search stands, in log latency; it ends when patience does."""

    row: Rows
    value_log: float
    patience: int


class PatternSearch:
    """The search over a Problem; when all copies have ended, new ones start from the best there is."""

    def __init__(self, problem: Problem, seed: int, settings: PatternSettings | None = None) -> None:
        self._problem, self._settings = problem, settings or PatternSettings()
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        self._copies: list[_Copy] = []
        self._asked: list[Rows] = []

    def ask(self, history: History) -> Rows:
        """The rest of the initial population, then one generation of every copy."""
        missing = self._settings.initial_population - len(history.rows)
        if missing > 0:
            return distinct(sample(self._problem.space, missing, self._rng), without=history.asked)
        self._move(history)
        forest, batches = self._forest(history), []
        known = history.asked
        for copy in self._copies:
            near = distinct(self._neighbours(copy.row), without=known)
            chosen = self._select(forest, near, round(self._settings.selected * (len(near) + 1)))
            known = np.concatenate([known, row_keys(chosen)])
            batches.append(chosen)
        self._asked = batches
        rows = np.concatenate(batches)
        return rows if len(rows) else distinct(sample(self._problem.space, 16, self._rng), without=known)

    def _move(self, history: History) -> None:
        """Each copy goes to the best it found; a copy out of patience ends."""
        value_of = dict(zip(row_keys(history.rows).tolist(), history.value_log, strict=True))
        alive = []
        for copy, rows in zip(self._copies, self._asked, strict=False):
            values = np.array([value_of.get(int(key), np.inf) for key in row_keys(rows)])
            values = np.where(np.isfinite(values), values, np.inf)
            best = int(np.argmin(values)) if len(values) else -1
            better = best >= 0 and values[best] < copy.value_log - self._settings.least_improvement
            if best >= 0 and values[best] < copy.value_log:
                copy.row, copy.value_log = rows[best], float(values[best])
            copy.patience -= not better
            if copy.patience >= 0 and len(rows):
                alive.append(copy)
        self._copies = alive
        if not alive:
            order = np.argsort(np.where(history.ok, history.value_log, np.inf), kind="stable")
            self._copies = [
                _Copy(history.rows[index], float(history.value_log[index]), self._settings.patience)
                for index in order[: min(self._settings.copies, int(history.ok.sum()))]
            ]

    def _neighbours(self, row: Rows) -> Rows:
        """One ordered knob within the radius, and up to `radius` others by one step."""
        settings, space = self._settings, self._problem.space
        rows = np.repeat(row[None, :], settings.neighbours, axis=0)
        ordered = np.array([knob.ordered for knob in space.knobs])
        sizes = np.flatnonzero(ordered)
        at = np.arange(len(rows))
        column = sizes[self._rng.integers(0, len(sizes), len(rows))]
        rows[at, column] += self._rng.integers(-settings.radius, settings.radius + 1, len(rows)).astype(
            np.int32
        )
        others = self._rng.integers(0, settings.radius + 1, len(rows))
        for turn in range(settings.radius):
            column = self._rng.integers(0, len(space.knobs), len(rows))
            step = rows[at, column] + self._rng.choice(np.array([-1, 1]), len(rows))
            moved = np.where(ordered[column], step, self._rng.integers(0, space.widths[column]))
            rows[at, column] = np.where(others > turn, moved, rows[at, column])
        return space.settle(np.clip(rows, 0, space.widths - 1).astype(np.int32))

    def _forest(self, history: History) -> xgb.Booster | None:
        """A random forest that tells the best `quantile` from the rest; None where all are alike."""
        if not history.ok.any():
            return None
        values = np.where(history.ok, np.exp(history.value_log), np.inf)
        threshold = float(np.quantile(values[history.ok], self._settings.quantile))
        good = values <= threshold
        if good.all():
            return None
        weight = np.where(good, np.maximum(threshold - values, 1e-5), 1.0)
        weight[good] /= weight[good].mean()
        data = xgb.DMatrix(self._problem.feature_function(history.rows), good, weight=weight, nthread=1)
        parameters = {
            "objective": "binary:logistic",
            "num_parallel_tree": self._settings.trees,
            "eta": 1.0,
            "subsample": 0.63,
            "colsample_bynode": 0.2,
            "max_depth": 12,
            "min_child_weight": 0.0,
            "lambda": 1.0,
            "nthread": 1,
            "verbosity": 0,
            "seed": self._seed + len(values),
        }
        return xgb.train(parameters, data, num_boost_round=1)

    def _select(self, forest: xgb.Booster | None, rows: Rows, count: int) -> Rows:
        """Greedily by probability less the mean share of leaves in common with those chosen before."""
        if forest is None:
            return rows[:count]
        data = xgb.DMatrix(self._problem.feature_function(rows), nthread=1)
        chance: Floats = forest.predict(data).astype(np.float64)
        leaves = forest.predict(data, pred_leaf=True).reshape(len(rows), -1)
        alike = np.zeros(len(rows))
        chosen: list[int] = []
        for _ in range(min(count, len(rows))):
            score = chance - self._settings.similarity_penalty * alike / max(1, len(chosen))
            score[chosen] = -np.inf
            chosen.append(int(np.argmax(score)))
            alike += (leaves == leaves[chosen[-1]]).mean(axis=1)
        return rows[chosen]
