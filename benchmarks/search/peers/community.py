"""The score of the Kernel Tuner community, on tables that hold a whole space.

Source: Willemsen et al., "A methodology for comparing optimization algorithms for auto-tuning" (Future
Generation Computer Systems 159, 2024), which the package autotuning-methodology implements; time is counted
in trials here. The best that a search has found is held against what chance is expected to find:

    score(t) = (chance(t) - found(t)) / (chance(t) - optimum)

0 is chance, 1 the optimum at once. A run's score is the mean over t, up to the trial at which chance has come
95 % of the way from the median to the optimum, or to the end of the budget where that comes first.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
CUTOFF = 0.95
_POINTS = 50


def chance_of(values: Floats) -> Floats:
    """The lowest of k of the values [n] that chance is expected to draw without replacement, k = 1 ... n.

    What failed (NaN) counts as the slowest success.
    """
    ordered = np.sort(np.where(np.isfinite(values), values, np.nanmax(values)))
    count = len(ordered)
    left, expected = np.arange(count - 1, -1, -1.0), np.empty(count)
    above = np.ones(count)  # the chance that all of so many draws lie above the i-th value
    for drawn in range(count):
        above = above * np.maximum(left - drawn, 0.0) / (count - drawn)
        expected[drawn] = -np.diff(above, prepend=1.0) @ ordered
    return expected


class ChanceScale:
    """What a table of `values` [n], NaN where one failed, holds a run of `budget` trials against."""

    def __init__(self, values: Floats, budget: int) -> None:
        self.optimum = float(np.nanmin(values))
        self.chance = chance_of(values)
        median = float(np.nanmedian(values))
        reached = np.flatnonzero(self.chance <= median - CUTOFF * (median - self.optimum))
        last = min(budget, int(reached[0]) + 1 if len(reached) else len(values))
        self.trials = np.unique(np.round(np.linspace(1, last, _POINTS)).astype(np.int64))

    def score(self, improvements: Sequence[Sequence[float]]) -> float:
        """Of a run with these improvements [trial from 1 on, new best]; chance before its first success."""
        scores = []
        for trial in self.trials:
            found = [best for at, best in improvements if at <= trial]
            gap = float(self.chance[trial - 1]) - self.optimum
            scores.append((float(self.chance[trial - 1]) - found[-1]) / gap if found and gap > 0.0 else 0.0)
        return float(np.mean(scores))
