"""Intervals of a range, each with the Config that answers there: measured between tuned sizes, halved where
it is bad.

    tuned at 108 and 512; 109..512 asked of 512        109: 19 % above what 108 gives there, 234: 6 % above
    planned anew at 234, measured, kept as an anchor   109..234 asked of 234, 235..512 of 512

An anchor is a size with a Config of its own. The sizes between two anchors run what the upper one has,
carried down. That is measured at the lowest of them and in the middle, beside what the lower anchor has and,
where these leave room for something better, beside a plan made for the middle. Where what the lower anchor
has is better, it answers if it is so at the highest of them, too.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Protocol

from tilewright.search_space.knobs import Config
from tilewright.tuner.sizes.representatives import middle_of
from tilewright.tuner.sizes.selection import Interval

TOLERANCE = 0.02
"""Regret against the best seen at a size, above which sizes between two anchors are looked at closer."""
MOST_HALVINGS = 4
"""How often the sizes between two that were tuned are halved."""


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

    def carried(self, size: int, anchors: tuple[Anchor, ...]) -> list[float]:
        """The costs of the Configs of `anchors` at `size`, tiled for it; infinite where one does not run."""
        ...

    def planned(self, size: int) -> Anchor | None:
        """A plan made for `size` without a search; None where none runs, or no more may be made."""
        ...


@dataclass(frozen=True)
class SizeSpan:
    """The sizes `low` to `high`, the anchor whose Config they run, and their worst regret seen."""

    low: int
    high: int
    anchor: Anchor
    regret: float


def spans_between(
    survey: Survey, below: Anchor, above: Anchor, halvings: int = MOST_HALVINGS
) -> list[SizeSpan]:
    """Spans over the sizes above `below` up to `above`, in ascending order; infinite regret: nothing runs."""
    low, high = below.size + 1, above.size
    lowest = survey.sizes[bisect_left(survey.sizes, low)]
    if lowest == high:
        return [SizeSpan(low, high, above, 0.0)]
    middle = middle_of(survey.sizes, lowest, high)
    seen = {size: survey.carried(size, (above, below)) for size in sorted({lowest, middle})}
    fresh = None
    if seen[middle][0] > (1 + TOLERANCE) * below.cost:
        fresh = survey.planned(middle)
    least = {size: min(costs) for size, costs in seen.items()}
    if fresh is not None:
        least[middle] = min(least[middle], fresh.cost)
    worst = [max(_regret(costs[index], least[size]) for size, costs in seen.items()) for index in (0, 1)]
    if worst[0] <= TOLERANCE or halvings == 0:
        if worst[1] < worst[0]:  # `below` was not seen yet where `above` was made for
            (there,) = survey.carried(high, (below,))
            worst[1] = max(worst[1], _regret(there, min(there, above.cost)))
        regret, at = min((regret, index) for index, regret in enumerate(worst))
        return [SizeSpan(low, high, (above, below)[at], regret)]
    if fresh is None or min(seen[middle]) <= fresh.cost:
        cost, at = min((cost, index) for index, cost in enumerate(seen[middle]))
        fresh = replace((above, below)[at], size=middle, cost=cost)
    return [
        *spans_between(survey, below, fresh, halvings - 1),
        *spans_between(survey, fresh, above, halvings - 1),
    ]


def intervals_of(spans: Sequence[SizeSpan], loss: float) -> tuple[Interval, ...]:
    """The spans as a selector has them, neighbours with one Config joined; those where nothing runs left out.

    `loss` is the expected gain of a search at sizes that were not searched. There TOLERANCE is added to the
    measured regret: nothing was looked for that is better by less.
    """
    joined: list[SizeSpan] = []
    for span in (each for each in spans if isfinite(each.regret)):
        last = joined[-1] if joined else None
        if last is not None and last.high + 1 == span.low and last.anchor.config == span.anchor.config:
            joined[-1] = replace(last, high=span.high, regret=max(last.regret, span.regret))
        else:
            joined.append(span)
    return tuple(
        Interval(
            span.low,
            span.high,
            span.anchor.made_at,
            span.regret,
            0.0 if _is_searched(span) else (1 + span.regret) * (1 + TOLERANCE) * (1 + loss) - 1,
            span.anchor.planned,
        )
        for span in joined
    )


def _is_searched(span: SizeSpan) -> bool:
    """Whether a span is one size that was tuned."""
    return span.low == span.high == span.anchor.made_at and not span.anchor.planned


def _regret(cost: float, least: float) -> float:
    return cost / least - 1 if isfinite(cost) else inf
