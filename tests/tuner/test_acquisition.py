"""What may be low, and what is left to be found, against their definitions."""

import numpy as np
import pytest

from tilewright.tuner.kernel.acquisition import (
    expected_regret,
    lowest_values,
    optimistic_log,
    probability_within,
)


def test_a_row_is_as_low_as_its_spread_allows_and_higher_where_it_may_fail() -> None:
    means, spreads, sure = np.array([1.0, 1.2, 0.9]), np.array([0.1, 0.3, 0.1]), np.ones(3)
    assert optimistic_log(means, spreads, sure, 2.0) == pytest.approx([0.8, 0.6, 0.7])
    assert optimistic_log(means, spreads, np.array([1.0, 0.5, 1.0]), 2.0).argmin() == 2


def test_what_is_bad_and_little_known_never_passes_what_is_nearly_as_good_as_the_best() -> None:
    """As on a table whose second best is far below all that is believed of the others."""
    near_by, far_off = optimistic_log(np.array([0.4, 0.8]), np.array([0.07, 0.14]), np.ones(2), 3.0)
    assert near_by < far_off


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
