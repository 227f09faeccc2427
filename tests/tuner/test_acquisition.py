"""Expected improvement against its definition; the regret estimate against simulation."""

import numpy as np
import pytest

from tuner.acquisition import error_scale, log_expected_improvement, probability_within


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


def test_spreads_grow_when_predictions_were_wrong() -> None:
    assert error_scale(np.full(64, 0.5)) == 1.0
    assert error_scale(np.full(64, 4.0)) == pytest.approx(4.0)
    assert error_scale(np.concatenate([np.full(64, 9.0), np.full(64, 2.0)])) == pytest.approx(2.0)
    assert error_scale(np.zeros(0)) > 1.0
