"""The next Configs to measure: a pure function of the problem, its history, the model and a seed.

A pool of rows is ranked by a lower confidence bound of the model. A small space is the pool itself; for a
large one the pool holds the neighbourhood of the best, and rows from evolution over the model, from the
density of good rows, and from chance.
"""

from typing import Protocol, Self

import numpy as np

from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import crossover, distinct, mutate, neighbours, random_grid, sample
from tilewright.tuner.kernel.acquisition import optimistic_log
from tilewright.tuner.kernel.climb import unlike
from tilewright.tuner.kernel.problem import Floats, History, Problem
from tilewright.tuner.kernel.settings import ProposeSettings

_MANY = 4
"""Failures from which on a draft may be misled about what fits."""
_FEW = 256
"""Rows of lowest score that a prior chooses from."""


class Belief(Protocol):
    """Predictions for rows: mean and spread of the log objective, and the chance that the trial succeeds."""

    @property
    def mean_log(self) -> Floats:
        """float64 [n]."""
        ...

    @property
    def std_log(self) -> Floats:
        """float64 [n]."""
        ...

    @property
    def feasible(self) -> Floats:
        """float64 [n]."""
        ...

    def given(self, row: int) -> Self:
        """As if `row` had been measured and had come out as expected."""
        ...


class Believer(Protocol):
    """The model as proposals see it; `measured` counts the trials of this run in it."""

    @property
    def has_prior(self) -> bool:
        """Whether records of earlier runs take part."""
        ...

    @property
    def measured(self) -> int:
        """Trials of the run that it learned from."""
        ...

    def predict(self, rows: Rows) -> Belief:
        """For rows [n, knobs] of the problem."""
        ...


def propose(
    problem: Problem,
    history: History,
    predictor: Believer | None,
    count: int,
    seed: int,
    settings: ProposeSettings,
) -> Rows:
    """Up to `count` feasible rows never asked before; fewer only where the space has no more to offer."""
    rng = np.random.default_rng(seed)
    if problem.seeds is not None and len(seeds := _fresh(problem, history, problem.seeds)):
        return seeds[:count]
    if predictor is None:
        return _warm_up(problem, history, count, rng, settings)
    warming = _warming_up(problem, history, predictor, settings)
    if warming and not predictor.has_prior:
        return _warm_up(problem, history, count, rng, settings)
    rows = remaining(problem, history, predictor, rng, settings)
    if not len(rows):
        return _warm_up(problem, history, count, rng, settings)
    predicted = predictor.predict(rows)
    spreads = optimism(problem, history, settings)
    if not warming:
        picked = _pick(rows, predicted, spreads, count)
        return _in_turns(picked, _untried(problem, history, predictor, settings), count)
    # A prior may mislead: the draft, or chance, has the first row and every other one.
    guessed = _warm_up(problem, history, count, rng, settings)
    ranked = rows[np.argsort(_score(predicted, 0.0), kind="stable")[:_FEW]]
    return _in_turns(guessed, unlike(ranked, count), count)


def _untried(problem: Problem, history: History, predictor: Believer, settings: ProposeSettings) -> Rows:
    """Of a restless search: the best row with one knob at a value that no trial had, the most hopeful first.

    A model knows nothing of what never varied, and takes it for no matter.
    """
    wait = settings.blind_restless if problem.draft_log is None else settings.restless
    if history.since_best < wait or not history.ok.any():
        return history.rows[:0]
    near = neighbours(problem.space, history.best_rows(1)[0])
    fresh = np.zeros(len(near), dtype=np.bool_)
    for column in range(len(problem.space.knobs)):
        fresh |= ~np.isin(near[:, column], history.rows[:, column])
    rows = _fresh(problem, history, near[fresh])
    return rows[np.argsort(_score(predictor.predict(rows), 0.0), kind="stable")] if len(rows) else rows


def _in_turns(first: Rows, second: Rows, count: int) -> Rows:
    """`count` rows, one of each in turn, without those that were taken before."""
    both = [part[at : at + 1] for at in range(max(len(first), len(second))) for part in (first, second)]
    return distinct(np.concatenate(both))[:count]


def remaining(
    problem: Problem,
    history: History,
    predictor: Believer,
    rng: np.random.Generator,
    settings: ProposeSettings,
) -> Rows:
    """All of a small space, else the best neighbourhoods and an evolved pool; less the rows that may not be
    asked.
    """
    if problem.whole is not None:
        return _fresh(problem, history, problem.whole)
    near = _neighbourhood(problem, history, settings.near_best)
    evolved = _evolved(problem, history, predictor, rng, settings)
    return _fresh(problem, history, np.concatenate([near, evolved]))


