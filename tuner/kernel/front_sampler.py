"""Our sampler for several objectives: one model per objective, and one direction per batch.

Most batches search along one objective, as a search for it alone would, with its draft, its bound and its
model, which learns from all batches. So the ends of the front are as good as single answers. The other
batches mix the objectives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tilewright.measure.objectives import Objective
from tilewright.search_space.knobs import Rows
from tilewright.tuner.kernel.front import Direction, draw_direction
from tilewright.tuner.kernel.problem import Floats, History, Problem, trial_seed
from tilewright.tuner.kernel.propose import Belief, Believer, propose
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.sampler import KernelSampler
from tilewright.tuner.kernel.settings import ProposeSettings

MIXED = 0.2
"""Share of the batches that search along a mixture."""


@dataclass(frozen=True)
class DirectedBelief:
    """The Belief about a direction's scalar, from one Belief per objective."""

    parts: tuple[Belief, ...]
    direction: Direction

    @property
    def mean_log(self) -> Floats:
        """float64 [n]."""
        return self.direction.scalar(self._means)

    @property
    def std_log(self) -> Floats:
        """float64 [n]."""
        return self.direction.std(self._means, np.stack([part.std_log for part in self.parts], axis=1))

    @property
    def feasible(self) -> Floats:
        """float64 [n]: every model saw the same failures."""
        return self.parts[0].feasible

    @property
    def _means(self) -> Floats:
        return np.stack([part.mean_log for part in self.parts], axis=1)

    def given(self, row: int) -> Self:
        """As if `row` had been measured and had come out as expected."""
        return replace(self, parts=tuple(part.given(row) for part in self.parts))


@dataclass(frozen=True)
class Directed:
    """The models of all objectives as one Believer."""

    parts: tuple[Believer, ...]
    direction: Direction

    @property
    def has_prior(self) -> bool:
        """A prior of one objective is none of a direction."""
        return False

    @property
    def measured(self) -> int:
        """Trials that all models learned from."""
        return min(part.measured for part in self.parts)

    def predict(self, rows: Rows) -> DirectedBelief:
        """For rows [n, knobs] of the problem."""
        return DirectedBelief(tuple(part.predict(rows) for part in self.parts), self.direction)


class FrontSampler(KernelSampler):
    """Draws rows for one Problem and several `objectives`, of which the first is the Problem's."""

    def __init__(
        self,
        problem: Problem,
        model: RunModel,
        run: str,
        batch: int = 16,
        settings: ProposeSettings | None = None,
        *,
        objectives: Sequence[Objective],
    ) -> None:
        super().__init__(replace(problem, in_full=True), model, run, batch, settings)
        self._each = [self._problem.towards(objective) for objective in objectives]

    def _proposed(self, count: int, number: int) -> Rows:
        seed = trial_seed(self._run, number)
        rng = np.random.default_rng([seed, 1])
        predictors = [self._model.predictor(problem) for problem in self._each]
        parts = tuple(predictor for predictor in predictors if predictor is not None)
        known = len(parts) == len(predictors) and self._history.ok.any()
        if not known or rng.random() >= MIXED:
            at = int(rng.integers(len(self._each)))
            history = replace(self._history, value_log=self._logs[:, at])
            return propose(self._each[at], history, predictors[at], count, seed, self._settings)
        direction = draw_direction(self._logs, rng)
        history = replace(self._history, value_log=direction.scalar(self._logs))
        # A row that cannot be the best in one objective may still be on the front.
        problem = replace(self._problem, bound_log=None)
        return propose(problem, history, Directed(parts, direction), count, seed, self._settings)

    def _expect(self, rows: Rows) -> None:
        """Nothing: the expected scalar of a direction has the unit of no objective."""

    def _teach(self) -> None:
        for index, problem in enumerate(self._each):
            self._model.tell(
                problem, History(self._history.rows, self._logs[:, index], self._history.pending)
            )
