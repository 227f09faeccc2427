"""Faults of a real lab, injected on purpose: each with a rate of its own, each repeated exactly by its seed.
A `FaultPlan` has their kinds and rates. `FaultyDevice` does it to any Device inside a worker; `VirtualFarm`
does the same to a whole farm in virtual time. Nothing here is for use against a real board.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.ops import Array
from tilewright.measure.device import Device, DeviceInfo, Task
from tilewright.measure.repeated import Repeated
from tilewright.measure.repeated import measured as measured_by
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config

NORMAL = NormalDist()
DRIFT_PERIOD = 200.0  # measurements over which a drift reaches its full size
THROTTLE_RUN = 20  # measurements that a spell of throttling lasts
CRASH_EXIT = 70


@dataclass(frozen=True)
class FaultPlan:
    """Kinds of faults. Rates are probabilities per measurement; 0 (or a factor of 1) switches a fault off."""

    seed: int = 0
    hosts: float = 0.0  # 1: each host of a farm has the faults of its own `tune worker --lab`, and no others
    # The clock is right, the world is not quiet.
    noise: float = 0.0  # sigma of a log-normal factor on the latency
    drift: float = 0.0  # relative slow-down that builds up over DRIFT_PERIOD measurements
    throttle: float = 0.0  # rate of spells in which latencies are `throttle_factor` times as long
    throttle_factor: float = 1.5
    sickness: float = 1.0  # every latency times this: 3 is a slow worker, 0.3 a lying one
    # The measurement takes longer than it should, or for ever.
    pace_s: float = 0.0  # seconds that one measurement takes, as on a real board
    straggler: float = 0.0
    straggler_factor: float = 5.0
    hang: float = 0.0
    # The process ends.
    crash_before: float = 0.0
    crash_during: float = 0.0
    crash_after: float = 0.0
    failed_start: float = 0.0
    # The answer does not arrive, or arrives too often.
    lost_reply: float = 0.0
    double_reply: float = 0.0
    # The answer is wrong. These stick to a candidate on every worker.
    wrong_output: float = 0.0  # other numbers, at the right time
    wrong_time: float = 0.0  # the right numbers, `wrong_time_factor` times as fast; so many runs of one
    wrong_time_factor: float = 3.0
    poison: float = 0.0  # the process ends, every time

    def __post_init__(self) -> None:
        for name in RATES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"fault {name} has rate {getattr(self, name)}; a probability is needed")

    def happens(self, fault: str, *key: str | int) -> bool:
        """Whether `fault` strikes at `key`; the same answer at any time and place."""
        rate: float = getattr(self, fault)
        return rate > 0.0 and self.uniform(fault, *key) < rate

    def uniform(self, *key: str | int) -> float:
        """A number in (0, 1) that depends on the seed and the key alone."""
        return (int(digest_of([self.seed, *key])[:13], 16) + 0.5) / 16**13

    def stretch(self, worker: str, count: int) -> float:
        """The factor on the latency of a worker's `count`-th measurement."""
        factor = self.sickness * (1.0 + self.drift * min(1.0, count / DRIFT_PERIOD))
        if self.noise:
            factor *= float(np.exp(self.noise * NORMAL.inv_cdf(self.uniform("noise", worker, count))))
        if self.throttle and self.happens("throttle", worker, count // THROTTLE_RUN):
            factor *= self.throttle_factor
        return factor


RATES = (
    "hosts",
    "throttle",
    "straggler",
    "hang",
    "crash_before",
    "crash_during",
    "crash_after",
    "failed_start",
    "lost_reply",
    "double_reply",
    "wrong_output",
    "wrong_time",
    "poison",
)


class Effects(Protocol):
    """The effect of a fault on the process: `RealEffects` in a worker, a milder one elsewhere."""

    def crash(self) -> None:
        """End the process, or pretend to."""
        ...

    def hang(self) -> None:
        """Never come back, or pretend not to."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...


class RealEffects:
    """For a process that is there to be lost."""

    def crash(self) -> None:
        """End the process at once, with nothing flushed."""
        os._exit(CRASH_EXIT)

    def hang(self) -> None:
        """Never come back."""
        while True:
            time.sleep(3600.0)

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class FaultyDevice:
    """`device` under `plan`. A fresh one (a restarted worker) goes on where chance is concerned: see `life`.

    `worker` and `life` tell several workers, and the lives of one, apart: without them all would crash at
    the same measurement, and a restarted one again.
    """

    def __init__(
        self,
        device: Device,
        plan: FaultPlan,
        worker: str = "",
        life: int | None = None,
        effects: Effects | None = None,
    ) -> None:
        self._device = device
        self._plan = plan
        self._worker = worker
        self._life = os.getpid() if life is None else life
        self._effects = effects or RealEffects()
        self._count = 0

    def describe(self) -> DeviceInfo:
        """As the device does; never deterministic."""
        return replace(self._device.describe(), deterministic=False)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """One Measurement per Config, if it ever answers."""
        return [self._one(task, config) for config in configs]

    def measure_repeated(self, task: Task, configs: Sequence[Config], times: int) -> list[Measurement]:
        """The same of `times` runs in a row, whose faults are not those of one run."""
        return self.measure(Repeated(task, times), configs)

    def outputs(self, task: Task, config: Config, inputs: Mapping[int, Array]) -> Mapping[int, Array]:
        """The device's outputs; one element is off where the plan says so."""
        right: Mapping[int, Array] = self._device.outputs(task, config, inputs)  # type: ignore[attr-defined]
        if not self._plan.happens("wrong_output", task.digest, config.digest):
            return right
        value = max(right, key=lambda each: (right[each].size, -each))
        numbers = right[value].copy()
        where = int(self._plan.uniform("where", config.digest) * numbers.size)
        if numbers.size:
            numbers.flat[where] = _another(numbers.flat[where])
        return {**right, value: numbers}

    def _one(self, task: Task, config: Config) -> Measurement:
        plan, effects, count = self._plan, self._effects, self._count
        self._count += 1
        key = (self._worker, self._life, count)
        if plan.happens("crash_before", *key) or plan.happens("poison", task.digest, config.digest):
            effects.crash()
            return failure(Status.LOST, "crashed before measuring")
        pace_s = plan.pace_s * (plan.straggler_factor if plan.happens("straggler", *key) else 1.0)
        if plan.happens("crash_during", *key):
            effects.wait(pace_s / 2.0)
            effects.crash()
            return failure(Status.LOST, "crashed while measuring")
        effects.wait(pace_s)
        measured = measured_by(self._device, task, [config])[0]
        if plan.happens("hang", *key) or plan.happens("lost_reply", *key):
            effects.hang()
            return failure(Status.LOST, "never answered")
        if plan.happens("crash_after", *key):
            effects.crash()
            return failure(Status.LOST, "crashed after measuring")
        factor = plan.stretch(self._worker, count)
        if plan.happens("wrong_time", task.digest, config.digest):
            factor /= plan.wrong_time_factor
        return stretched(measured, factor)


def _another(number: Any) -> Any:
    """A number that is clearly not this one."""
    if number.dtype.kind in "biu":
        return not number if number.dtype.kind == "b" else number ^ number.dtype.type(1)
    return number.dtype.type(1.0 + 2.0 * abs(float(number)) if np.isfinite(float(number)) else 0.0)


def stretched(measured: Measurement, factor: float) -> Measurement:
    """`measured` with every time multiplied by `factor`; failures stay as they are."""
    if measured.latency_us is None:
        return measured
    return replace(
        measured,
        latency_us=measured.latency_us * factor,
        samples_us=tuple(sample * factor for sample in measured.samples_us),
        latency_cycles=None if measured.latency_cycles is None else measured.latency_cycles * factor,
    )
