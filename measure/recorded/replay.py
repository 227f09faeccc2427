"""The replay device: answers from a table of recorded measurements in the community's T4 format.

The task is the T1 space itself and its digest is the workload's; `correctness` of the table decides between
OK and WRONG (t4.py). A Config that the table lacks is INVALID, with that reason.
"""

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import ConfigError, RecordError
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.recorded.t4 import config_of, time_us, verdict_of
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.search_space.space import Space

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
        """The DeviceInfo of the table, for any task."""
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
    at = -1
    try:
        unit = str(document.get("metadata", {}).get("timeunit", "milliseconds"))
        for entry in document["results"]:
            at += 1
            table[config_of(entry["configuration"], space).digest] = _measurement(entry, unit)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        place = f"table {name}, entry {at}" if at >= 0 else f"table {name}"
        raise RecordError(f"{place} is not in T4 form: {type(error).__name__} {error}") from None
    except ConfigError as error:
        raise RecordError(f"table {name} does not belong to this space: {error}") from None
    digest = digest_of({key: [m.status, m.latency_us] for key, m in table.items()})
    return ReplayDevice(name, table, digest)


def _measurement(entry: Mapping[str, Any], unit: str) -> Measurement:
    """The Measurement of an entry; an unusable entry is a failed measurement, not a damaged table."""
    word, status = verdict_of(entry)
    if status is not Status.OK:
        return failure(status or Status.FAILED, f"recorded as {word!r}")
    objective = (entry.get("objectives") or ["time"])[0]
    found = next((item for item in entry["measurements"] if item["name"] == objective), None)
    value = found["value"] if found else None
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        return failure(Status.FAILED, f"no usable {objective!r} is recorded")
    latency_us = time_us(value, str((found or {}).get("unit") or unit))
    return Measurement(Status.OK, latency_us=latency_us, samples_us=(latency_us,))
