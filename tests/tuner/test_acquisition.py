"""Expected improvement and expected regret against their definitions."""

import numpy as np
import pytest

from tuner.acquisition import (
    expected_regret,
    log_expected_improvement,
    lowest_values,
    probability_within,
)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.5, 0.7), (-1.0, 0.2), (3.0, 1.0)])
def test_expected_improvement_is_the_mean_gain(mean: float, std: float) -> None:
    drawn = np.random.default_rng(0).normal(mean, std, 2_000_000)
    gain = np.maximum(0.5 - drawn, 0).mean()
    got = log_expected_improvement(np.array([mean]), np.array([std]), 0.5)[0]
    assert np.exp(got) == pytest.approx(gain, rel=0.02)


def test_it_ranks_what_is_hopeless_and_joins_without_a_jump() -> None:
    means = np.linspace(4.0, 60.0, 2000)
    values = log_expected_improvement(means, np.ones(2000), 0.0)
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0.05).all()
    assert values[-1] < values[500] < values[0]


def test_certainty_grows_with_distance_and_shrinks_with_candidates() -> None:
    def within(gap: float, count: int) -> float:
        return probability_within(np.full(count, gap), np.full(count, 0.1), 0.0, 0.02)

    assert within(0.3, 10) < within(1.0, 10) < within(3.0, 10) < 1.0
    assert within(1.0, 1000) < within(1.0, 10)
    assert within(-1.0, 1) < 0.01
    assert within(0.0, 0) == 1.0


def test_expected_regret_is_the_mean_distance_to_the_optimum() -> None:
    means, spread = np.array([0.05, 0.2, 0.3]), np.array([0.05, 0.1, 0.2])
    drawn = means + spread * np.random.default_rng(0).standard_t(6.0, (200_000, 3))
    gap = np.clip(-drawn.min(axis=1), 0.0, np.log(2.0))
    assert expected_regret(means, spread, 0.0) == pytest.approx(np.expm1(gap.mean()), rel=0.05)
    assert expected_regret(means, spread, -1.0) < expected_regret(means, spread, 0.0)
    assert expected_regret(np.zeros(0), np.zeros(0), 0.0) == 0.0


def test_candidates_that_are_wrong_together_beat_the_best_together() -> None:
    means, spread, rng = np.full(40, 0.1), np.full(40, 0.1), np.random.default_rng(0)
    apart = lowest_values(means, spread, np.eye(40), rng)
    together = lowest_values(means, spread, np.ones((40, 40)), rng)
    assert np.mean(apart >= 0.0) < np.mean(together >= 0.0) / 5
    alone = probability_within(means[:1], spread[:1], 0.0, 0.0)
    assert np.mean(together >= 0.0) == pytest.approx(alone, abs=0.03)
    assert np.mean(lowest_values(means[:3], spread[:3], np.eye(3), rng) >= 0.0) > alone**3 - 0.03
