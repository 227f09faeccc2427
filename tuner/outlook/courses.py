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


@cache
def shipped_courses() -> "Courses":
    """Of the searches that ship with the program."""
    return Courses(read_courses())


class Courses:
    """Known searches, and their S states as features [S, 3]."""

    def __init__(self, courses: Sequence[Course]) -> None:
        self.each = tuple(courses)
        names = sorted({course.source for course in courses})
        marks = np.concatenate([[0], _MARKS])
        self._regret = np.stack([course.regret_log for course in courses])
        self._course = np.repeat(np.arange(len(courses)), len(marks))
        self._trials = np.tile(marks, len(courses))
        self._source = np.array([names.index(course.source) for course in courses])[self._course]
        self._drafted = np.array([course.drafted for course in courses])[self._course]
        since = np.concatenate([course.since_best[marks] for course in courses])
        gain = np.concatenate([_gains(course.regret_log, marks) for course in courses])
        self._features = _features(self._trials, since, gain)

    def draw(self, seen: Sequence[Shown], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """States like those of `seen`, int64 [DRAWS, kernels]; those of one draw are of one source."""
        likeness = np.stack([self._likeness(each) for each in seen])
        kinds = np.stack([self._kind_log(each) for each in seen])
        sources = np.arange(self._source.max() + 1)
        members = [np.flatnonzero(self._source == source) for source in sources]
        # Kernels of a network are much alike: as evidence they count for fewer than they are.
        evidence = np.array([_log_mean(likeness[:, at]).mean() for at in members]) * np.sqrt(len(seen))
        evidence += np.array([kinds[:, at].max(axis=1).mean() for at in members])
        chance = np.exp(evidence - evidence.max())
        drawn = np.sort(rng.choice(sources, DRAWS, p=chance / chance.sum()))
        picked = np.empty((DRAWS, len(seen)), dtype=np.int64)
        for source in np.unique(drawn):
            mine, at = drawn == source, members[source]
            for kernel in range(len(seen)):
                among = likeness[kernel, at] + kinds[kernel, at]
                steps = np.cumsum(np.exp(among - among.max()))
                picked[mine, kernel] = at[np.searchsorted(steps, rng.random(int(mine.sum())) * steps[-1])]
        return picked

    def later(self, picked: npt.NDArray[np.int64], more: npt.NDArray[np.int64]) -> Floats:
        """The regret of `picked` states [draws, kernels] after `more` trials [kernels] of each."""
        at = np.minimum(self._trials[picked] + more, LENGTH)
        result: Floats = self._regret[self._course[picked], at]
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

    def _kind_log(self, seen: Shown) -> Floats:
        """Log of what a state [S] weighs by its kind."""
        return np.where(self._drafted == seen.drafted, 0.0, np.log(_OTHER_KIND))


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


def _log_mean(log: Floats) -> Floats:
    """Of the last axis."""
    most = log.max(axis=-1)
    result: Floats = most + np.log(np.exp(log - most[..., None]).mean(axis=-1))
    return result
