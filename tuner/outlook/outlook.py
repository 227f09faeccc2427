"""The outlook of a search: how far its best is from the optimum now, and after more trials.

Nothing is assumed about the course of a search but that it is like one of those known. A known search was in
many states on its way; those near to what this search has shown, in trials, in trials since the best and in
what the last trials brought, tell what was left to find then. A network is the sum of its kernels, all drawn
from one source at a time, so that what the sources differ in does not average out.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilewright.tuner.outlook.course import Floats
from tilewright.tuner.outlook.courses import Courses
from tilewright.tuner.outlook.shown import Shown


class Band(NamedTuple):
    """A regret to expect (0.02 = 2 %), and the ends between which it lies nine times in ten."""

    expected: float
    low: float
    high: float


class Outlook:
    """What `courses` tell of kernels that have shown `seen`: draws of the regret, all by one seed."""

    def __init__(self, courses: Courses, seen: Sequence[Shown]) -> None:
        self._courses = courses
        self.seen = tuple(seen)

    def regret(self, more: Sequence[int] | int = 0) -> Floats:
        """Draws [draws] of the network's regret after `more` trials, of each kernel or of all alike."""
        now, later = self._now, self._courses.later(self._picked, np.broadcast_to(more, len(self.seen)))
        later = np.minimum(later, now)
        # Where nothing was measured, `best` is a guess at the optimum.
        above = np.where([each.trials > 0 for each in self.seen], now, 0.0)
        optimum = np.array([each.best for each in self.seen]) * np.exp(-above)
        result: Floats = (optimum * np.exp(later)).sum(axis=1) / optimum.sum(axis=1) - 1.0
        return result

    def band(self, more: Sequence[int] | int = 0) -> Band:
        """The regret after `more` trials, of each kernel or of all alike."""
        drawn = self.regret(more)
        low, high = np.quantile(drawn, [0.05, 0.95])
        return Band(float(drawn.mean()), float(low), float(high))

    def within(self, regret: float) -> float:
        """The chance that the best is within `regret` of the optimum already."""
        return float(np.mean(self.regret() <= regret))

    @cached_property
    def _picked(self) -> npt.NDArray[np.int64]:
        return self._courses.draw(self.seen, np.random.default_rng(0))

    @cached_property
    def _now(self) -> Floats:
        ceilings = np.array([each.ceiling_log for each in self.seen])
        found: Floats = self._courses.later(self._picked, np.zeros(len(self.seen), np.int64))
        lowest: Floats = np.minimum(found, ceilings)
        return lowest
