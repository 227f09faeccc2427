"""Which Configs to measure next: a pure function of the problem, its history, the model and a seed.

Two ideas share a batch. Near the best, its neighbourhood is polished: that wins early, when a model knows
little. Everywhere else a pool (the whole space, or what evolution over the model, the density of the good and
chance come up with) is ranked by the lower confidence bound of the model: that wins later.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cost_model.residual import ResidualModel
from search_space.knobs import Rows
from search_space.moves import crossover, distinct, mutate, neighbours, random_grid, row_keys, sample
from tuner.problem import Floats, History, Problem


@dataclass(frozen=True)
class ProposeSettings:
    """`confidence` weighs the spread of the model, `polish_share` is the part of a batch near the best."""

    warm_up: int = 16
    blind_warm_up: int = 6
    confidence: float = 1.0
    polish_share: float = 0.25
    polish_best: int = 2
    pool: int = 512
    generations: int = 3
    diversity: float = 0.5
    ei: int = 0


@dataclass(frozen=True)
class Candidates:
    """Rows [n, knobs] not asked before, with their lower confidence bound [n]; the lower the better."""

    rows: Rows
    score: Floats
    near_best: npt.NDArray[np.bool_]


def propose(
    problem: Problem,
    history: History,
    model: ResidualModel | None,
    measured_in_run: int,
    count: int,
    seed: int,
    settings: ProposeSettings,
) -> Rows:
    """Up to `count` feasible rows never asked before; fewer only where the space has no more to offer.

    `measured_in_run` counts what `model` was taught by this run, over all tasks: warm-up is per run.
    """
    rng = np.random.default_rng(seed)
    seeds = _fresh(problem, history, problem.seeds) if problem.seeds is not None else None
    if seeds is not None and len(seeds):
        return seeds[:count]
    if model is None or _warming_up(problem, history, measured_in_run, settings):
        return _warm_up(problem, history, count, rng, settings)
    pool = problem.whole if problem.whole is not None else _evolved(problem, history, model, rng, settings)
    near = _fresh(problem, history, _neighbourhood(problem, history, settings.polish_best))
    far = _fresh(problem, history, pool)
    rows = distinct(np.concatenate([near, far]))
    if not len(rows):
        return _warm_up(problem, history, count, rng, settings)
    near_best = np.isin(row_keys(rows), row_keys(near))
    return _pick(
        Candidates(rows, _score(problem, history, model, rows, settings), near_best), count, settings
    )


def _warming_up(problem: Problem, history: History, measured_in_run: int, settings: ProposeSettings) -> bool:
    if problem.draft_log is None:
        return len(history.rows) < settings.blind_warm_up or not history.ok.any()
    return measured_in_run < settings.warm_up


def _warm_up(
    problem: Problem, history: History, count: int, rng: np.random.Generator, settings: ProposeSettings
) -> Rows:
    """By draft rank where there is a draft, at random where there is none."""
    if problem.whole is not None:
        rows = _fresh(problem, history, problem.whole)
        rows = rows[rng.permutation(len(rows))]
    else:
        rows = _fresh(problem, history, sample(problem.space, max(settings.pool, 4 * count), rng))
    if problem.draft_log is None:
        return rows[:count]
    draft = problem.draft_log(rows)
    return _pick(Candidates(rows, draft, np.zeros(len(rows), dtype=np.bool_)), count, settings)


def _fresh(problem: Problem, history: History, rows: Rows) -> Rows:
    """`rows` less the infeasible, the asked, and those that cannot beat the best."""
    rows = distinct(rows, without=history.asked)
    if problem.bound_log is not None and len(rows) and history.ok.any():
        rows = rows[problem.bound_log(rows) < history.best_log]
    return rows


def _neighbourhood(problem: Problem, history: History, best: int) -> Rows:
    parts = [neighbours(problem.space, row) for row in history.best_rows(best)]
    return np.concatenate(parts) if parts else np.empty((0, len(problem.space.knobs)), dtype=np.int32)


def _score(
    problem: Problem, history: History, model: ResidualModel, rows: Rows, settings: ProposeSettings
) -> Floats:
    features = problem.feature_function(rows)
    predicted = model.predict(problem.task.digest, features, problem.drafts(rows))
    if settings.ei:
        gain = history.best_log - predicted.mean_log
        std = predicted.std_log + 1e-9
        z = gain / std
        ei = std * np.exp(log_ndtr_ei(z))
        return -np.log(np.maximum(ei * predicted.feasible, 1e-300))
    return predicted.mean_log - settings.confidence * predicted.std_log - np.log(predicted.feasible)


def log_ndtr_ei(z):
    from scipy.special import ndtr, erfcx

    phi = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    h = np.where(z > -5, phi + z * ndtr(z), 0)
    tail = -z * z / 2 - 0.918938533 - 2 * np.log(np.maximum(-z, 1e-9))
    return np.where(z > -5, np.log(np.maximum(h, 1e-300)), tail)


def _pick(candidates: Candidates, count: int, settings: ProposeSettings) -> Rows:
    """Greedy by score, a share of the picks reserved for the neighbourhood of the best.

    Every pick makes rows that differ from it in one knob less attractive.
    """
    rows, score = candidates.rows, candidates.score.copy()
    spread = float(score.std()) if len(score) else 0.0
    polish = round(settings.polish_share * count)
    chosen: list[int] = []
    taken = np.zeros(len(rows), dtype=np.bool_)
    for at in range(min(count, len(rows))):
        allowed = ~taken & candidates.near_best if at < polish else ~taken
        if not allowed.any():
            allowed = ~taken
        pick = int(np.argmin(np.where(allowed, score, np.inf)))
        chosen.append(pick)
        taken[pick] = True
        differing = np.count_nonzero(rows != rows[pick], axis=1)
        score += settings.diversity * spread * 0.25 * (differing <= 1)
    return rows[chosen]


def _evolved(
    problem: Problem,
    history: History,
    model: ResidualModel,
    rng: np.random.Generator,
    settings: ProposeSettings,
) -> Rows:
    """A pool from chance, the density of the good, and a few generations of evolution over the model."""
    space, size = problem.space, settings.pool
    elite = history.best_rows(32)
    population = distinct(
        np.concatenate(
            [elite, sample(space, size, rng, attempts=8), _good_density(problem, history, size, rng)]
        )
    )
    pool = [population]
    for _ in range(settings.generations):
        score = _score(problem, history, model, population, settings)
        parents = population[np.argsort(score, kind="stable")[: size // 4]]
        first, second = (parents[rng.integers(0, len(parents), size)] for _ in range(2))
        children = mutate(space, np.concatenate([crossover(space, first, second, rng), parents]), rng)
        population = distinct(np.concatenate([parents, children, crossover(space, first, second, rng)]))
        pool.append(population)
    return distinct(np.concatenate(pool))


def _good_density(problem: Problem, history: History, count: int, rng: np.random.Generator) -> Rows:
    """Rows drawn knob by knob from the values of the best quarter, smoothed by one uniform observation.

    The numerator of a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).
    """
    space = problem.space
    good = history.best_rows(max(4, len(history.rows) // 4))
    drawn = random_grid(space, count, rng)
    if not len(good):
        return drawn[space.feasible(drawn)]
    kept = rng.random(drawn.shape) < len(good) / (len(good) + 1.0)
    source = rng.integers(0, len(good), size=drawn.shape)
    drawn = np.where(kept, good[source, np.arange(len(space.knobs))], drawn)
    return drawn[space.feasible(drawn)]
