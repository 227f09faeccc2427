"""A lower bound on the time in which two units do all ops, where each op runs on one of the two."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
ACCURACY = 1e-6
"""The answer may be too small by this share."""


def least_busier(works: Sequence[tuple[float, float]]) -> float:
    """Time of the busier unit at best; `works` has an op's time on either unit, infinite where it cannot run.

    The best assignment is hard to find. The bound relaxes it: in a schedule that ends within T, no op runs on
    a unit where it alone, together with the ops that can run only there, takes longer than T. With the others
    split between the units as if they were fluid, those that lose least on the second unit first, the least T
    that is not refuted is a bound (the relaxation of J. K. Lenstra, D. B. Shmoys, E. Tardos, Math.
    Programming 46, 1990).
    """
    times = np.array([each for each in works if min(each) > 0.0], dtype=np.float64).reshape(-1, 2)
    if not len(times):
        return 0.0
    with np.errstate(invalid="ignore"):
        order = np.argsort(times[:, 1] / times[:, 0], kind="stable")
    times = times[order]
    low = float(times.min(axis=1).max())
    if _may_end(times, low):
        return low
    first = times[:, 0] <= times[:, 1]
    high = float(max(times[first, 0].sum(), times[~first, 1].sum()))
    while high - low > ACCURACY * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _may_end(times, middle) else (middle, high)
    return low


def _may_end(times: Floats, within: float) -> bool:
    """Whether the relaxation allows an end within the time; `times` are sorted by the loss on the second
    unit.
    """
    barred = times > within
    while True:
        if barred.all(axis=1).any():
            return False
        forced = barred[:, ::-1]
        loads = np.where(forced, times, 0.0).sum(axis=0)
        tighter = barred | (~forced & (times + loads > within))
        if (tighter == barred).all():
            break
        barred = tighter
    free = ~barred.any(axis=1)
    surplus = loads[0] + times[free, 0].sum() - within
    if surplus <= 0.0:
        return bool(loads[1] <= within)
    moved = np.minimum(times[free, 0], np.maximum(0.0, surplus - np.cumsum(times[free, 0]) + times[free, 0]))
    if moved.sum() < surplus * (1.0 - 1e-12):
        return False
    return bool(loads[1] + (moved * times[free, 1] / times[free, 0]).sum() <= within)
