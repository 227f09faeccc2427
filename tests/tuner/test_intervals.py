"""Which Config answers for which sizes: halved where it is bad, joined where it is the same."""

from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

import pytest

from tilewright.search_space.knobs import Config
from tilewright.tuner.sizes.intervals import TOLERANCE, Anchor, SizeSpan, intervals_of, spans_between


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

    def carried(self, size: int, anchors: tuple[Anchor, ...]) -> list[float]:
        self.asked.append(size)
        return [cost_at(size, anchor.made_at) for anchor in anchors]

    def planned(self, size: int) -> Anchor | None:
        return Anchor(size, made_at(size), float(size), size, planned=True) if self.plans else None


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
        for size in (interval.low, interval.high):
            regret = cost_at(size, interval.tuned_at) / size - 1
            assert regret <= interval.measured_regret + 1e-9
        assert interval.predicted_regret >= interval.measured_regret
    untuned = [one for one in found if one.low != one.high]
    assert all(one.predicted_regret >= (1 + TOLERANCE) * 1.01 - 1 for one in untuned)
    assert max(one.measured_regret for one in found) <= (TOLERANCE if plans else 0.5)


class SlowAtTheTop(Sizes):
    """What is made at 10 is 1 % faster than what is made at 1000, up to 900; from there on 30 % slower."""

    def carried(self, size: int, anchors: tuple[Anchor, ...]) -> list[float]:
        self.asked.append(size)
        factor = 1.3 if size >= 900 else 0.99
        return [size * (factor if anchor.made_at == 10 else 1.0) for anchor in anchors]


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


def test_where_nothing_runs_there_is_no_interval() -> None:
    below = tuned(10)
    spans = [SizeSpan(10, 10, below, 0.0), SizeSpan(11, 20, below, inf), SizeSpan(21, 30, below, 0.0)]
    assert [(one.low, one.high) for one in intervals_of(spans, 0.0)] == [(10, 10), (21, 30)]
