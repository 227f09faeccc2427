"""T4, the autotuning community's form of recorded results: one workload on one device, in and out.

An imported file becomes a run of its own, identified by the digest of the file, unverified like every import.
"""

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import ConfigError, RecordError
from tilewright.compiler_core.files.outputs import output
from tilewright.db.exchange.bounded_json import parse_bounded
from tilewright.db.exchange.entries import Entry, StoredRun, StoredTrial
from tilewright.db.exchange.load import LoadCounts, load_entries
from tilewright.db.records import (
    Key,
    NewRun,
    TargetRow,
    Trial,
    TrialRow,
    Verification,
    WorkloadKind,
    WorkloadRow,
)
from tilewright.db.storage.session import Database
from tilewright.measure.recorded.t4 import STATUS_OF, config_of, time_us, verdict_of
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.search_space.space import Space

LARGEST_FILE = 1 << 30

_VERDICT_OF = {
    Status.OK: "correct",
    Status.TIMEOUT: "timeout",
    Status.INVALID: "compile",
    Status.FAILED: "runtime",
    Status.WRONG: "correctness",
    Status.LOST: "runtime",
}


@dataclass(frozen=True)
class Foreign:
    """Facts that a T4 file lacks: the space of its configs, its device, its toolchain."""

    space: Space
    target: TargetRow
    toolchain: str


def import_t4(database: Database, path: Path, about: Foreign) -> LoadCounts:
    """Takes a T4 file in (plain or gzipped), whole or not at all; RecordError names the result at fault."""
    content = _content(path)
    workload = WorkloadRow(about.space.digest, about.space.digest, WorkloadKind.FOREIGN)
    seal = hashlib.sha256(content)
    for part in (about.space.digest, about.target.digest, about.toolchain):
        seal.update(part.encode() + b"\n")
    asked = NewRun(
        target_digest=about.target.digest,
        toolchain=about.toolchain,
        objective=Key(workload.digest, about.target.digest, about.toolchain).objective,
        seed=0,
        device="t4",
        uid="t4-" + seal.hexdigest()[:32],
    )
    trials = read_trials(content, path.name, asked.uid, about.space)
    entries: list[Entry] = [about.target, workload, StoredRun(asked, 0.0)]
    entries += [StoredTrial(trial, 0.0) for trial in trials]
    return load_entries(database, entries, path.name)


def export_t4(rows: Sequence[TrialRow], path: Path) -> int:
    """Writes trials of one key as T4, times in milliseconds; how many. RecordError when keys are mixed."""
    if len({row.key for row in rows}) > 1:
        raise RecordError(f"{path.name}: a T4 file holds one workload on one device; choose one key")
    document = {
        "metadata": {"timeunit": "milliseconds"},
        "results": [_result(row.trial) for row in rows],
    }
    with output(path) as stream:
        stream.write(json.dumps(document, allow_nan=False, indent=1).encode())
    return len(rows)


def _content(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise RecordError(f"{path.name}: cannot be read: {error}") from None
    if len(content) > LARGEST_FILE:
        raise RecordError(f"{path.name}: larger than {LARGEST_FILE} bytes; split it")
    return content


def read_trials(content: bytes, name: str, run: str, space: Space) -> list[Trial]:
    """The trials in the text of a T4 file, for a run; RecordError names the file and the result."""
    number = -1
    try:
        document = parse_bounded(content.decode("utf-8"))
        if not isinstance(document, dict) or not isinstance(document.get("results"), list):
            raise ValueError("it has no list of results")
        unit = str(document.get("metadata", {}).get("timeunit", "milliseconds"))
        trials = []
        for number, result in enumerate(document["results"]):
            trials.append(_trial(result, unit, run, number, space))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        place = f"{name}, result {number}" if number >= 0 else name
        raise RecordError(f"{place}: {type(error).__name__}: {error}; nothing was taken") from None
    return trials


def _trial(result: dict[str, Any], unit: str, run: str, number: int, space: Space) -> Trial:
    measurement = _measurement(result, unit)
    return Trial(
        run=run,
        number=number,
        workload_digest=space.digest,
        space_digest=space.digest,
        config=_config(result["configuration"], space),
        measurement=measurement,
        verification=Verification.FOREIGN if measurement.status is Status.OK else Verification.NONE,
    )


def _config(given: dict[str, Any], space: Space) -> Config:
    """A recorded configuration; one with other knobs belongs to another space, and is refused."""
    unknown = sorted(given.keys() - {knob.name for knob in space.knobs})
    if unknown:
        raise ValueError(f"knob {unknown[0]!r} is not one of the space")
    return config_of(given, space)


def _measurement(result: dict[str, Any], unit: str) -> Measurement:
    word, status = verdict_of(result)
    if status is None:
        raise ValueError(f"invalidity {word!r} is not one of {', '.join(STATUS_OF)}")
    if status is not Status.OK:
        return failure(status, f"recorded as {word!r}")
    times = [each for each in result["measurements"] if each["name"] == "time"]
    if len(times) != 1:
        raise ValueError("it does not have exactly one measurement called 'time'")
    latency_us = time_us(times[0]["value"], times[0].get("unit") or unit)
    runtimes = result.get("times", {}).get("runtimes", [])
    return Measurement(
        Status.OK, latency_us=latency_us, samples_us=tuple(time_us(each, unit) for each in runtimes)
    )


def _result(trial: Trial) -> dict[str, Any]:
    measured = trial.measurement
    correct = measured.status is Status.OK
    times = [] if measured.latency_us is None else [measured.latency_us / 1e3]
    return {
        "configuration": dict(trial.config.items),
        "times": {"runtimes": [sample / 1e3 for sample in measured.samples_us]},
        "invalidity": _VERDICT_OF[measured.status],
        "correctness": int(correct),
        "measurements": [{"name": "time", "value": value, "unit": "ms"} for value in times],
        "objectives": ["time"],
    }
