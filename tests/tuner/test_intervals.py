"""Which Config answers for which sizes: halved where it is bad, joined where it is the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

import pytest

from tilewright.search_space.knobs import Config
from tilewright.tuner.sizes.intervals import (
    TOLERANCE,
    Anchor,
    SizeSpan,
    intervals_of,
    nearest_best,
    spans_between,
)
from tilewright.tuner.sizes.selection import Interval


def made_at(size: int) -> Config:
    return Config((("made_at", size),))


def cost_at(size: int, made: int) -> float:
    """A Config costs its size; one made below 100 is slow from 200 on, one made from 100 on below 50."""
    slow = (made < 100 and size >= 200) or (made >= 100 and size < 50)
    return size * (1.5 if slow else 1.0)


@dataclass
class Sizes:
    """A survey of made-up costs that remembers what it was asked."""

    sizes: range = range(1, 1001)
    plans: bool = True
    asked: list[int] = field(default_factory=list)

    def cost(self, size: int, made: int) -> float:
        return cost_at(size, made)

    def seen(
        self, size: int, anchors: Sequence[Anchor], plan_above: float = inf
    ) -> tuple[list[float], Anchor | None]:
        self.asked.append(size)
        costs = [self.cost(size, anchor.made_at) for anchor in anchors]
        if not self.plans or min(costs) <= plan_above:
            return costs, None
        return costs, Anchor(size, made_at(size), float(size), size, planned=True)


def tuned(size: int) -> Anchor:
    return Anchor(size, made_at(size), cost_at(size, size), size)


@pytest.mark.parametrize("plans", [False, True])
def test_every_size_is_in_one_interval_that_is_good_there(plans: bool) -> None:
    survey = Sizes(plans=plans)
    below, above = tuned(10), tuned(1000)
    spans = [SizeSpan(10, 10, below, 0.0), *spans_between(survey, below, above)]
    found = intervals_of(spans, 0.01)
    assert (found[0].low, found[-1].high) == (10, 1000)
    assert all(one.high + 1 == other.low for one, other in pairwise(found))
    for interval in found:
        assert interval.measured_regret is not None
        assert interval.predicted_regret is not None
        for size in (interval.low, interval.high):
            regret = cost_at(size, interval.tuned_at) / size - 1
            assert regret <= interval.measured_regret + 1e-9
        assert interval.predicted_regret >= interval.measured_regret
    untuned = [one.predicted_regret or 0.0 for one in found if one.low != one.high]
    assert min(untuned) >= (1 + TOLERANCE) * 1.01 - 1
    assert max(one.measured_regret or 0.0 for one in found) <= (TOLERANCE if plans else 0.5)


class SlowAtTheTop(Sizes):
    """What is made at 10 is 1 % faster than what is made at 1000, up to 900; from there on 30 % slower."""

    def cost(self, size: int, made: int) -> float:
        return size * (1.0 if made != 10 else 1.3 if size >= 900 else 0.99)


def test_the_lower_one_answers_only_where_it_was_seen_to_be_good_up_to_the_top() -> None:
    survey = SlowAtTheTop()
    below, above = Anchor(10, made_at(10), 10.0, 10), Anchor(1000, made_at(1000), 1000.0, 1000)
    (span,) = spans_between(survey, below, above)
    assert survey.asked[-1] == 1000
    assert span.anchor == above
    assert 0.0 < span.regret <= TOLERANCE


def test_sizes_that_the_network_cannot_have_are_never_asked() -> None:
    survey = Sizes(sizes=range(32, 1001, 32))
    spans_between(survey, tuned(32), tuned(992))
    assert survey.asked
    assert all(size % 32 == 0 for size in survey.asked)


class ThirdIsBest(Sizes):
    """What was made at 64 costs 10 wherever it runs, all else costs 13."""

    def cost(self, size: int, made: int) -> float:
        return 10.0 if made == 64 else 13.0


def test_an_anchor_from_elsewhere_answers_where_it_is_better() -> None:
    survey = ThirdIsBest(plans=False)
    low, high, best = (Anchor(size, made_at(size), 13.0, size) for size in (3, 8, 64))
    without = intervals_of(spans_between(survey, low, high), 0.0)
    assert [(one.tuned_at, one.measured_regret) for one in without] == [(8, 0.0)]
    found = intervals_of(spans_between(survey, low, high, [best]), 0.0)
    assert [(one.low, one.high, one.tuned_at, one.measured_regret) for one in found] == [(4, 8, 64, 0.0)]
    near = nearest_best([low, high, best], [[13.0, 13.0, 10.0], [13.0, 10.5, 10.0]])
    assert near == [best, high]


def test_where_nothing_was_seen_to_run_the_regret_is_unknown() -> None:
    below = tuned(10)
    spans = [SizeSpan(10, 10, below, 0.0), SizeSpan(11, 20, below, inf), SizeSpan(21, 30, below, 0.0)]
    found = intervals_of(spans, 0.0)
    assert [(one.low, one.high) for one in found] == [(10, 10), (11, 20), (21, 30)]
    assert (found[1].measured_regret, found[1].predicted_regret) == (None, None)
    assert str(found[1]) == "11..20: as tuned at 10, regret unknown"
    told = "at most 1.0% slower than the best seen there"
    assert str(Interval(3, 4, 4, 0.01, 0.01)) == f"3..4: as tuned at 4, {told}"
    more = "perhaps 35.0% slower than a search of its own would find"
    assert str(Interval(3, 4, 4, 0.01, 0.35)) == f"3..4: as tuned at 4, {told}, {more}"


class RunsNowhere(Sizes):
    """Nothing runs between 10 and 20."""

    def cost(self, size: int, made: int) -> float:
        return inf if 10 < size < 20 else 1.0


def test_no_size_is_left_without_an_interval() -> None:
    found = intervals_of(spans_between(RunsNowhere(plans=False), tuned(10), tuned(20)), 0.0)
    assert (found[0].low, found[-1].high) == (11, 20)
    assert all(one.high + 1 == other.low for one, other in pairwise(found))
    assert all(one.measured_regret is None for one in found if one.high < 20)
