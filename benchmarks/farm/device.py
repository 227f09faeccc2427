"""The device that farm benchmarks measure: a number by digest, at a real board's pace. Workers load it."""

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.compiler_core.digest import digest_of
from tilewright.measure.device import Device, DeviceInfo, Task
from tilewright.measure.faults import FaultPlan, FaultyDevice
from tilewright.measure.results import Measurement, Status
from tilewright.measure.wire import DeviceSpec
from tilewright.search_space.knobs import Config


@dataclass(frozen=True)
class NumberedTask:
    """A task that is only a number."""

    number: int

    @property
    def digest(self) -> str:
        """Of the number."""
        return digest_of(self.number)


class DigestDevice:
    """1 to 101 us by the digests of task and config, and no more work than that.

    A knob `do` makes a candidate endless: "loop", or "deaf" to SIGTERM as well.
    """

    def describe(self) -> DeviceInfo:
        """See Device."""
        return DeviceInfo("digest", digest_of("digest device"), "bench-1", deterministic=True)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """See Device."""
        return [self._one(task, config) for config in configs]

    def _one(self, task: Task, config: Config) -> Measurement:
        behaviour = dict(config.items).get("do", "")
        if behaviour == "deaf":
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        while behaviour:
            time.sleep(0.01)
        return Measurement(Status.OK, latency_us=latency_us(task, config))


def latency_us(task: Task, config: Config) -> float:
    """The truth."""
    return 1.0 + int(digest_of([task.digest, config.digest])[:8], 16) / 2**32 * 100.0


def make_device(pace_s: float) -> Device:
    """A DigestDevice whose every measurement takes `pace_s`."""
    return FaultyDevice(DigestDevice(), FaultPlan(pace_s=pace_s)) if pace_s else DigestDevice()


def encode(task: Task) -> str:
    """A NumberedTask as text."""
    assert isinstance(task, NumberedTask)
    return json.dumps(task.number)


def decode(text: str) -> Task:
    """Its inverse."""
    return NumberedTask(json.loads(text))


def spec_of(pace_s: float = 0.0, kind: str = "bench") -> DeviceSpec:
    """How a worker builds this device, whatever the kind that a cluster knows it by."""
    here = "benchmarks.farm.device"
    return DeviceSpec.of(kind, f"{here}:make_device", f"{here}:encode", f"{here}:decode", {"pace_s": pace_s})


def configs(start: int, count: int, do: str = "") -> list[Config]:
    """Different ones."""
    behaviour = (("do", do),) if do else ()
    return [Config((("tile", number), *behaviour)) for number in range(start, start + count)]
