"""The same work several times in a row between two readings of the clock, to check the clock. A cause that
makes the time of one run too short, as a counter that wraps or a launch that is not awaited, has another
effect on two or three runs in a row. `Repeated` is that work as a task; its latency is that of one run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from tilewright.compiler_core.digest import digest_of
from tilewright.measure.device import Device, Task
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config


@dataclass(frozen=True)
class Repeated:
    """`task`, `times` in a row."""

    task: Task
    times: int

    @cached_property
    def digest(self) -> str:
        """64 hex characters."""
        return digest_of(["repeated", self.task.digest, self.times])


class RepeatingDevice(Device, Protocol):
    """A Device that can run the same Config several times between two readings of its clock."""

    def measure_repeated(self, task: Task, configs: Sequence[Config], times: int) -> list[Measurement]:
        """One Measurement per Config, whose latency is that of one run of `times`."""
        ...


def measured(device: Device, task: Task, configs: Sequence[Config]) -> list[Measurement]:
    """A device's readings of a task; of a repeated one, where it cannot repeat, its reading of one run."""
    if not isinstance(task, Repeated):
        return device.measure(task, configs)
    repeat = getattr(device, "measure_repeated", None)
    if not callable(repeat):
        return device.measure(task.task, configs)
    answers: list[Measurement] = repeat(task.task, configs, task.times)
    return answers
