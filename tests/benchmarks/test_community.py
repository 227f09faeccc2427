"""The community's score: chance is 0, the optimum at once is 1."""

from itertools import combinations

import numpy as np
import pytest

from benchmarks.search.peers.community import ChanceScale, chance_of


def test_chance_is_that_of_draws_without_replacement() -> None:
    values = np.array([3.0, 1.0, np.nan, 7.0, 2.0])
    known = [3.0, 1.0, 7.0, 7.0, 2.0]
    for drawn, expected in enumerate(chance_of(values), start=1):
        lowest = [min(some) for some in combinations(known, drawn)]
        assert expected == pytest.approx(np.mean(lowest))


def test_scores_of_chance_and_of_the_optimum() -> None:
    scale = ChanceScale(np.arange(1.0, 101.0), 400)
    chance = [[trial, float(best)] for trial, best in enumerate(scale.chance, start=1)]
    assert scale.score(chance) == pytest.approx(0.0)
    assert scale.score([[1, 1.0]]) == 1.0
    assert scale.score([]) == 0.0
    assert scale.score([[1, 100.0]]) < 0.0
    # Chance has come 95 % of the way from 50.5 to 1 where it expects 3.475: 101 / (k + 1), so at k = 29.
    assert scale.trials[-1] == 29
    assert ChanceScale(np.arange(1.0, 101.0), 10).trials[-1] == 10
