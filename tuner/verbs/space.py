"""`tune space`: the sampler of `tune run` on any T1 space, on a recorded table or a device of the user's.

There is no target, hence neither draft nor bound: the model learns from plain features of the Configs.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.measure.device import Device
from tilewright.measure.recorded.replay import ReplayDevice, SpaceTask, load_t4
from tilewright.search_space.t1 import load_t1
from tilewright.tuner.devices import load_device
from tilewright.tuner.kernel.candidates import Candidate, fitting
from tilewright.tuner.kernel.prior import table_records
from tilewright.tuner.kernel.problem import Problem
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.search import KernelSearch, search_kernel
from tilewright.tuner.kernel.stopping import StopRule

TRIALS = 200


@dataclass(frozen=True)
class SpaceReport:
    """The result of a search of a foreign space. `optimum_us` is the table's best, where there is a table."""

    space: str
    device: str
    trials: int
    failed: int
    best: dict[str, Any]
    best_us: float
    found_at: int
    optimum_us: float | None
    stop_reason: str
    seed: int

    @property
    def ratio(self) -> float | None:
        """Best found over optimum."""
        return None if self.optimum_us is None else self.best_us / self.optimum_us

    def to_json(self) -> dict[str, Any]:
        """The fields and the ratio, JSON-able."""
        return {**vars(self), "ratio": self.ratio}


def tune_space(
    space: Path,
    *,
    replay: Path | None = None,
    device: str | None = None,
    trials: int = TRIALS,
    seed: int = 0,
    candidates: Sequence[Candidate] = (),
    priors: Sequence[Path] = (),
    clock: Callable[[], float] = time.monotonic,
) -> SpaceReport:
    """Search the T1 space in `space` on the T4 table `replay`, or on the device `module:factory`.

    `candidates` are measured first. `priors` are T4 tables of the same space from other devices: each has a
    vote that it loses where it ranks the own measurements badly.

    InputError (one line) for files that cannot be used, DeviceError when no trial succeeded.
    """
    if (replay is None) == (device is None):
        raise UsageError("give either --replay TABLE.json or --device MODULE:FACTORY")
    if trials < 1:
        raise UsageError(f"--trials {trials} measures nothing; ask for at least 1")
    tuned = load_t1(space)
    chosen: Device = load_t4(replay, tuned) if replay is not None else load_device(device or "")
    task = SpaceTask(tuned)
    first = fitting(candidates, task.digest, tuned)
    if candidates and not first:
        raise UsageError(
            f"none of the {len(candidates)} Configs to try lies in the space; compare their knobs"
        )
    seeds = np.array([tuned.encode(config) for config in first], dtype=np.int32).reshape(-1, len(tuned.knobs))
    problem, run = Problem(task, tuned, seeds=seeds), f"space/{seed}"
    model = RunModel(run)
    if priors:
        model.set_prior(problem, tuple(table_records(problem, load_t4(path, tuned)) for path in priors))
    found = search_kernel(
        KernelSearch(problem, run, model),
        chosen,
        StopRule(max_trials=trials),
        clock=clock,
    )
    if found.best is None or found.best.measurement.latency_us is None:
        last = found.trials[-1].measurement.reason if found.trials else "the space has no feasible Config"
        raise DeviceError(f"none of {len(found.trials)} trials succeeded; the last one: {last}")
    return SpaceReport(
        space=tuned.digest,
        device=chosen.describe().name,
        trials=len(found.trials),
        failed=sum(trial.measurement.latency_us is None for trial in found.trials),
        best=dict(found.best.config.items),
        best_us=found.best.measurement.latency_us,
        found_at=found.best.number + 1,
        optimum_us=chosen.optimum_us if isinstance(chosen, ReplayDevice) else None,
        stop_reason=str(found.reason),
        seed=seed,
    )
