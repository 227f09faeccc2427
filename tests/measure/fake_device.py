"""A device for tests: a deterministic function of the config's digest, and a task that is only a name."""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import DeviceError
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.results import Measurement, Status, failure
from tilewright.measure.wire import DeviceSpec
from tilewright.search_space.knobs import Config


@dataclass(frozen=True)
class NamedTask:
    """A task whose digest is that of its name."""

    name: str

    @property
    def digest(self) -> str:
        return digest_of(self.name)


@dataclass(frozen=True)
class FakeDevice:
    """Latency from 1 to 101 us by digest. A knob named `do` makes a candidate misbehave."""

    toolchain: str = "fake-1"
    seconds: float = 0.0
    liar: str = ""  # the first worker to create this file lies: its latencies are 0.3 of the truth

    def describe(self) -> DeviceInfo:
        return DeviceInfo("fake", digest_of("fake target"), self.toolchain, deterministic=True)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        return [self._one(task, config) for config in configs]

    def _one(self, task: Task, config: Config) -> Measurement:
        behaviour = dict(config.items).get("do", "")
        if behaviour == "die":
            os._exit(1)
        if behaviour == "hang":
            while True:
                time.sleep(0.01)
        if behaviour == "raise":
            raise ValueError("no such tile")
        if behaviour == "refuse":
            raise DeviceError("the board is unplugged")
        if behaviour == "fail":
            return failure(Status.FAILED, "tile does not fit")
        if self.seconds:
            time.sleep(self.seconds)
        latency_us = latency_of(task, config)
        if self.liar and self._lies():
            latency_us *= 0.3
        return Measurement(Status.OK, latency_us=latency_us, samples_us=(latency_us,))

    def _lies(self) -> bool:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.liar, os.O_CREAT | os.O_EXCL))
            Path(self.liar).write_text(str(os.getpid()))
        return Path(self.liar).read_text() == str(os.getpid())


def latency_of(task: Task, config: Config) -> float:
    """What an honest FakeDevice answers."""
    return 1.0 + int(digest_of([task.digest, config.digest])[:8], 16) / 2**32 * 100.0


def config_of(number: int, do: str = "") -> Config:
    """The number-th Config of the tests."""
    return Config((("tile", number), ("do", do)) if do else (("tile", number),))


def encode(task: Task) -> str:
    assert isinstance(task, NamedTask)
    return json.dumps(task.name)


def decode(text: str) -> Task:
    return NamedTask(json.loads(text))


def spec_of(**arguments: str | float) -> DeviceSpec:
    """A DeviceSpec of FakeDevice."""
    here = "tests.measure.fake_device"
    return DeviceSpec.of("fake", f"{here}:FakeDevice", f"{here}:encode", f"{here}:decode", arguments)
