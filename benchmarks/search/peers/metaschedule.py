"""The search policy of TVM's MetaSchedule, written from its published description.

Source: Shao et al., "Tensor program optimization with probabilistic programs" (NeurIPS 2022), and the
defaults of its evolutionary search strategy: population 512, a fifth of it the best measured and at least
50 drawn, 4 generations, mutation probability 0.85, parents by their score, 5 % of a batch at random,
batches of 64. Its cost model is boosted trees over the throughput relative to the best; before 100
measurements it scores at random.
"""

from dataclasses import dataclass

import numpy as np

from tilewright.cost_model.learned.ensemble import Ensemble, EnsembleSettings, fit_ensemble
from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import distinct, random_grid, row_keys, sample
from tilewright.tuner.kernel.problem import Floats, History, Problem


@dataclass(frozen=True)
class PolicySettings:
    """The policy's own names for its sizes."""

    population: int = 512
    generations: int = 4
    measured_share: float = 0.2
    least_drawn: int = 50
    mutation: float = 0.85
    epsilon: float = 0.05
    batch: int = 64
    warm_up: int = 100


TREES = EnsembleSettings(members=1, rounds=100, depth=10, learning_rate=0.2, row_share=1.0, column_share=1.0)


class MetaSchedule:
    """The policy over a Problem, with the features that our own model has."""

    def __init__(self, problem: Problem, seed: int, settings: PolicySettings | None = None) -> None:
        self._problem, self._settings = problem, settings or PolicySettings()
        self._rng = np.random.default_rng(seed)
        self._seed = seed

    def ask(self, history: History) -> Rows:
        """The best of the evolved population that were not measured, and a few of those drawn."""
        settings, space = self._settings, self._problem.space
        model = self._model(history)
        measured = history.best_rows(round(settings.measured_share * settings.population))
        wanted = max(settings.least_drawn, settings.population - len(measured))
        drawn = sample(space, wanted, self._rng, attempts=8)
        population = np.concatenate([measured, drawn])
        seen = [population]
        for _ in range(settings.generations):
            population = self._next(population, self._scores(model, population))
            seen.append(population)
        pool = distinct(np.concatenate(seen), without=history.asked)
        ranked = pool[np.argsort(-self._scores(model, pool), kind="stable")]
        chance = distinct(drawn, without=history.asked)
        lucky = min(round(settings.epsilon * settings.batch), len(chance))
        picked = ranked[: settings.batch - lucky]
        rest = chance[~np.isin(row_keys(chance), row_keys(picked))]
        return np.concatenate([picked, rest[:lucky]])

    def _model(self, history: History) -> Ensemble | None:
        ok = history.ok
        if len(history.rows) < self._settings.warm_up or not ok.any():
            return None
        features = self._problem.feature_function(history.rows)
        throughput = np.where(ok, np.exp(history.best_log - np.where(ok, history.value_log, 0.0)), 0.0)
        return fit_ensemble(features, throughput, self._seed + len(history.rows), TREES)

    def _scores(self, model: Ensemble | None, rows: Rows) -> Floats:
        """Predicted throughput, at least a sliver, so that every parent has a chance."""
        if model is None:
            return self._rng.random(len(rows))
        scores, _ = model.predict(self._problem.feature_function(rows))
        return np.maximum(scores, 1e-4)

    def _next(self, population: Rows, scores: Floats) -> Rows:
        """A generation: parents in proportion to their score, one knob of most of them drawn anew."""
        space, size = self._problem.space, self._settings.population
        parents = population[self._rng.choice(len(population), size, p=scores / scores.sum())]
        children = parents.copy()
        mutated = np.flatnonzero(self._rng.random(size) < self._settings.mutation)
        column = self._rng.integers(0, len(space.knobs), len(mutated))
        children[mutated, column] = random_grid(space, len(mutated), self._rng)[
            np.arange(len(mutated)), column
        ]
        settled = space.canonical(children)
        return np.where(space.feasible(settled)[:, None], settled, parents)
