"""The best of noisy readings: finalists are measured again, in turns, until one is clearly best. The lowest
reading of a search owes as much to luck as to its Config, so it does not count here: a finalist is judged by
the median of fresh readings alone. All are read in turns, so that a drift hits them alike; after every round
those that are clearly slower leave.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf
from statistics import median
from typing import Any

import numpy as np

from tilewright.measure.farm.pool import CONFIRMATIONS
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.problem import Floats

Confirm = Callable[[Config, int], list[Measurement]]
Value = Callable[[Measurement], float | None]
_MEDIAN = 1.2533
"""Standard error of a median over that of a mean, for normal noise."""
_DIFFERENCE = 0.9539
"""Median distance of two readings over their standard deviation, for normal noise."""


@dataclass(frozen=True)
class FinalSettings:
    """Limits of the rounds: at most `rounds` of `readings` each for a finalist.

    One leaves when it is slower by `clear` standard errors of the difference. The winner is read until its
    median is known within `accuracy` (two standard errors), or the rounds are over.
    """

    readings: int = 3
    rounds: int = 8
    clear: float = 2.0
    accuracy: float = 0.015


@dataclass(frozen=True)
class Finalist:
    """A Config and its fresh readings. `median_log` is the log of their median."""

    config: Config
    readings: tuple[Measurement, ...]
    values: tuple[float, ...]

    @property
    def median_log(self) -> float:
        """Log of the median of the values."""
        return float(np.median(np.log(self.values)))


def settle(
    configs: Sequence[Config], confirm: Confirm, value: Value, settings: FinalSettings | None = None
) -> list[Finalist]:
    """The finalists, best first: those that stayed longest, then by median; ties go to the lower digest.

    `confirm` measures a Config so many times; one failed reading drops its Config. Without noise everybody is
    read once round and the order is that of the values.
    """
    chosen = settings or FinalSettings()
    standing = {config.digest: Finalist(config, (), ()) for config in configs}
    gone: list[Finalist] = []
    for _ in range(chosen.rounds):
        read = {digest: _read(one, confirm, value, chosen.readings) for digest, one in standing.items()}
        standing = {digest: one for digest, one in read.items() if one is not None}
        error = _error(standing)
        if not standing or error == 0.0:
            break
        lowest = min(one.median_log for one in standing.values())
        clear = chosen.clear * error * np.sqrt(2.0)
        leaving = [digest for digest, one in standing.items() if one.median_log > lowest + clear]
        gone += _ranked({digest: standing.pop(digest) for digest in leaving})[::-1]
        if len(standing) == 1 and 2.0 * error <= chosen.accuracy:
            break
    return [*_ranked(standing), *gone[::-1]]


def in_order(
    values: Mapping[Config, tuple[float, Any]],
    confirm: Callable[[Config], list[Measurement]],
    value: Value,
    known: Mapping[Config, list[Measurement]],
) -> Iterator[tuple[Config, list[Measurement]]]:
    """Configs and their confirmations, lowest first, by what they confirm at once that is known.

    `values` are what they were read at and what decides between equals. A Config is confirmed when it is the
    lowest left, and comes out if it still is; `known` are confirmations of before.
    """
    confirmed: dict[Config, list[Measurement]] = {}
    heap = [(*entry, index, config) for index, (config, entry) in enumerate(values.items())]
    heapify(heap)
    while heap:
        read, rest, at, config = heappop(heap)
        if config not in confirmed:
            confirmed[config] = known[config] if config in known else confirm(config)
            now = median_of(confirmed[config], value)
            if heap and now > max(read, heap[0][0]):
                heappush(heap, (now, rest, at, config))
                continue
        yield config, confirmed[config]


def freshly_read(
    configs: Sequence[Config], default: Config, confirm: Confirm, value: Value, most: int
) -> Iterator[tuple[Config, list[Measurement]]]:
    """Configs and their fresh readings on a noisy device: of the default, then of the first `most` of
    `configs`, best first. All are read in turns, the default among them: a slow spell hits them alike.
    """
    others = [config for config in dict.fromkeys(configs) if config != default]
    settled = settle([*others[:most], default], confirm, value)
    found = {finalist.config: list(finalist.readings) for finalist in settled}
    yield default, found.pop(default, []) or confirm(default, CONFIRMATIONS)
    yield from found.items()
    for config in others[most:]:
        yield config, confirm(config, CONFIRMATIONS)


def median_of(readings: Sequence[Measurement], value: Value) -> float:
    """The median of the readings; infinite where one failed or lacks the number."""
    values = [value(measured) for measured in readings]
    numbers = [number for number in values if number is not None]
    return median(numbers) if numbers and len(numbers) == len(values) else inf


def _read(one: Finalist, confirm: Confirm, value: Value, times: int) -> Finalist | None:
    readings = confirm(one.config, times)
    values = [number for reading in readings if (number := value(reading)) is not None]
    if len(values) < len(readings) or not values:
        return None
    return Finalist(one.config, (*one.readings, *readings), (*one.values, *values))


def _ranked(finalists: Mapping[str, Finalist]) -> list[Finalist]:
    return sorted(finalists.values(), key=lambda one: (one.median_log, one.config.digest))


def _error(finalists: Mapping[str, Finalist]) -> float:
    """Standard error of one median, from differences between its readings; stragglers hardly count."""
    apart: list[Floats] = []
    for one in finalists.values():
        logs = np.log(one.values)
        first, second = np.triu_indices(len(logs), 1)
        apart.append(np.abs(logs[first] - logs[second]))
    if not apart:
        return 0.0
    spread = float(np.median(np.concatenate(apart))) / _DIFFERENCE
    return _MEDIAN * spread / float(np.sqrt(len(next(iter(finalists.values())).values)))
