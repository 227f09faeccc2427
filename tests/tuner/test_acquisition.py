"""What may be low, against its definition."""

import numpy as np
import pytest

from tilewright.tuner.kernel.acquisition import optimistic_log


def test_a_row_is_as_low_as_its_spread_allows_and_higher_where_it_may_fail() -> None:
    means, spreads, sure = np.array([1.0, 1.2, 0.9]), np.array([0.1, 0.3, 0.1]), np.ones(3)
    assert optimistic_log(means, spreads, sure, 2.0) == pytest.approx([0.8, 0.6, 0.7])
    assert optimistic_log(means, spreads, np.array([1.0, 0.5, 1.0]), 2.0).argmin() == 2


def test_what_is_bad_and_little_known_never_passes_what_is_nearly_as_good_as_the_best() -> None:
    """As on a table whose second best is far below all that is believed of the others."""
    near_by, far_off = optimistic_log(np.array([0.4, 0.8]), np.array([0.07, 0.14]), np.ones(2), 3.0)
    assert near_by < far_off
