"""The models of one run: every task's measurements teach one residual model, refitted when it is asked for.

Records of earlier runs form a prior. Its weight falls with its rank correlation to the trials of this run: a
prior from a similar device saves most trials, one from a different device misleads. No disk is touched.
"""

from dataclasses import dataclass, replace

import numpy as np

from tilewright.cost_model.learned.ensemble import EnsembleSettings, Features, Floats
from tilewright.cost_model.learned.residual import Prediction, ResidualModel, TaskRecords, fit_residual
from tilewright.cost_model.learned.scores import rank_correlation
from tilewright.search_space.knobs import Rows
from tilewright.tuner.kernel.problem import History, Problem, trial_seed

# Trials during which a prior is trusted, and the agreement below which its weight is zero; the second pair
# without a draft, where there is nothing else to lean on while it misleads.
_SHRINKAGE, _LEAST_VOTE = 4.0, 0.4
_BLIND_SHRINKAGE, _LEAST_BLIND_VOTE = 2.0, 0.7


@dataclass(frozen=True)
class Predictor:
    """Predictions for one problem's rows: from its draft, the prior and the run's own model.

    At least one of `model` and `prior` is there; `measured` counts the trials of this run in the model.
    """

    problem: Problem
    model: ResidualModel | None
    prior: ResidualModel | None
    vote: float
    measured: int

    @property
    def has_prior(self) -> bool:
        """Whether records of earlier runs speak too."""
        return self.prior is not None

    def predict(self, rows: Rows) -> Prediction:
        """For rows [n, knobs] of the problem."""
        (features, drafts), task = self.problem.description(rows), self.problem.task.digest
        if self.prior is None:
            assert self.model is not None
            return self.model.predict(task, features, drafts)
        believed = self.prior.predict(task, features, np.zeros(len(rows)))
        if self.model is None:
            return replace(believed, known_log=drafts + believed.known_log)
        return self.model.predict(task, features, drafts + self.vote * believed.mean_log)


class RunModel:
    """Collects TaskRecords by model key and fits on demand; a fit is a pure function of (run, records)."""

    def __init__(self, run: str, settings: EnsembleSettings | None = None) -> None:
        self._run = run
        self._settings = settings or EnsembleSettings()
        self._own: dict[str, dict[str, TaskRecords]] = {}
        self._prior: dict[str, ResidualModel] = {}
        self._believed: dict[str, Floats] = {}
        self._votes: dict[str, float] = {}
        self._reference: dict[str, dict[str, Features]] = {}
        self._fitted: dict[str, tuple[int, ResidualModel | None]] = {}

    def set_prior(self, problem: Problem, records: tuple[TaskRecords, ...]) -> None:
        """Learn from records of earlier runs, which have the same features as `problem`."""
        prior = fit_residual(
            records, problem.reference_features, trial_seed(f"{self._run}/prior", 0), self._settings
        )
        if prior is not None:
            self._prior[problem.model_key] = prior

    def tell(self, problem: Problem, history: History) -> None:
        """Replace the history of `problem`'s task by `history`; features are computed for new rows only."""
        key, task = problem.model_key, problem.task.digest
        known = self._own.setdefault(key, {}).get(task)
        start = 0 if known is None else len(known.latency_log)
        if start == len(history.rows):
            return
        rows = history.rows[start:]
        features, drafts = problem.description(rows)
        latency_log = history.value_log[start:]
        fresh = TaskRecords(task, features, drafts, latency_log, in_full=problem.in_full)
        if known is None:
            self._reference.setdefault(key, {})[task] = problem.reference_features
        joined = fresh if known is None else _joined(known, fresh)
        self._own[key][task] = self._with_prior(key, joined, features)

    def predictor(self, problem: Problem) -> Predictor | None:
        """The model of all trials so far; None before two successes when there is no prior either."""
        key = problem.model_key
        model, prior = self._model(problem), self._prior.get(key)
        if model is None and prior is None:
            return None
        return Predictor(
            problem, model, prior, self._votes.get(problem.task.digest, 1.0), self._measured(key)
        )

    def _measured(self, key: str) -> int:
        return sum(len(r.latency_log) for r in self._own.get(key, {}).values())

    def _model(self, problem: Problem) -> ResidualModel | None:
        key = problem.model_key
        count = self._measured(key)
        if key not in self._fitted or self._fitted[key][0] != count:
            own = self._own.get(key, {})
            # Sorted, so that a run resumed task by task fits what the undisturbed one fitted.
            records = tuple(own[task] for task in sorted(own))
            seed = trial_seed(self._run, count)
            fit = None
            if records:
                reference = np.concatenate([self._reference[key][task] for task in sorted(own)])
                fit = fit_residual(records, reference, seed, self._settings)
            self._fitted[key] = (count, fit)
        return self._fitted[key][1]

    def _with_prior(self, key: str, records: TaskRecords, fresh: Features) -> TaskRecords:
        """`records` with the prior's word on them, weighed by how well it has ranked them so far."""
        prior, task = self._prior.get(key), records.task
        if prior is None:
            return records
        word = prior.predict(task, fresh, np.zeros(len(fresh))).mean_log
        believed = np.concatenate([self._believed[task], word]) if task in self._believed else word
        self._believed[task] = believed
        vote = _vote(
            believed, records.latency_log - records.draft_log, blind=not bool(records.draft_log.any())
        )
        self._votes[task] = vote
        return replace(records, prior_log=vote * believed)


def _vote(believed: Floats, measured: Floats, *, blind: bool) -> float:
    """In [0, 1], by rank correlation on the better half of the trials; 1 before there are any. Devices agree
    on bad Configs; a prior that cannot rank the good ones only slows a search down.
    """
    ok = np.flatnonzero(np.isfinite(measured))
    better = ok[np.argsort(measured[ok], kind="stable")[: (len(ok) + 1) // 2]]
    agreement = rank_correlation(believed[better], measured[better])
    shrinkage, least = (_BLIND_SHRINKAGE, _LEAST_BLIND_VOTE) if blind else (_SHRINKAGE, _LEAST_VOTE)
    vote = (agreement * len(better) + shrinkage) / (len(better) + shrinkage)
    return vote**2 if vote > least else 0.0


def _joined(known: TaskRecords, fresh: TaskRecords) -> TaskRecords:
    return replace(
        known,
        features=np.concatenate([known.features, fresh.features]),
        draft_log=np.concatenate([known.draft_log, fresh.draft_log]),
        latency_log=np.concatenate([known.latency_log, fresh.latency_log]),
    )
