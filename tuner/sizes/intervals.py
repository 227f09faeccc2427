"""Intervals of a range, each with the Config that answers there: measured between tuned sizes, halved where
it is bad.

    tuned at 108 and 512; 109..512 asked of 512        109: 19 % above what 108 gives there, 234: 6 % above
    planned anew at 234, measured, kept as an anchor   109..234 asked of 234, 235..512 of 512

An anchor is a size with a Config of its own. The sizes between two anchors run what one of them has, or what
another anchor has that was good nearby, carried there. All of these are measured at the lowest size between
and in the middle, where they leave room for something better beside a plan made for the middle. One that was
not made for the upper anchor is measured there, too.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Protocol

from tilewright.search_space.knobs import Config
from tilewright.tuner.sizes.representatives import middle_of
from tilewright.tuner.sizes.selection import Interval

TOLERANCE = 0.02
"""Regret against the best seen at a size, above which sizes between two anchors are looked at closer."""
LEVEL = 0.005
"""Regret up to which the upper anchor is taken although another is better where both were seen."""
NEAR = 0.1
"""Regret at a size up to which an anchor is asked for at the sizes beside it."""
MOST_NEAR = 3
"""Anchors that are asked for between two because they were good at one of these."""
MOST_HALVINGS = 4
"""The gap between two tuned sizes is halved so often."""


@dataclass(frozen=True)
class Anchor:
    """A size with a portable Config of its own, its cost there, and the size that it was made for.

    `planned` where it was made without a search.
    """

    size: int
    config: Config
    cost: float
    made_at: int
    planned: bool = False


class Survey(Protocol):
    """The sizes of a range that the network can have, ascending, and a device to measure on."""

    @property
    def sizes(self) -> Sequence[int]:
        """The sizes."""
        ...

    def seen(
        self, size: int, anchors: Sequence[Anchor], plan_above: float = inf
    ) -> tuple[list[float], Anchor | None]:
        """The costs of the Configs of `anchors` at `size`, tiled for it; infinite where one does not run.

        Where all cost more than `plan_above`, a plan made for `size` without a search, if one runs and more
        may be made.
        """
        ...


@dataclass(frozen=True)
class SizeSpan:
    """The sizes `low` to `high`, the anchor whose Config they run, and their worst regret seen."""

    low: int
    high: int
    anchor: Anchor
    regret: float


def spans_between(
    survey: Survey,
    below: Anchor,
    above: Anchor,
    others: Iterable[Anchor] = (),
    halvings: int = MOST_HALVINGS,
) -> list[SizeSpan]:
    """Spans over the sizes above `below` up to `above`, in ascending order. Infinite regret: no Config was
    seen to run at all of them.
    """
    low, high = below.size + 1, above.size
    lowest = survey.sizes[bisect_left(survey.sizes, low)]
    if lowest == high:
        return [SizeSpan(low, high, above, 0.0 if isfinite(above.cost) else inf)]
    asked = distinct((above, below, *others))
    middle = middle_of(survey.sizes, lowest, high)
    costs, fresh = survey.seen(middle, asked, (1 + TOLERANCE) * below.cost)
    looks = [(costs, min([*costs, *([] if fresh is None else [fresh.cost])]))]
    if lowest != middle:
        costs_lowest, _ = survey.seen(lowest, asked)
        looks.append((costs_lowest, min(costs_lowest)))
    worst = [max(_regret(costs[at], least) for costs, least in looks) for at in range(len(asked))]
    if not isfinite(above.cost):
        worst[0] = inf
    at = _chosen(survey, asked, worst)
    if worst[at] <= TOLERANCE or halvings == 0:
        return [SizeSpan(low, high, asked[at], worst[at])]
    if fresh is None or min(costs) <= fresh.cost:
        best = min(range(len(asked)), key=costs.__getitem__)
        fresh = replace(asked[best], size=middle, cost=costs[best])
    near = nearest_best(asked, [costs])
    return [
        *spans_between(survey, below, fresh, near, halvings - 1),
        *spans_between(survey, fresh, above, near, halvings - 1),
    ]


def _chosen(survey: Survey, asked: Sequence[Anchor], worst: list[float]) -> int:
    """The position of the anchor of least regret; the first, above, where that is about as good.

    Another one is taken only when it was measured where the first was made for; `worst` then has that too.
    """
    above, open_still = asked[0], set(range(1, len(asked)))
    while True:
        at = min(range(len(worst)), key=worst.__getitem__)
        if at not in open_still or worst[0] <= worst[at] + LEVEL:
            return at if at not in open_still else 0
        (there,), _ = survey.seen(above.size, (asked[at],))
        worst[at] = max(worst[at], _regret(there, min(there, above.cost)))
        open_still.discard(at)


def distinct(anchors: Iterable[Anchor]) -> list[Anchor]:
    """The first of those that have the same Config."""
    found: dict[Config, Anchor] = {}
    for anchor in anchors:
        found.setdefault(anchor.config, anchor)
    return list(found.values())


def nearest_best(anchors: Sequence[Anchor], looks: Sequence[Sequence[float]]) -> list[Anchor]:
    """The few anchors that were within NEAR of the best in one of `looks`, the best first."""
    regrets = [min(_regret(costs[at], min(costs)) for costs in looks) for at in range(len(anchors))]
    order = sorted(range(len(anchors)), key=regrets.__getitem__)
    return [anchors[at] for at in order if regrets[at] <= NEAR][:MOST_NEAR]


def intervals_of(spans: Sequence[SizeSpan], loss: float) -> tuple[Interval, ...]:
    """The spans as a selector has them, neighbours with one Config joined. Infinite regrets are unknown.

    `loss` is the expected gain of a search at sizes that were not searched. There TOLERANCE is added to the
    measured regret: nothing was looked for that is better by less.
    """
    joined: list[SizeSpan] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and _joins(last, span):
            joined[-1] = replace(last, high=span.high, regret=max(last.regret, span.regret))
        else:
            joined.append(span)
    return tuple(_interval(span, loss) for span in joined)


def _joins(last: SizeSpan, span: SizeSpan) -> bool:
    alike = last.anchor.config == span.anchor.config and isfinite(last.regret) == isfinite(span.regret)
    return alike and last.high + 1 == span.low


def _interval(span: SizeSpan, loss: float) -> Interval:
    measured: float | None = span.regret if isfinite(span.regret) else None
    predicted = measured
    if measured is not None and not _is_searched(span):
        predicted = (1 + measured) * (1 + TOLERANCE) * (1 + loss) - 1
    anchor = span.anchor
    return Interval(span.low, span.high, anchor.made_at, measured, predicted, anchor.planned)


def _is_searched(span: SizeSpan) -> bool:
    """Whether a span is one size that was tuned."""
    return span.low == span.high == span.anchor.made_at and not span.anchor.planned


def _regret(cost: float, least: float) -> float:
    """The excess of a cost over the least, as a fraction of the least."""
    return cost / least - 1 if isfinite(cost) else inf
