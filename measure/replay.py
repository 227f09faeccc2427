"""The replay device: answers from a table of recorded measurements in the community's T4 format.

The task is the T1 space itself and its digest is the workload's; `correctness` of the table decides between
OK and WRONG. A Config that the table lacks is INVALID, with that reason.
"""

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_core.digest import digest_of
from compiler_core.errors import ConfigError, RecordError
from measure.device import DeviceInfo, Task
from measure.results import Measurement, Status, failure
from search_space.knobs import Config
from search_space.space import Space

_MICROSECONDS = {"second": 1e6, "milisecond": 1e3, "millisecond": 1e3, "microsecond": 1.0, "nanosecond": 1e-3}
_SHORT_UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_FAILURES = {
    "timeout": Status.TIMEOUT,
    "compile": Status.INVALID,
    "constraints": Status.INVALID,
    "runtime": Status.FAILED,
    "correctness": Status.WRONG,
}
_MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class SpaceTask:
    """A foreign space as a task: known by the digest of its T1 form."""

    space: Space

    @property
    def digest(self) -> str:
        """The digest of the space."""
        return self.space.digest


@dataclass(frozen=True)
class ReplayDevice:
    """A Device over `table`: Config digest -> Measurement."""

    name: str
    table: Mapping[str, Measurement]
    table_digest: str

    def describe(self) -> DeviceInfo:
        """Known by the digest of its table."""
        return DeviceInfo(f"replay:{self.name}", self.table_digest, "t4", deterministic=True)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """What the table says, whatever the task."""
        missing = failure(Status.INVALID, f"no such configuration in table {self.name}")
        return [self.table.get(config.digest, missing) for config in configs]

    @property
    def optimum_us(self) -> float:
        """The lowest recorded latency, microseconds; RecordError when nothing in the table succeeded."""
        latencies = [entry.latency_us for entry in self.table.values() if entry.latency_us is not None]
        if not latencies:
            raise RecordError(
                f"table {self.name} holds no successful measurement; nothing can be tuned on it"
            )
        return min(latencies)


def load_t4(path: Path, space: Space) -> ReplayDevice:
    """The device of a T4 file, plain or gzipped; RecordError names the file, entry and reason."""
    name = path.name.removesuffix(".gz").removesuffix(".json").removesuffix(".T4")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            text = stream.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise RecordError(f"table {path.name} is larger than {_MAX_BYTES >> 20} MiB; split it")
        document = json.loads(text)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise RecordError(f"table {path.name} cannot be read: {error}") from None
    return replay_device(name, document, space)


def replay_device(name: str, document: Any, space: Space) -> ReplayDevice:
    """The device of a parsed T4 document whose configurations lie in `space`."""
    table: dict[str, Measurement] = {}
    try:
        unit = str(document.get("metadata", {}).get("timeunit", "milliseconds"))
        for at, entry in enumerate(document["results"]):
            config = space.decode(_positions(space, entry["configuration"]))
            table[config.digest] = _measurement(entry, unit, f"table {name}, entry {at}")
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise RecordError(f"table {name} is not in T4 form: {type(error).__name__} {error}") from None
    except ConfigError as error:
        raise RecordError(f"table {name} does not belong to this space: {error}") from None
    digest = digest_of({key: [m.status, m.latency_us] for key, m in table.items()})
    return ReplayDevice(name, table, digest)


def _positions(space: Space, given: Mapping[str, Any]) -> list[int]:
    """The row of a recorded configuration; 16 and 16.0 are one value, a knob of one value may be left out."""
    row = []
    for knob in space.knobs:
        value = given.get(knob.name, knob.values[0] if len(knob.values) == 1 else None)
        if value not in knob.values:
            raise ConfigError(f"knob {knob.name!r} cannot be {value!r}")
        row.append(knob.values.index(value))
    return row


def _measurement(entry: Mapping[str, Any], unit: str, place: str) -> Measurement:
    verdict = str(entry.get("invalidity", "correct"))
    if verdict != "correct":
        return failure(_FAILURES.get(verdict, Status.FAILED), f"recorded as {verdict!r}")
    if not entry.get("correctness", 1):
        return failure(Status.WRONG, "recorded as incorrect")
    objective = (entry.get("objectives") or ["time"])[0]
    value = next((item for item in entry["measurements"] if item["name"] == objective), None)
    if value is None or not isinstance(value["value"], int | float) or not 0 < value["value"] < math.inf:
        return failure(Status.FAILED, f"{place} records no usable {objective!r}")
    latency_us = float(value["value"]) * _scale(str(value.get("unit") or unit), place)
    return Measurement(Status.OK, latency_us=latency_us, samples_us=(latency_us,))


def _scale(unit: str, place: str) -> float:
    scale = _SHORT_UNITS.get(unit) or _MICROSECONDS.get(unit.lower().removesuffix("s"))
    if scale is None:
        raise RecordError(f"{place}: time unit {unit!r} is not known; use one of {sorted(_SHORT_UNITS)}")
    return scale
