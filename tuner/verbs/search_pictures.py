"""The data of a search's pictures: which knobs mattered, a kernel's trials, drafts beside measurements.
Plain JSON, like `tilewright.tuner.verbs.pictures`; records alone are needed.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import Target
from tilewright.cost_model.analytic import KernelModel
from tilewright.db.records import Key, RunRow, TrialRow
from tilewright.db.repository import Repository
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Rows
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.space import Space
from tilewright.search_space.validity import kernel_space

Numbers = npt.NDArray[np.float64]
LEAST_TRIALS = 8
"""Trials below which a kernel tells nothing of its knobs."""
MOST_KERNELS, MOST_TRIALS, MOST_POINTS = 4, 150, 1_500


def search_of(
    trials: Sequence[TrialRow], regions: Mapping[str, Regions], names: Mapping[str, str], chip: Target
) -> dict[str, Any]:
    """`kernels`: those with the most trials, each its `name`, `knobs` (`name`, `values`, `importance`) and
    `trials` (position of each knob's value, then the latency in us). `predicted`: pairs of draft and measured
    latency in us over all kernels of the plan.
    """
    kernels: list[dict[str, Any]] = []
    predicted: list[list[float]] = []
    ordered = sorted(trials, key=lambda row: row.key.workload_digest)
    for digest, group in groupby(ordered, key=lambda row: row.key.workload_digest):
        if digest not in regions:
            continue
        layout = KnobLayout(regions[digest], chip)
        space = kernel_space(layout)
        rows, measured_us = _measured(space, list(group))
        if not len(rows):
            continue
        drafts_us = np.exp(KernelModel(layout).draft_log(rows))
        predicted += [[_short(a), _short(b)] for a, b in zip(drafts_us, measured_us, strict=True)]
        if len(rows) >= LEAST_TRIALS:
            kernels.append(_kernel(names[digest], space, rows, measured_us))
    kernels.sort(key=lambda kernel: (-kernel["measured"], kernel["name"]))
    return {"kernels": kernels[:MOST_KERNELS], "predicted": _thinned(predicted, MOST_POINTS)}


def latest_run(repository: Repository, key: Key) -> RunRow | None:
    """The last one that had a budget: beside such, a range measures sizes without any."""
    return next((run for run in repository.runs_on(key) if run.asked.trials_budget), None)


def importances(rows: Rows, values: Numbers) -> Numbers:
    """The share of the variance of the log of `values` that each column of `rows` accounts for alone.

    Omega squared of a one-way analysis of variance (W. L. Hays, Statistics for Psychologists, 1963): the
    share between the means of a knob's values, less what chance alone would give. 0 to 1.
    """
    logs = np.log(values)
    total = float(((logs - logs.mean()) ** 2).sum())
    shares = np.zeros(rows.shape[1])
    for column, places in enumerate(rows.T):
        levels = [logs[places == place] for place in np.unique(places)]
        free = len(logs) - len(levels)
        if len(levels) < 2 or free < 1 or total <= 0.0:
            continue
        within = sum(float(((level - level.mean()) ** 2).sum()) for level in levels)
        noise = within / free
        shares[column] = max(0.0, (total - within - (len(levels) - 1) * noise) / (total + noise))
    return shares


def _measured(space: Space, trials: Sequence[TrialRow]) -> tuple[Rows, Numbers]:
    """The rows of trials that have a latency, and these latencies."""
    found: list[tuple[Rows, float]] = []
    for row in trials:
        measured = row.trial.measurement
        if measured.status is not Status.OK or not measured.latency_us:
            continue
        try:
            found.append((space.encode(row.trial.config), measured.latency_us))
        except ConfigError:  # a Config of a space that has changed since
            continue
    rows = np.array([row for row, _ in found], dtype=np.int32).reshape(len(found), len(space.knobs))
    return rows, np.array([latency for _, latency in found])


def _kernel(name: str, space: Space, rows: Rows, measured_us: Numbers) -> dict[str, Any]:
    shares = importances(rows, measured_us)
    used = [column for column in range(rows.shape[1]) if len(np.unique(rows[:, column])) > 1]
    kept = np.argsort(measured_us, kind="stable")
    if len(kept) > MOST_TRIALS:  # the fastest half of the picture, and a sample of the rest
        half = MOST_TRIALS // 2
        kept = np.concatenate([kept[:half], kept[np.linspace(half, len(kept) - 1, half).astype(int)]])
    return {
        "name": name,
        "measured": len(rows),
        "knobs": [
            {
                "name": space.knobs[column].name,
                "values": [str(value) for value in space.knobs[column].values],
                "importance": round(float(shares[column]), 4),
            }
            for column in used
        ],
        "trials": [[*map(int, rows[index, used]), _short(measured_us[index])] for index in kept],
    }


def _thinned(pairs: list[list[float]], most: int) -> list[list[float]]:
    return pairs if len(pairs) <= most else pairs[:: -(-len(pairs) // most)]


def _short(number: float) -> float:
    return float(f"{number:.5g}")
