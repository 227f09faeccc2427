"""Optuna's samplers as peers: asked one trial at a time, so that each answer counts at once.

Knobs are integer positions; CMA-ES, which takes no categories, sees unordered ones as integers too. A trial
that breaks a rule is told as failed, a repeated one is told its value, and neither counts. After MISSES in
a row one row is drawn at random, as Optuna would start.
"""

import warnings
from collections.abc import Callable
from enum import Enum

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import row_keys, sample
from tilewright.search_space.space import Space
from tilewright.tuner.kernel.problem import History
from tilewright.tuner.kernel.sampler import distributions_of, row_of

MISSES = 16
MakeSampler = Callable[[int, dict[str, int] | None], BaseSampler]


class Start(Enum):
    """How a sampler is shown trials it did not ask for."""

    TOLD = "told"  # as finished trials of its study
    ENQUEUED = "enqueued"  # as the first trials of its own: NSGA-II makes them its first parents


class OptunaPeer:
    """`make` gets a seed and the best of the given trials (None without any): where CMA-ES starts."""

    def __init__(
        self, space: Space, seed: int, make: MakeSampler, start: Start = Start.TOLD, integers: bool = False
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._seed, self._make, self._start = space, seed, make, start
        self._rng = np.random.default_rng(seed)
        self._distributions: dict[str, BaseDistribution] = distributions_of(space)
        if integers:
            self._distributions = {
                knob.name: IntDistribution(0, len(knob.values) - 1) for knob in space.knobs
            }
        self._study: optuna.Study | None = None
        self._open: optuna.Trial | None = None
        self._values: dict[int, float | None] = {}

    def ask(self, history: History) -> Rows:
        """One row; none where even chance finds nothing new."""
        study = self._study or self._begin(history)
        if self._open is not None:
            self._tell(self._open, history.rows[-1], float(history.value_log[-1]))
        for _ in range(MISSES):
            trial = study.ask(fixed_distributions=self._distributions)
            settled: Rows = self._space.settle(row_of(self._space, trial.params)[None, :])
            if len(settled) and _key(settled[0]) not in self._values:
                self._open = trial
                return settled
            value = self._values[_key(settled[0])] if len(settled) else None
            study.tell(trial, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
        fresh = [row for row in sample(self._space, 256, self._rng) if _key(row) not in self._values]
        if not fresh:
            return np.empty((0, len(self._space.knobs)), dtype=np.int32)
        study.enqueue_trial(self._params(fresh[0]))
        self._open = study.ask(fixed_distributions=self._distributions)
        row: Rows = fresh[0][None, :]
        return row

    def _begin(self, history: History) -> optuna.Study:
        best = history.best_rows(1)
        sampler = self._make(self._seed, self._params(best[0]) if len(best) else None)
        study = self._study = optuna.create_study(sampler=sampler)
        for row, value_log in zip(history.rows, history.value_log, strict=True):
            if self._start is Start.ENQUEUED:
                study.enqueue_trial(self._params(row))
                self._tell(study.ask(fixed_distributions=self._distributions), row, float(value_log))
                continue
            self._values[_key(row)] = float(value_log) if np.isfinite(value_log) else None
            study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.COMPLETE if np.isfinite(value_log) else TrialState.FAIL,
                    value=float(value_log) if np.isfinite(value_log) else None,
                    params=self._params(row),
                    distributions=self._distributions,
                )
            )
        return study

    def _tell(self, trial: optuna.Trial, row: Rows, value_log: float) -> None:
        assert self._study is not None
        value = value_log if np.isfinite(value_log) else None
        self._values[_key(row)] = value
        self._study.tell(trial, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
        self._open = None

    def _params(self, row: Rows) -> dict[str, int]:
        return {knob.name: int(choice) for knob, choice in zip(self._space.knobs, row, strict=True)}


def tpe(space: Space, seed: int) -> OptunaPeer:
    """Tree-structured Parzen estimator, multivariate (Bergstra et al., NeurIPS 2011)."""
    return OptunaPeer(space, seed, lambda s, best: optuna.samplers.TPESampler(seed=s, multivariate=True))


def cma_es(space: Space, seed: int) -> OptunaPeer:
    """CMA-ES with margin (Hamano et al., GECCO 2022), from the best of the given trials on."""

    def make(seed: int, best: dict[str, int] | None) -> BaseSampler:
        with warnings.catch_warnings():
            # The margin is marked experimental, and x0 is to be replaced by a sampler of another package.
            warnings.simplefilter("ignore")
            return optuna.samplers.CmaEsSampler(x0=best, seed=seed, with_margin=True)

    return OptunaPeer(space, seed, make, integers=True)


def nsga2(space: Space, seed: int) -> OptunaPeer:
    """NSGA-II with Optuna's population of 50 (Deb et al., 2002)."""
    return OptunaPeer(space, seed, lambda s, best: optuna.samplers.NSGAIISampler(seed=s), Start.ENQUEUED)


def gaussian(space: Space, seed: int) -> OptunaPeer:
    """Optuna's Gaussian process; it imports torch, so it runs only where torch is installed."""
    return OptunaPeer(space, seed, lambda s, best: optuna.samplers.GPSampler(seed=s))


def _key(row: Rows) -> int:
    return int(row_keys(row[None, :])[0])
