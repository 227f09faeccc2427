"""The models of one run: every task's measurements teach one residual model, refitted when it is asked for.

Records of earlier runs (`prior`) may be added with a vote of their own. Nothing here touches a disk.
"""

from dataclasses import replace

import numpy as np

from cost_model.ensemble import EnsembleSettings, Features
from cost_model.residual import ResidualModel, TaskRecords, fit_residual
from tuner.problem import History, Problem, trial_seed


class RunModel:
    """Collects TaskRecords by model key and fits on demand; a fit is a pure function of (run, records)."""

    def __init__(self, run: str, settings: EnsembleSettings | None = None) -> None:
        self._run = run
        self._settings = settings or EnsembleSettings()
        self._own: dict[str, dict[str, TaskRecords]] = {}
        self._prior: dict[str, tuple[TaskRecords, ...]] = {}
        self._reference: dict[str, Features] = {}
        self._fitted: dict[str, tuple[int, ResidualModel | None]] = {}

    def add_prior(self, problem: Problem, records: tuple[TaskRecords, ...]) -> None:
        """Records of earlier runs, with the same features as `problem`."""
        self._prior[problem.model_key] = self._prior.get(problem.model_key, ()) + records

    def tell(self, problem: Problem, history: History) -> None:
        """Replace what is known of `problem`'s task by `history`; only new rows are featurised."""
        tasks = self._own.setdefault(problem.model_key, {})
        known = tasks.get(problem.task.digest)
        if known is None:
            parts = [self._reference[k] for k in (problem.model_key,) if k in self._reference]
            self._reference[problem.model_key] = np.concatenate([*parts, problem.reference_features])
        start = 0 if known is None else len(known.latency_log)
        if start == len(history.rows):
            return
        rows = history.rows[start:]
        fresh = TaskRecords(
            problem.task.digest,
            problem.feature_function(rows),
            problem.drafts(rows),
            history.value_log[start:],
        )
        tasks[problem.task.digest] = fresh if known is None else _joined(known, fresh)

    def measured(self, problem: Problem) -> int:
        """How many of the run's own measurements the model of `problem` learns from."""
        return sum(len(r.latency_log) for r in self._own.get(problem.model_key, {}).values())

    def fitted(self, problem: Problem) -> ResidualModel | None:
        """The model over all that was told so far; None before two successes."""
        count = self.measured(problem)
        cached = self._fitted.get(problem.model_key)
        if cached is None or cached[0] != count:
            records = (
                *self._prior.get(problem.model_key, ()),
                *self._own.get(problem.model_key, {}).values(),
            )
            cached = (
                count,
                fit_residual(
                    records, self._reference[problem.model_key], trial_seed(self._run, count), self._settings
                )
                if self.measured(problem)
                else None,
            )
            self._fitted[problem.model_key] = cached
        return cached[1]


def _joined(known: TaskRecords, fresh: TaskRecords) -> TaskRecords:
    return replace(
        known,
        features=np.concatenate([known.features, fresh.features]),
        draft_log=np.concatenate([known.draft_log, fresh.draft_log]),
        latency_log=np.concatenate([known.latency_log, fresh.latency_log]),
    )
