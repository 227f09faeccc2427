"""Courses of searches whose optimum is known: how far the best was above it after so many trials.

A set of them ships with the program (courses.json, written by `tune bench outlook --write`): layers on cost
models that others wrote, recorded tables, and kernels on skewed chips.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

LENGTH = 256
"""Trials that a course is kept for; beyond, it counts as no better than there."""
WORST_LOG = 3.0
"""A regret of e^3, about twenty times the optimum, stands for worse, and for no success yet."""
_SHIPPED = Path(__file__).with_name("courses.json")


@dataclass(frozen=True, eq=False)
class Course:
    """One search: the `source` that measured it, whether it had a draft, and its regret after 0 to LENGTH
    trials as log(best over optimum), float64 [LENGTH + 1]. Only the first `known` of these are told: what a
    search had left to find is known long before its own end.
    """

    source: str
    drafted: bool
    regret_log: Floats
    known: int = LENGTH

    @staticmethod
    def of(
        source: str, drafted: bool, improvements: Sequence[tuple[int, float]], trials: int, optimum: float
    ) -> "Course":
        """From the improvements of a search (trial from 1 on, new best), which had `trials` in all.

        A search that ended at its optimum keeps it; what a shorter one would have found is not known, and
        taken as nothing.
        """
        regret = np.full(LENGTH + 1, WORST_LOG)
        for trial, best in improvements:
            if trial <= min(trials, LENGTH):
                regret[trial:] = min(WORST_LOG, max(0.0, float(np.log(best / optimum))))
        return Course(source, drafted, regret)

    @property
    def since_best(self) -> npt.NDArray[np.int64]:
        """Trials after the best one, int64 [LENGTH + 1]; all of them before the first success."""
        trials = np.arange(LENGTH + 1)
        better = np.concatenate([[False], np.diff(self.regret_log) < 0.0])
        return trials - np.maximum.accumulate(np.where(better, trials, 0))

    def to_json(self) -> dict[str, Any]:
        """The steps of the regret, in millionths."""
        steps = np.flatnonzero(np.diff(self.regret_log) < 0.0) + 1
        return {
            "source": self.source,
            "drafted": self.drafted,
            "steps": [[int(at), round(float(self.regret_log[at]), 6)] for at in steps],
        }

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> "Course":
        """Inverse of `to_json`."""
        regret = np.full(LENGTH + 1, WORST_LOG)
        for at, log in found["steps"]:
            regret[at:] = log
        return Course(found["source"], found["drafted"], regret)


def read_courses(path: Path = _SHIPPED) -> tuple[Course, ...]:
    """Those of a file of the program's own."""
    return tuple(map(Course.from_json, json.loads(path.read_text(encoding="utf-8"))))


def write_courses(courses: Sequence[Course], path: Path = _SHIPPED) -> None:
    """As `read_courses` reads them, a course a line."""
    lines = ",\n".join(json.dumps(course.to_json(), separators=(",", ":")) for course in courses)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
