"""Searches that a database holds, as known searches."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.db.records import TrialRow
from tilewright.tuner.outlook.course import LENGTH, Course

LEAST_TRIALS = 48
"""A shorter search says too little about where it would have ended."""


def recorded_courses(trials: Sequence[TrialRow], names: Mapping[str, str]) -> tuple[Course, ...]:
    """The first search of each kernel on each target, of those long enough; `names` are of targets by digest.

    The best of all runs stands for the optimum; so that a search is not judged by its own end, the second
    half of it is not told. The run of the oldest trial may have begun before it, and is left out.
    """
    if not trials:
        return ()
    cut = min(trials, key=lambda row: (row.created_at_s, row.trial.number)).trial.run
    runs: dict[tuple[str, str], dict[str, list[TrialRow]]] = defaultdict(lambda: defaultdict(list))
    for row in trials:
        runs[row.key.workload_digest, row.key.target_digest][row.trial.run].append(row)
    made = []
    for (_, target), by_run in sorted(runs.items()):
        first = min(by_run, key=lambda run: min(row.created_at_s for row in by_run[run]))
        everything = [_latency_us(row) for rows in by_run.values() for row in rows]
        values = [_latency_us(row) for row in sorted(by_run[first], key=lambda row: row.trial.number)]
        if first == cut or len(values) < LEAST_TRIALS or not np.isfinite(min(everything)):
            continue
        steps = [(at, us) for at, us in enumerate(values, 1) if us < min([*values[: at - 1], np.inf])]
        course = Course.of(names.get(target, target), True, steps, len(values), min(everything))
        made.append(Course(course.source, True, course.regret_log, min(LENGTH, len(values) // 2)))
    return tuple(made)


def _latency_us(row: TrialRow) -> float:
    latency_us = row.trial.measurement.latency_us
    return np.inf if latency_us is None else latency_us
