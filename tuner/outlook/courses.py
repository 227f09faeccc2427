"""The states that known searches were in on their way, and which of them are like that of another search."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from tilewright.tuner.outlook.course import LENGTH, Course, Floats, read_courses
from tilewright.tuner.outlook.shown import Shown

DRAWS = 1000
_MARKS = np.unique(np.round(np.geomspace(1, LENGTH, 24))).astype(np.int64)
"""Trials at which the states of a known search are looked at; each search has the state of no trials too."""
_WIDTHS = np.array([0.35, 0.4, 1.0])
"""Of the kernel over states: log trials, log of one and the trials since the best, log of the gain."""
_LEAST_GAIN = 0.003
_OTHER_KIND = 0.2
"""Weight of searches that differ in having a draft: a draft may be worth nothing."""
_FAR = -50.0
_OWN = 4.0
"""Weight of searches on the device at hand, against those on another."""


@cache
def shipped_courses() -> "Courses":
    """Of the searches that ship with the program."""
    return Courses(read_courses())


class Courses:
    """Known searches, and their S states as features [S, 3]; `own` are sources that count for more: searches
    on the very device.
    """

    def __init__(self, courses: Sequence[Course], own: frozenset[str] = frozenset()) -> None:
        self.each = tuple(sorted(courses, key=lambda course: course.source))
        sources = [course.source for course in self.each]
        marks = np.concatenate([[0], _MARKS])
        self._regret = np.stack([course.regret_log for course in self.each])
        course = np.repeat(np.arange(len(self.each)), len(marks))
        trials = np.tile(marks, len(self.each))
        since = np.concatenate([course.since_best[marks] for course in self.each])
        gain = np.concatenate([_gains(course.regret_log, marks) for course in self.each])
        # States in which a search was before its known part ended, those of a source together.
        told = trials <= np.array([course.known for course in self.each])[course]
        self._course, self._trials = course[told], trials[told]
        self._features = _features(self._trials, since[told], gain[told])
        self._drafted = np.array([course.drafted for course in self.each])[self._course]
        names = np.array(sources)[self._course]
        self._starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
        self._sizes = np.diff([*self._starts, len(names)])
        self._weight_log = np.log([_OWN if name in own else 1.0 for name in names[self._starts]])

    def draw(self, seen: Sequence[Shown], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """States like those of `seen`, int64 [DRAWS, kernels]; those of one draw are of one source."""
        likeness = np.stack([self._likeness(each) for each in seen])
        kind = np.where(
            self._drafted == np.array([[each.drafted] for each in seen]), 0.0, np.log(_OTHER_KIND)
        )
        # Kernels of a network are much alike: as evidence they count for fewer than they are.
        evidence = self._log_means(likeness).mean(axis=0) * np.sqrt(len(seen)) + self._weight_log
        evidence += np.maximum.reduceat(kind, self._starts, axis=1).mean(axis=0)
        chance = np.exp(evidence - evidence.max())
        drawn = rng.choice(len(self._starts), DRAWS, p=chance / chance.sum())
        most = np.maximum.reduceat(likeness + kind, self._starts, axis=1)
        steps = np.cumsum(np.exp(likeness + kind - np.repeat(most, self._sizes, axis=1)), axis=1)
        ends = self._starts + self._sizes - 1
        below = np.concatenate([np.zeros((len(seen), 1)), steps[:, ends[:-1]]], axis=1)
        sought = below[:, drawn] + rng.random((len(seen), DRAWS)) * (steps[:, ends] - below)[:, drawn]
        picked = np.stack([np.searchsorted(row, at) for row, at in zip(steps, sought, strict=True)], axis=1)
        first, last = self._starts[drawn], ends[drawn]
        within: npt.NDArray[np.int64] = np.clip(picked, first[:, None], last[:, None])
        return within

    def _log_means(self, likeness: Floats) -> Floats:
        """Log of the mean over the states of each source, [kernels, sources]."""
        most = np.maximum.reduceat(likeness, self._starts, axis=1)
        parts = np.exp(likeness - np.repeat(most, self._sizes, axis=1))
        result: Floats = most + np.log(np.add.reduceat(parts, self._starts, axis=1) / self._sizes)
        return result

    def later(self, picked: npt.NDArray[np.int64], more: npt.NDArray[np.int64]) -> Floats:
        """The regret of `picked` states [draws, kernels] after `more` trials [kernels] of each."""
        course = self._course[picked]
        known = np.array([each.known for each in self.each])[course]
        result: Floats = self._regret[course, np.minimum(self._trials[picked] + more, known)]
        return result

    def _likeness(self, seen: Shown) -> Floats:
        """Log of the kernel over states [S]; -inf is far."""
        scale = min(1.0, LENGTH / max(1, seen.trials))
        here = _features(
            np.array([seen.trials * scale]), np.array([seen.since_best * scale]), np.array([seen.gain_log])
        )
        off = -0.5 * np.square((self._features - here) / _WIDTHS).sum(axis=1)
        result: Floats = np.where((self._trials == 0) == (seen.trials == 0), off, _FAR + off)
        return result


def _features(trials: npt.ArrayLike, since: npt.ArrayLike, gain_log: npt.ArrayLike) -> Floats:
    return np.stack(
        [
            np.log(np.maximum(trials, 1)),
            np.log1p(np.asarray(since, dtype=np.float64)),
            np.log(np.maximum(gain_log, 0.0) + _LEAST_GAIN),
        ],
        axis=1,
    )


def _gains(regret_log: Floats, marks: npt.NDArray[np.int64]) -> Floats:
    """`gain_of` at each of the `marks`."""
    before = np.maximum(1, marks // 4)
    result: Floats = regret_log[np.minimum(before, marks)] - regret_log[marks]
    return result
