"""`tune targets peak --soak`: the peaks again and again for a while, and how far each drifted meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.device import Device
from tilewright.tuner.verbs.peak import Peak, measure_peaks

TOLERANCE = 0.05
"""Share by which the worst round of a steady device may fall below its first."""


@dataclass(frozen=True)
class PeakDrift:
    """One peak over all rounds: ratios to the file's number in the first, the worst and the last round."""

    name: str
    first: float
    worst: float
    last: float

    @property
    def steady(self) -> bool:
        """Whether no round fell more than TOLERANCE below the first."""
        return self.worst >= self.first * (1.0 - TOLERANCE)


def soak(
    target: Target,
    device: Device,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    on_round: Callable[[int, tuple[Peak, ...]], None] = lambda number, peaks: None,
) -> tuple[PeakDrift, ...]:
    """Measure all peaks until `seconds` are over, at least twice; DeviceError where a micro-kernel fails."""
    end = clock() + seconds
    rounds: list[tuple[Peak, ...]] = []
    while len(rounds) < 2 or clock() < end:
        rounds.append(measure_peaks(target, device))
        on_round(len(rounds), rounds[-1])
    return tuple(
        PeakDrift(each[0].name, each[0].ratio, min(peak.ratio for peak in each), each[-1].ratio)
        for each in zip(*rounds, strict=True)
    )
