"""Fast but wrong kernels, injected on purpose: are they all refused, and nobody else?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.farm_device import DigestDevice, NumberedTask, configs
from tilewright.measure.device import Task
from tilewright.measure.faults import CheckedDevice, FaultPlan, FaultyDevice
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config

Row = dict[str, Any]
TASK = NumberedTask(2)


class ComputingDevice(DigestDevice):
    """A DigestDevice whose kernels compute something: a matrix drawn from the seed of their inputs."""

    def outputs(self, task: Task, config: Config, seed: int) -> npt.NDArray[np.float64]:
        """What it should compute."""
        return self.expected(task, seed)

    def expected(self, task: Task, seed: int) -> npt.NDArray[np.float64]:
        """8 x 8 numbers."""
        return np.random.default_rng(seed).normal(size=(8, 8))


class Cheating(FaultyDevice):
    """Kernels that compute other numbers are three times as fast as they could be: the lure of a bug."""

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """Latencies, the wrong ones' too good to be true."""
        plan = self._plan
        told = super().measure(task, configs)
        return [
            Measurement(Status.OK, latency_us=m.latency_us / 3.0)
            if m.latency_us is not None and plan.happens("wrong_output", task.digest, config.digest)
            else m
            for config, m in zip(configs, told, strict=True)
        ]


def fast_but_wrong(kernels: int, seed: int) -> Row:
    """Until `kernels` wrong ones were met among as many right ones: how many of each were refused."""
    plan = FaultPlan(seed=seed, wrong_output=0.5)
    device = CheckedDevice(Cheating(ComputingDevice(), plan, life=0), seed=seed)
    wrong = refused = right = right_refused = 0
    number = 0
    while wrong < kernels:
        (config,) = configs(number, 1)
        number += 1
        (answer,) = device.measure(TASK, [config])
        if plan.happens("wrong_output", TASK.digest, config.digest):
            wrong += 1
            refused += answer.status is Status.WRONG
        else:
            right += 1
            right_refused += answer.status is not Status.OK
    return {
        "task": "fast but wrong",
        "wrong": wrong,
        "refused": refused,
        "right": right,
        "right_refused": right_refused,
    }