def _warming_up(problem: Problem, history: History, predictor: Believer, settings: ProposeSettings) -> bool:
    """Whether the model knows too little to rank: a draft or chance does."""
    if problem.draft_log is not None:
        return predictor.measured < settings.warm_up
    return len(history.rows) < settings.blind_warm_up or not history.ok.any()


def _warm_up(
    problem: Problem, history: History, count: int, rng: np.random.Generator, settings: ProposeSettings
) -> Rows:
    """By draft rank where there is a draft, by chance where there is none; half and half while most of what
    the draft is in favour of fails.
    """
    lowest = _fresh(problem, history, problem.climbed)
    if len(lowest) and not _misled(history):
        return unlike(lowest, count)
    drafted = unlike(lowest, count // 2)
    if problem.whole is not None:
        rows = _fresh(problem, history, problem.whole)
        rows = rows[rng.permutation(len(rows))[: max(2 * settings.pool, count)]]
    else:
        rows = _fresh(problem, history, sample(problem.space, max(2 * settings.pool, count), rng))
    drawn = rows[rng.permutation(len(rows))]
    return distinct(np.concatenate([drafted, drawn]))[:count]


def _misled(history: History) -> bool:
    failed = len(history.rows) - int(history.ok.sum())
    return failed >= _MANY and 2 * failed > len(history.rows)


def _fresh(problem: Problem, history: History, rows: Rows) -> Rows:
    """`rows` less those that break a rule, were asked in this or an earlier run, or cannot be best."""
    rows = distinct(rows, without=np.concatenate([history.asked, problem.beaten_keys]))
    rows = rows[problem.space.feasible(rows)] if len(rows) else rows
    if problem.bound_log is not None and len(rows) and history.ok.any():
        rows = rows[problem.bound_log(rows) < history.best_log]
    return rows


def _neighbourhood(problem: Problem, history: History, best: int) -> Rows:
    parts = [neighbours(problem.space, row) for row in history.best_rows(best)]
    return np.concatenate(parts) if parts else np.empty((0, len(problem.space.knobs)), dtype=np.int32)


def optimism(problem: Problem, history: History, settings: ProposeSettings) -> float:
    """More for every `restless` trials without a better one, after as many: what the model is sure of has had
    its turn by then.
    """
    if problem.draft_log is None:
        return settings.blind_optimism * max(1.0, history.since_best / settings.blind_restless)
    return settings.optimism * max(1.0, history.since_best / settings.restless)


def _score(predicted: Belief, optimism: float) -> Floats:
    """Low is good."""
    return optimistic_log(predicted.mean_log, predicted.std_log, predicted.feasible, optimism)


def _pick(rows: Rows, predicted: Belief, optimism: float, count: int) -> Rows:
    """Greedy by score. Each pick counts as measured when the next is chosen, so that a batch does not ask the
    same thing twice: the "kriging believer" of Ginsbourger et al. (2010).
    """
    chosen: list[int] = []
    taken = np.zeros(len(rows), dtype=np.bool_)
    for _ in range(min(count, len(rows))):
        pick = int(np.argmin(np.where(taken, np.inf, _score(predicted, optimism))))
        chosen.append(pick)
        taken[pick] = True
        predicted = predicted.given(pick)
    return rows[chosen]


def _evolved(
    problem: Problem,
    history: History,
    predictor: Believer,
    rng: np.random.Generator,
    settings: ProposeSettings,
) -> Rows:
    """A pool from chance, the density of the good, and a few generations of evolution over the model."""
    space, size = problem.space, settings.pool
    chance = sample(space, size, rng, attempts=8)
    drawn = _good_density(problem, history, size, rng) if settings.density else chance[:0]
    population = distinct(np.concatenate([history.best_rows(32), problem.climbed, chance, drawn]))
    pool = [population]
    for _ in range(settings.generations):
        if not len(population):
            break
        score = _score(predictor.predict(population), optimism(problem, history, settings))
        parents = population[np.argsort(score, kind="stable")[: size // 4]]
        first, second = (parents[rng.integers(0, len(parents), size)] for _ in range(2))
        children = crossover(space, first, second, rng)
        population = distinct(
            np.concatenate([parents, children, mutate(space, np.concatenate([children, parents]), rng)])
        )
        pool.append(population)
    return distinct(np.concatenate(pool))


def _good_density(problem: Problem, history: History, count: int, rng: np.random.Generator) -> Rows:
    """Rows drawn knob by knob from the values of the best quarter, smoothed by one uniform observation.

    The numerator of a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).
    """
    space = problem.space
    good = history.best_rows(max(4, len(history.rows) // 4))
    drawn = random_grid(space, count, rng)
    if len(good):
        kept = rng.random(drawn.shape) < len(good) / (len(good) + 1.0)
        source = rng.integers(0, len(good), size=drawn.shape)
        drawn = np.where(kept, good[source, np.arange(len(space.knobs))], drawn)
    return space.settle(drawn)
