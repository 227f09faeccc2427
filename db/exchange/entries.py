"""The entries of an exchange: seven kinds, immutable, each with an identity, a text and a digest.

Two entries of one identity and different content contradict each other, except for the names and texts that
describe targets and models: these may differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import InputError
from tilewright.db.exchange import fields
from tilewright.db.records import ModelRow, NewRun, Purpose, TargetRow, Trial, WorkloadRow
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config

_BELOW_BOUND = 1.0 - 1e-9


@dataclass(frozen=True)
class StoredRun:
    """A run and when it started, by the clock of the database that it ran on."""

    asked: NewRun
    started_at_s: float


@dataclass(frozen=True)
class RunFinish:
    """The end of a run."""

    run: str
    finished_at_s: float
    stop_reason: str
    regret_estimate: float | None


@dataclass(frozen=True)
class StoredTrial:
    """A trial and when it was committed."""

    trial: Trial
    created_at_s: float


@dataclass(frozen=True)
class StoredSignature:
    """Somebody's word for a trial: the `signer` is a public Ed25519 key, 64 hex characters, the `signature`
    128. It is part of the identity, so that a forged one cannot take the place of another.
    """

    run: str
    purpose: Purpose
    number: int
    attempt: int
    signer: str
    signature: str


Entry: TypeAlias = TargetRow | ModelRow | WorkloadRow | StoredRun | RunFinish | StoredTrial | StoredSignature
Identity: TypeAlias = tuple[int, str, str, int, int]

KINDS: tuple[type, ...] = (
    TargetRow,
    ModelRow,
    WorkloadRow,
    StoredRun,
    RunFinish,
    StoredTrial,
    StoredSignature,
)
NAMES = ("target", "model", "workload", "run", "finish", "trial", "signature")
DESCRIPTIVE = (TargetRow, ModelRow)


def identity(entry: Entry) -> Identity:
    """The identity of an entry; it sorts as the lines of a file do."""
    rank = KINDS.index(type(entry))
    match entry:
        case StoredRun():
            return rank, entry.asked.uid, "", 0, 0
        case RunFinish():
            return rank, entry.run, "", 0, 0
        case StoredTrial(trial=trial):
            return rank, trial.run, trial.purpose, trial.number, trial.attempt
        case StoredSignature():
            about = f"{entry.purpose} {entry.signer}{entry.signature}"
            return rank, entry.run, about, entry.number, entry.attempt
        case _:
            return rank, entry.digest, "", 0, 0


def to_object(entry: Entry) -> dict[str, Any]:
    """The JSON object of a line: kind, value, and the digest of both."""
    kind = NAMES[KINDS.index(type(entry))]
    value = {name: each for name, each in _value(entry).items() if fields.PLAIN.get(name, ...) != each}
    return {"kind": kind, "value": value, "digest": digest_of([kind, value])}


def from_object(line: Mapping[str, Any]) -> Entry:
    """Inverse of `to_object`; ValueError names the mistake in a malformed line."""
    for name in ("kind", "value", "digest"):
        if name not in line:
            raise ValueError(f"line has no {name!r}")
    if len(line) != 3:
        raise ValueError("line has other parts than kind, value and digest")
    if line["kind"] not in NAMES:
        raise ValueError(f"kind {str(line['kind'])[:40]!r} is not one of {', '.join(NAMES)}")
    if line["digest"] != digest_of([line["kind"], line["value"]]):
        raise ValueError("digest does not belong to this content")
    try:
        return _entry(line["kind"], line["value"])
    except InputError as error:
        raise ValueError(str(error)) from None


def _value(entry: Entry) -> dict[str, Any]:
    match entry:
        case StoredRun(asked=asked):
            return {
                "uid": asked.uid,
                "model_digest": asked.model_digest,
                "target_digest": asked.target_digest,
                "toolchain": asked.toolchain,
                "objective": asked.objective,
                "seed": asked.seed,
                "device": asked.device,
                "protocol": asked.protocol,
                "tuner_version": asked.tuner_version,
                "trials_budget": asked.trials_budget,
                "settings": asked.settings,
                "versions": asked.versions,
                "started_at_s": entry.started_at_s,
            }
        case StoredTrial(trial=trial):
            return _trial_value(trial, entry.created_at_s)
        case _:
            return dict(vars(entry))


def _trial_value(trial: Trial, created_at_s: float) -> dict[str, Any]:
    measured = trial.measurement
    return {
        "run": trial.run,
        "purpose": trial.purpose,
        "number": trial.number,
        "attempt": trial.attempt,
        "workload_digest": trial.workload_digest,
        "space_digest": trial.space_digest,
        "config": [list(item) for item in trial.config.items],
        "config_digest": trial.config.digest,
        "status": measured.status,
        "reason": measured.reason,
        "latency_us": measured.latency_us,
        "samples_us": list(measured.samples_us),
        "latency_cycles": measured.latency_cycles,
        "energy_uj": measured.energy_uj,
        "peak_bytes": measured.peak_bytes,
        "bound_us": trial.bound_us,
        "seed": trial.seed,
        "worker": measured.worker,
        "verification": trial.verification,
        "default": trial.default,
        "created_at_s": created_at_s,
    }


def _entry(kind: str, value: Any) -> Entry:
    match kind:
        case "target":
            return TargetRow(**fields.take(value, fields.TARGET))
        case "model":
            return ModelRow(**fields.take(value, fields.MODEL))
        case "workload":
            return WorkloadRow(**fields.take(value, fields.WORKLOAD))
        case "run":
            taken = fields.take(value, fields.RUN)
            started_at_s = taken.pop("started_at_s")
            return StoredRun(NewRun(**taken), started_at_s)
        case "finish":
            return RunFinish(**fields.take(value, fields.FINISH))
        case "signature":
            return StoredSignature(**fields.take(value, fields.SIGNATURE))
        case _:
            return _stored_trial(fields.take(value, fields.TRIAL))


def _stored_trial(taken: dict[str, Any]) -> StoredTrial:
    config = Config(taken["config"])
    latency_us, bound_us, samples_us = taken["latency_us"], taken["bound_us"], taken["samples_us"]
    if config.digest != taken["config_digest"]:
        raise ValueError("field 'config_digest' does not belong to the config")
    if latency_us is not None and bound_us is not None and latency_us < bound_us * _BELOW_BOUND:
        raise ValueError(f"field 'latency_us' is {latency_us}, below the bound of {bound_us} us")
    if samples_us and not (latency_us is not None and min(samples_us) <= latency_us <= max(samples_us)):
        raise ValueError("field 'latency_us' does not lie among its samples")
    measurement = Measurement(
        status=taken["status"],
        latency_us=latency_us,
        samples_us=samples_us,
        latency_cycles=taken["latency_cycles"],
        energy_uj=taken["energy_uj"],
        peak_bytes=taken["peak_bytes"],
        reason=taken["reason"],
        worker=taken["worker"],
    )
    trial = Trial(
        run=taken["run"],
        number=taken["number"],
        workload_digest=taken["workload_digest"],
        space_digest=taken["space_digest"],
        config=config,
        measurement=measurement,
        seed=taken["seed"],
        attempt=taken["attempt"],
        purpose=taken["purpose"],
        bound_us=bound_us,
        verification=taken["verification"],
        default=taken.get("default", False),
    )
    return StoredTrial(trial, taken["created_at_s"])
