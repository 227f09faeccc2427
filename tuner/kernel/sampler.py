"""Our sampler as Optuna sees it: a thin shell that pops rows from a ranked queue and refills it by `propose`.

Knobs appear as positions: an ordered knob as an integer range, an unordered one as a category, so that any
other sampler of Optuna can work on the same study.
"""

from collections import deque
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import row_keys
from tilewright.search_space.space import Space
from tilewright.tuner.kernel.problem import Floats, History, Problem, no_history, trial_seed
from tilewright.tuner.kernel.propose import propose
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.settings import ProposeSettings

LOST = "lost"  # user attribute of a trial whose failure is not its Config's


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """One distribution a knob over positions in its values."""
    return {
        knob.name: IntDistribution(0, len(knob.values) - 1)
        if knob.ordered
        else CategoricalDistribution(tuple(range(len(knob.values))))
        for knob in space.knobs
    }


def row_of(space: Space, params: dict[str, Any]) -> Rows:
    """The row int32 [knobs] of a trial's params."""
    return np.array([params[knob.name] for knob in space.knobs], dtype=np.int32)


class KernelSampler(BaseSampler):
    """Draws rows for one Problem; the model may be shared with the samplers of other tasks of the run.

    The history is read off the study, so a study rebuilt from records continues as it would have gone on. An
    exhausted space makes `sample_relative` return nothing new: ask `exhausted` first.
    """

    def __init__(
        self,
        problem: Problem,
        model: RunModel,
        run: str,
        batch: int = 16,
        settings: ProposeSettings | None = None,
    ) -> None:
        self.batch = batch
        self._problem = problem
        self._model = model
        self._run = run
        self._settings = settings or ProposeSettings()
        self._distributions = distributions_of(problem.space)
        self._queue: deque[Rows] = deque()
        self._history = no_history(problem.space)
        self._logs: Floats = np.empty((0, 1))
        self._open: dict[int, Rows] = {}
        self._expected: dict[int, float] = {}
        self._seen = 0

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The same for every trial."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The positions of the next row of the queue."""
        if not self._queue and not self.refill(study, self.batch):
            return {}
        row = self._queue.popleft()
        return {knob.name: int(choice) for knob, choice in zip(self._problem.space.knobs, row, strict=True)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Only for parameters outside the problem's space, or when the space is exhausted."""
        rng = np.random.default_rng(trial_seed(f"{self._run}/{param_name}", trial.number))
        if isinstance(param_distribution, IntDistribution):
            return int(rng.integers(param_distribution.low, param_distribution.high + 1))
        if isinstance(param_distribution, CategoricalDistribution):
            return param_distribution.choices[int(rng.integers(len(param_distribution.choices)))]
        return float(rng.uniform(param_distribution.low, param_distribution.high))  # type: ignore[attr-defined]

    def refill(self, study: Study, count: int) -> int:
        """Put up to `count` fresh rows into an empty queue; how many there are. 0: the space is exhausted."""
        if self._queue:
            return len(self._queue)
        self.catch_up(study)
        rows = self._proposed(count, len(self._history.rows) + len(self._open))
        self._queue.extend(rows)
        self._expect(rows)
        return len(rows)

    def _proposed(self, count: int, number: int) -> Rows:
        """Up to `count` rows for the next batch, after `number` trials."""
        return propose(
            self._problem,
            self._history,
            self._model.predictor(self._problem),
            count,
            trial_seed(self._run, number),
            self._settings,
        )

    def _expect(self, rows: Rows) -> None:
        """Keep the predictions for `rows`, for the listeners of the run."""
        predictor = self._model.predictor(self._problem)
        if predictor is not None and len(rows):
            means = predictor.predict(rows).mean_log.tolist()
            self._expected.update(zip(row_keys(rows).tolist(), means, strict=True))

    def expected_best(self) -> float | None:
        """The lowest prediction among rows under measurement; None before there is one."""
        return float(np.exp(min(self._expected.values()))) if self._expected else None

    def catch_up(self, study: Study) -> None:
        """Learn, and teach the shared model, the trials the study gained or finished since the last time."""
        trials = study.get_trials(deepcopy=False)
        space = self._problem.space
        for trial in trials[self._seen :]:
            if set(trial.params) >= {knob.name for knob in space.knobs}:
                self._open[trial.number] = row_of(space, trial.params)
        self._seen = len(trials)
        done = [number for number in self._open if trials[number].state.is_finished()]
        rows, logs = [], []
        for number in done:
            row = self._open.pop(number)
            self._expected.pop(int(row_keys(row[None, :])[0]), None)
            if LOST not in trials[number].user_attrs:
                rows.append(row)
                logs.append(_value_logs(trials[number], len(study.directions)))
        pending = list(self._open.values())
        width, objectives = len(space.knobs), len(study.directions)
        self._logs = np.concatenate([self._logs.reshape(-1, objectives), np.reshape(logs, (-1, objectives))])
        self._history = History(
            np.concatenate([self._history.rows, np.array(rows, dtype=np.int32).reshape(-1, width)]),
            self._logs[:, 0],
            np.array(pending, dtype=np.int32).reshape(-1, width),
        )
        self._teach()

    def _teach(self) -> None:
        self._model.tell(self._problem, self._history)


def _value_logs(trial: FrozenTrial, count: int) -> list[float]:
    """Logs of all of a trial's values, or NaN for each where one is absent."""
    values = trial.values if trial.state is TrialState.COMPLETE and trial.values else []
    if len(values) != count or not all(0.0 < value < float("inf") for value in values):
        return [float("nan")] * count
    return [float(np.log(value)) for value in values]
