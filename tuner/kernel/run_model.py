"""The models of one run: every task's measurements teach one residual model, refitted when it is asked for.

Records of earlier runs form a prior: trees of each device that measured, heard as far as they rank the trials
of this run. The process beside them learns what this run's kernels have shown. No disk is touched.
"""

from collections.abc import Callable, Mapping, Sequence
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
from tilewright.cost_model.learned.sources import (
    RankAgreement,
    Source,
    agreement_of,
    doubt_of,
    fit_sources,
    votes_of,
    weighed,
)
from tilewright.search_space.knobs import Rows
from tilewright.tuner.kernel.problem import History, Problem, trial_seed

_FIRST_MARK, _MOST_BETWEEN = 16, 128
"""Trials at which slow parts are learned apart for the first time, and the most until they are again."""
Words: TypeAlias = Callable[[Rows], tuple[Floats, Floats]]
"""Maps rows [n, knobs] to what each source says of them, and the chance it gives them: [n, sources] each."""


def _silent(rows: Rows) -> tuple[Floats, Floats]:
    none = np.zeros((len(rows), 0))
    return none, none


@dataclass(frozen=True)
class FirstBelief:
    """What a prior says before the run has a model of its own."""

    mean_log: Floats
    std_log: Floats
    feasible: Floats

    def given(self, row: int) -> "FirstBelief":
        """The same: nothing is learned from what came out as expected."""
        return self


@dataclass(frozen=True)
class Predictor:
    """Predictions for one problem's rows: from its draft, the prior and the run's own model.

    At least one of `model` and `words` is there; `words` are those of the prior's sources, who have `votes`.
    `measured` counts the trials of this run in the model.
    """

    problem: Problem
    model: ResidualModel | None
    votes: Floats
    words: Words
    measured: int

    @property
    def has_prior(self) -> bool:
        """Whether records of earlier runs speak too."""
        return bool(self.votes.any())

    def predict(self, rows: Rows) -> Prediction | FirstBelief:
        """For rows [n, knobs] of the problem."""
        (features, drafts), task = self.problem.description(rows), self.problem.task.digest
        if not self.has_prior and self.model is not None:
            return self.model.predict(task, features, drafts)
        each, chances = self.words(rows)
        words, failing = weighed(each.T, self.votes[0]), weighed(1.0 - chances.T, self.votes[1])
        feasible = np.maximum(1.0 - failing, 0.01)
        if self.model is None:
            return FirstBelief(drafts + words, np.zeros(len(rows)), feasible)
        found = self.model.predict(task, features, drafts + words)
        return replace(found, feasible=found.feasible * feasible, doubt=doubt_of(each.T, self.votes[0]))


