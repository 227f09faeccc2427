"""Where the next batch goes: to what was not asked yet, then to what still gains, weighed by its count."""

import pytest

from tilewright.tuner.network.scheduler import Standing, hoped_gain_us, matters, next_task


def standing(
    bests_us: tuple[float, ...] = (), count: int = 1, bound_us: float = 1.0, is_open: bool = True
) -> Standing:
    best_us = bests_us[-1] if bests_us and bests_us[-1] < float("inf") else None
    return Standing(count, best_us, bound_us, 4 * len(bests_us), is_open, bests_us)


def test_every_kernel_is_asked_once_before_any_twice() -> None:
    assert next_task([standing((9.0,)), standing(bound_us=2.0), standing(bound_us=3.0)]) == 2
    assert next_task([standing((9.0,)), standing(is_open=False)]) == 0
    assert next_task([standing(is_open=False)]) is None


def test_a_kernel_matters_by_its_share_of_the_bound() -> None:
    shares = [standing(bound_us=10.0), standing(bound_us=2.0), standing(bound_us=2.0, count=4)]
    assert matters(shares) == [True, False, True]
    assert matters([standing()]) == [True]


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (standing((9.0, 8.0)), standing((8.0, 8.0))),  # it gained lately
        (standing((9.0, 9.0, 8.0)), standing((9.0, 8.0, 8.0))),  # later
        (standing((9.0,), count=2), standing((9.0,))),  # the network runs it twice
        (standing((9.0,)), standing((5.0,))),  # further from its bound
        (standing((9.0,)), standing((9.0, 9.0))),  # asked less
        (standing((float("inf"),), bound_us=3.0), standing((float("inf"),))),  # nothing succeeded yet
    ],
)
def test_hope(more: Standing, less: Standing) -> None:
    assert hoped_gain_us(more) > hoped_gain_us(less)
    assert next_task([less, more]) == 1


def test_nothing_is_hoped_of_a_kernel_that_stands_at_its_bound() -> None:
    assert hoped_gain_us(standing((1.0,))) == 0.0
