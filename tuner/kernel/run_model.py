"""The models of one run: every task's measurements teach one residual model, refitted when it is asked for.

Records of earlier runs form a prior. Its weight falls with its rank correlation to the trials of this run: a
prior from a similar device saves most trials, one from a different device misleads. No disk is touched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tilewright.cost_model.learned.ensemble import EnsembleSettings, Features, Floats
from tilewright.cost_model.learned.residual import (
    Prediction,
    ResidualModel,
    SlowParts,
    TaskRecords,
    fit_residual,
    fit_slow,
)
from tilewright.cost_model.learned.scores import rank_correlation
from tilewright.search_space.knobs import Rows
from tilewright.tuner.kernel.problem import History, Problem, trial_seed

# Trials during which a prior is trusted, and the agreement below which its weight is zero; the second pair
# without a draft, where there is nothing else to lean on while it misleads.
_SHRINKAGE, _LEAST_VOTE = 4.0, 0.4
_BLIND_SHRINKAGE, _LEAST_BLIND_VOTE = 2.0, 0.7


_FIRST_MARK, _MOST_BETWEEN = 16, 128
"""Trials at which slow parts are learned apart for the first time, and the most until they are again."""
SAME_SPACE = EnsembleSettings(members=1, rounds=100, depth=6, bins=64, max_rows=30_000, process_share=0.0)
"""Sizes of a source in the space of the problem: it holds a whole table, at half a second for 30,000 rows."""


Words: TypeAlias = Callable[[Rows], tuple[Floats]]
"""Maps rows [n, knobs] to what each source says of them, float64 [n, sources]."""


@dataclass(frozen=True)
class Prior:
    """Records of earlier runs, a model for each source."""

    sources: tuple[ResidualModel, ...]

    def words(self, task: str, features: Features) -> Floats:
        """What each source says of rows, float64 [sources, n], each about its own level."""
        return np.stack([source.mean_log(task, features) for source in self.sources])


def _silent(rows: Rows) -> tuple[Floats]:
    return (np.zeros((len(rows), 0)),)


def weighed(words: Floats, votes: Floats) -> Floats:
    """Words [sources, n] by votes [sources]: their mean, drawn towards nothing as the votes are lost."""
    total = float(votes.sum())
    result: Floats = (
        (votes @ words) * (float(votes.max()) / total) if total > 0.0 else np.zeros(words.shape[1])
    )
    return result


@dataclass(frozen=True)
class Predictor:
    """Predictions for one problem's rows: from its draft, the prior and the run's own model.

    At least one of `model` and `prior` is there; `words` are those of the prior's sources, who have `votes`.
    `measured` counts the trials of this run in the model.
    """

    problem: Problem
    model: ResidualModel | None
    prior: Prior | None
    votes: Floats
    words: Words
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
        words = weighed(self.words(rows)[0].T, self.votes)
        if self.model is None:
            first = self.prior.sources[0].predict(task, features, np.zeros(len(rows)))
            return replace(first, known_log=drafts + words - first.mean_log + first.known_log)
        return self.model.predict(task, features, drafts + words)


class RunModel:
    """Collects TaskRecords by model key and fits on demand; a fit is a pure function of the run and of its
    records in their order, however they are told apart into batches.
    """

    def __init__(self, run: str, settings: EnsembleSettings | None = None) -> None:
        self._run = run
        self._settings = settings or EnsembleSettings()
        self._own: dict[str, dict[str, TaskRecords]] = {}
        self._prior: dict[str, Prior] = {}
        self._believed: dict[str, Floats] = {}
        self._votes: dict[str, Floats] = {}
        self._words: dict[tuple[str, str], Words] = {}
        self._reference: dict[str, dict[str, Features]] = {}
        self._fitted: dict[str, tuple[int, ResidualModel | None]] = {}
        self._marked: dict[str, tuple[int, tuple[TaskRecords, ...]]] = {}
        self._slow: dict[str, tuple[int, SlowParts | None]] = {}

    def set_prior(self, problem: Problem, records: tuple[TaskRecords, ...]) -> None:
        """Learn from records of earlier runs, which have the same features as `problem`.

        Without a draft they are of the same space, each a source with a vote of its own: one device is like
        the one at hand, another is not.
        """
        seed = trial_seed(f"{self._run}/prior", 0)
        if problem.draft_log is None:
            sources = [fit_residual([each], problem.reference_features, seed, SAME_SPACE) for each in records]
        else:
            sources = [fit_residual(records, problem.reference_features, seed, self._settings)]
        if priors := tuple(source for source in sources if source is not None):
            self._prior[problem.model_key] = Prior(priors)

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
        before = self._measured(key)
        self._own[key][task] = self._with_prior(key, joined, features)
        mark = last_mark(before + len(rows))
        if mark > last_mark(before):
            self._marked[key] = (mark, self._until(key, task, start + mark - before))

    def predictor(self, problem: Problem) -> Predictor | None:
        """The model of all trials so far; None before two successes when there is no prior either."""
        key = problem.model_key
        model, prior = self._model(problem), self._prior.get(key)
        if model is None and prior is None:
            return None
        votes = self._votes.get(problem.task.digest, np.ones(len(prior.sources) if prior else 0))
        return Predictor(problem, model, prior, votes, self._words_of(problem), self._measured(key))

    def _words_of(self, problem: Problem) -> Words:
        """What the sources of the prior say of rows, worked out once for each."""
        prior, key = self._prior.get(problem.model_key), (problem.model_key, problem.task.digest)
        if prior is not None and key not in self._words:
            self._words[key] = problem.remembered(
                lambda rows: (prior.words(key[1], problem.description(rows)[0]).T,)
            )
        return self._words.get(key, _silent)

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
                slow = self._slow_parts(key)
                reference = np.empty((0, 0), dtype=np.float32) if slow else self._references(key, records)
                fit = fit_residual(records, reference, seed, self._settings, slow)
            self._fitted[key] = (count, fit)
        return self._fitted[key][1]

    def _references(self, key: str, records: Sequence[TaskRecords]) -> Features:
        """Rows of the spaces of `records`, to scale features by."""
        return np.concatenate([self._reference[key][each.task] for each in records])

    def _slow_parts(self, key: str) -> SlowParts | None:
        """Learned when the records last came to a mark; None before."""
        if key not in self._marked:
            return None
        mark, records = self._marked[key]
        if key not in self._slow or self._slow[key][0] != mark:
            seed = trial_seed(self._run, mark)
            self._slow[key] = (mark, fit_slow(records, self._references(key, records), seed, self._settings))
        return self._slow[key][1]

    def _until(self, key: str, task: str, count: int) -> tuple[TaskRecords, ...]:
        """All records of now, of `task` the first `count`."""
        own, records = self._own[key], self._own[key][task]
        first = replace(
            records,
            features=records.features[:count],
            draft_log=records.draft_log[:count],
            latency_log=records.latency_log[:count],
        )
        if key in self._prior:
            believed = self._believed[task][:, :count]
            first = replace(first, prior_log=weighed(believed, _votes(believed, first)))
        return tuple(first if each == task else own[each] for each in sorted(own))

    def _with_prior(self, key: str, records: TaskRecords, fresh: Features) -> TaskRecords:
        """`records` with the prior's word on them, weighed by how well it has ranked them so far."""
        prior, task = self._prior.get(key), records.task
        if prior is None:
            return records
        words = prior.words(task, fresh)
        believed = np.concatenate([self._believed[task], words], axis=1) if task in self._believed else words
        self._believed[task] = believed
        votes = _votes(believed, records)
        self._votes[task] = votes
        return replace(records, prior_log=weighed(believed, votes))


def last_mark(count: int) -> int:
    """The last number of trials, up to `count`, at which the slow parts of a model are learned anew: after a
    quarter more, or 128, from 16 on; 0 before, when they are learned with every fit.
    """
    mark, following = 0, _FIRST_MARK
    while following <= count:
        mark, following = following, following + min(following // 4, _MOST_BETWEEN)
    return mark


def _votes(believed: Floats, records: TaskRecords) -> Floats:
    """Of each source of a prior, [sources], by its words [sources, n] on `records`."""
    measured, blind = records.latency_log - records.draft_log, not bool(records.draft_log.any())
    return np.array([_vote(each, measured, blind=blind) for each in believed])


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