class RunModel:
    """Collects TaskRecords by model key and fits on demand; a fit is a pure function of the run and of its
    records in their order, however they are told apart into batches.
    """

    def __init__(self, run: str, settings: EnsembleSettings | None = None) -> None:
        self._run = run
        self._settings = settings or EnsembleSettings()
        self._own: dict[str, dict[str, TaskRecords]] = {}
        self._prior: dict[str, tuple[Source, ...]] = {}
        self._believed: dict[str, dict[str, Floats]] = {}
        self._agreements: dict[str, dict[str, RankAgreement]] = {}
        self._words: dict[tuple[str, str], Words] = {}
        self._reference: dict[str, dict[str, Features]] = {}
        self._fitted: dict[str, tuple[int, ResidualModel | None]] = {}
        self._marked: dict[str, tuple[int, tuple[TaskRecords, ...]]] = {}
        self._slow: dict[str, tuple[int, SlowParts | None]] = {}

    def set_prior(self, problem: Problem, records: tuple[TaskRecords, ...]) -> None:
        """Learn from records of earlier runs, which have the same features as `problem`.

        Devices are sources with a vote each: one is like the device at hand, another is not. Without a draft
        they are of the same space.
        """
        seed, blind = trial_seed(f"{self._run}/prior", 0), problem.draft_log is None
        if sources := fit_sources(records, seed, self._settings, blind=blind):
            self._prior[problem.model_key] = sources

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
        self._own[key][task] = joined
        self._hear(key, joined, features)
        mark = last_mark(before + len(rows))
        if mark > last_mark(before):
            self._marked[key] = (mark, self._until(key, task, start + mark - before))

    def predictor(self, problem: Problem) -> Predictor | None:
        """The model of all trials so far; None before two successes when there is no prior either."""
        key, task = problem.model_key, problem.task.digest
        model = self._model(problem)
        if model is None and key not in self._prior:
            return None
        blind = problem.draft_log is None
        votes = votes_of(self._prior.get(key, ()), self._agreements.get(key, {}), task, blind=blind)
        return Predictor(problem, model, votes, self._words_of(problem), self._measured(key))

    def _words_of(self, problem: Problem) -> Words:
        """What the sources of the prior say of rows, worked out once for each."""
        prior, key = self._prior.get(problem.model_key), (problem.model_key, problem.task.digest)
        if prior is not None and key not in self._words:

            def words(rows: Rows) -> tuple[Floats, Floats]:
                features, _ = problem.description(rows)
                said = _said(prior, features)
                return said[0].T, said[1].T

            self._words[key] = problem.remembered(words)
        return self._words.get(key, _silent)

    def _measured(self, key: str) -> int:
        return sum(len(r.latency_log) for r in self._own.get(key, {}).values())

    def _model(self, problem: Problem) -> ResidualModel | None:
        key = problem.model_key
        count = self._measured(key)
        if key not in self._fitted or self._fitted[key][0] != count:
            own = self._own.get(key, {})
            # Sorted, so that a run resumed task by task fits what the undisturbed one fitted.
            agreements = self._agreements.get(key, {})
            records = tuple(self._corrected(key, own[task], agreements) for task in sorted(own))
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
        agreements = dict(self._agreements.get(key, {}))
        if key in self._prior:
            agreements[task] = agreement_of(self._believed[key][task][:, :, :count], first)
        return tuple(
            self._corrected(key, first if each == task else own[each], agreements) for each in sorted(own)
        )

    def _hear(self, key: str, records: TaskRecords, fresh: Features) -> None:
        """Keep what the prior says of `fresh` features, the last of `records`, and how well it ranks them."""
        prior, task = self._prior.get(key), records.task
        if prior is None:
            return
        before = self._believed.setdefault(key, {}).get(task, np.zeros((2, len(prior), 0)))
        believed = np.concatenate([before, _said(prior, fresh)], axis=2)
        self._believed[key][task] = believed
        self._agreements.setdefault(key, {})[task] = agreement_of(believed, records)

    def _corrected(
        self, key: str, records: TaskRecords, agreements: Mapping[str, RankAgreement]
    ) -> TaskRecords:
        """`records` with the prior's word on them, weighed by how well it has ranked so far."""
        if key not in self._prior:
            return records
        votes = votes_of(self._prior[key], agreements, records.task, blind=not records.draft_log.any())
        believed = self._believed[key][records.task][0, :, : len(records.latency_log)]
        return replace(records, prior_log=weighed(believed, votes[0]))


def _said(prior: Sequence[Source], features: Features) -> Floats:
    """What each source says of rows, float64 [2, sources, n]."""
    return np.stack([source.words(features) for source in prior], axis=1)


def last_mark(count: int) -> int:
    """The last number of trials, up to `count`, at which the slow parts of a model are learned anew: after a
    quarter more, or 128, from 16 on; 0 before, when they are learned with every fit.
    """
    mark, following = 0, _FIRST_MARK
    while following <= count:
        mark, following = following, following + min(following // 4, _MOST_BETWEEN)
    return mark


def _joined(known: TaskRecords, fresh: TaskRecords) -> TaskRecords:
    return replace(
        known,
        features=np.concatenate([known.features, fresh.features]),
        draft_log=np.concatenate([known.draft_log, fresh.draft_log]),
        latency_log=np.concatenate([known.latency_log, fresh.latency_log]),
    )
