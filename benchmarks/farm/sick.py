"""One worker in eight turns liar or laggard, with real processes: when is it caught, what got through?"""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.farm.device import DigestDevice, NumberedTask, configs, latency_us
from benchmarks.farm.speed import all_ready
from tilewright.measure.device import Device, Task
from tilewright.measure.farm.messages import Canary, Rules
from tilewright.measure.faults import FaultPlan, FaultyDevice, stretched
from tilewright.measure.ray_farm.pool import RayPool
from tilewright.measure.results import Measurement
from tilewright.measure.wire import DeviceSpec
from tilewright.search_space.knobs import Config

Row = dict[str, Any]
TASK = NumberedTask(3)
CANARY = Canary(
    NumberedTask(0), configs(0, 1)[0], latency_us(NumberedTask(0), configs(0, 1)[0]), tolerance=0.15
)


class TurningDevice:
    """A device that falls sick after `after` measurements, if it is the first to put its name on a list.

    The list (a file) also counts what it measures from then on, so that a restarted process stays sick.
    """

    def __init__(self, device: Device, ledger: str, factor: float, after: int) -> None:
        self._device = device
        self._ledger = Path(ledger)
        self._factor = factor
        self._after = after
        with suppress(FileExistsError):
            os.close(os.open(self._ledger, os.O_CREAT | os.O_EXCL))
            self._ledger.write_text(json.dumps({"pid": os.getpid(), "measured": 0}))
        self.describe = device.describe

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """What `device` says, or a multiple of it."""
        return [self._one(task, config) for config in configs]

    def _one(self, task: Task, config: Config) -> Measurement:
        (measured,) = self._device.measure(task, [config])
        record = json.loads(self._ledger.read_text() or "{}")
        if record.get("pid") != os.getpid():
            return measured
        record["measured"] += 1
        self._ledger.write_text(json.dumps(record))
        return stretched(measured, self._factor) if record["measured"] > self._after else measured


def make_device(ledger: str, factor: float, after: int, noise: float) -> Device:
    """A noisy DigestDevice, one of which turns."""
    plan = FaultPlan(seed=os.getpid(), noise=noise)
    return TurningDevice(FaultyDevice(DigestDevice(), plan, life=0), ledger, factor, after)


def sick_processes(trials: int = 800, after: int = 40) -> Row:
    """A liar (0.3 x) and a laggard (3 x), each one of eight workers: the worse of the two in every figure.

    `measured` counts everything that the sick worker measured since it fell sick, canaries included.
    """
    worst: Row = {"measured": 0, "regret": 0.0, "published": 0.0, "quarantined": 0}
    for factor in (0.3, 3.0):
        with tempfile.TemporaryDirectory() as folder:
            ledger = Path(folder) / "sick"
            here = "benchmarks.farm.sick"
            device = "benchmarks.farm.device"
            spec = DeviceSpec.of(
                "bench",
                f"{here}:make_device",
                f"{device}:encode",
                f"{device}:decode",
                {"ledger": str(ledger), "factor": factor, "after": after, "noise": 0.005},
            )
            with RayPool(spec, workers=8, rules=Rules(canaries=(CANARY,))) as pool:
                all_ready(pool, 8)
                batch = configs(0, trials)
                answers = pool.measure(TASK, batch)
                states = pool.workers()
                best = min(range(trials), key=lambda number: answers[number].latency_us or float("inf"))
                confirmed = sorted(m.latency_us or 0.0 for m in pool.confirm(TASK, batch[best]))
            measured = json.loads(ledger.read_text())["measured"] - after
        truth = [latency_us(TASK, config) for config in batch]
        worst["quarantined"] += sum(state.phase == "quarantined" for state in states)
        worst["measured"] = max(worst["measured"], measured)
        worst["regret"] = max(worst["regret"], truth[best] / min(truth) - 1.0)
        worst["published"] = max(worst["published"], abs(confirmed[1] / truth[best] - 1.0))
    return {"task": "sick processes", "trials": trials, **worst}
