"""Sizes of a range that stand for the others."""

from bisect import bisect_left
from collections.abc import Sequence
from math import isqrt

MOST_TUNED = 5
"""Sizes of a range that are tuned."""
LEAST_STEP = 2
"""Ratio of neighbouring sizes below which a range has fewer of them."""


def representatives(sizes: Sequence[int], most: int = MOST_TUNED) -> tuple[int, ...]:
    """Both ends of `sizes` and some between at equal ratios: 1..2048 -> 1 7 45 304 2048.

    0 has no ratio to anything: it stands beside those from 1 on.
    """
    low, high = sizes[0], sizes[-1]
    if low == 0:
        return (0, *representatives(sizes[1:], most - 1)) if high else (0,)
    steps = 1
    while steps < most - 1 and low * LEAST_STEP ** (steps + 1) <= high:
        steps += 1
    wanted = [round(low * (high / low) ** (index / steps)) for index in range(steps + 1)]
    return tuple(sorted({nearest(sizes, size) for size in wanted}))


def middle_of(sizes: Sequence[int], low: int, high: int) -> int:
    """The one of `sizes` in the middle of low..high by ratio, below `high`; that itself where none is."""
    first, last = bisect_left(sizes, low), bisect_left(sizes, high)
    inside = sizes[first:last]
    return nearest(inside, isqrt(max(low, 1) * high)) if inside else high


def nearest(sizes: Sequence[int], size: int) -> int:
    """The one of `sizes` nearest to `size`, the smaller of two."""
    at = bisect_left(sizes, size)
    return min(sizes[max(at - 1, 0) : at + 1], key=lambda each: (abs(each - size), each))
