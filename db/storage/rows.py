"""Conversion between the frozen values of records.py and the columns of schema.py, and nowhere else."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

from sqlalchemy import Row, Select, select

from tilewright.compiler_core.errors import ConfigError, RecordError
from tilewright.db.records import (
    Best,
    Key,
    NewRun,
    Purpose,
    RunRow,
    Trial,
    TrialRow,
    Verification,
    WorkloadKind,
    WorkloadRow,
    check_digest,
    plain_name,
    plain_text,
)
from tilewright.db.storage.near import half_digests, parse_json, skeleton_digest
from tilewright.db.storage.schema import best, run, trial, workload
from tilewright.db.storage.seal import check_seal, sealed
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config

Columns: TypeAlias = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")

select_trial: Select[Any] = (
    select(
        trial,
        run.c.uid,
        run.c.target_digest,
        run.c.toolchain,
        run.c.objective,
        run.c.protocol,
        workload.c.digest.label("workload_digest"),
    )
    .join(run, trial.c.run_id == run.c.id)
    .join(workload, trial.c.workload_id == workload.c.id)
)
in_trial_order = (run.c.uid, trial.c.purpose, trial.c.number, trial.c.attempt)


def workload_columns(row: WorkloadRow) -> Columns:
    """The columns of a workload; RecordError when its JSON texts are not JSON."""
    check_digest(row.digest, "workload")
    check_digest(row.family_digest, "family")
    parse_json(row.placement, f"placement of workload {row.digest[:12]}")
    halves = half_digests(row.kind, row.body)
    return {
        "digest": row.digest,
        "family_digest": row.family_digest,
        "skeleton_digest": skeleton_digest(row.kind, row.body),
        "first_half_digest": halves[0],
        "second_half_digest": halves[1],
        "kind": row.kind,
        "placement": row.placement,
        "body": row.body,
    }


def to_workload(row: Row[Any]) -> WorkloadRow:
    """Inverse of `workload_columns`."""
    return WorkloadRow(row.digest, row.family_digest, WorkloadKind(row.kind), row.placement, row.body)


def run_columns(asked: NewRun) -> Columns:
    """The columns of a run at its start."""
    return {
        "uid": asked.uid,
        "model_digest": asked.model_digest,
        "target_digest": asked.target_digest,
        "toolchain": asked.toolchain,
        "objective": asked.objective,
        "seed": asked.seed,
        "device": asked.device and plain_name(asked.device),
        "protocol": asked.protocol,
        "tuner_version": asked.tuner_version and plain_name(asked.tuner_version)[:100],
        "trials_budget": asked.trials_budget,
        "settings": asked.settings,
        "versions": asked.versions,
        "job": asked.job,
    }


def _of_whole_rows(convert: Callable[P, R]) -> Callable[P, R]:
    """A conversion whose errors say that the row is no row: on a damaged page anything may stand."""

    @wraps(convert)
    def converted(*given: P.args, **named: P.kwargs) -> R:
        try:
            return convert(*given, **named)
        except (ConfigError, ValueError, TypeError) as error:
            line = " ".join(str(error).split())[:200]
            raise RecordError(
                f"a row of the database makes no sense ({line!a}); it is damaged, restore it from a backup"
            ) from error

    return converted


@_of_whole_rows
def to_run(row: Row[Any]) -> RunRow:
    """A row of table run."""
    asked = NewRun(
        target_digest=row.target_digest,
        toolchain=row.toolchain,
        objective=Objective(row.objective),
        seed=row.seed,
        model_digest=row.model_digest,
        device=row.device,
        protocol=row.protocol,
        tuner_version=row.tuner_version,
        trials_budget=row.trials_budget,
        settings=row.settings,
        versions=row.versions,
        job=row.job,
        uid=row.uid,
    )
    return RunRow(
        asked=asked,
        started_at_s=row.started_at_s,
        finished_at_s=row.finished_at_s,
        stop_reason=row.stop_reason,
        regret_estimate=row.regret_estimate,
        imported=row.imported,
        hidden=row.hidden_at_s is not None,
    )


def trial_columns(record: Trial, run_id: int, workload_id: int) -> Columns:
    """The columns of a trial, except the time."""
    measured = record.measurement
    content = {
        "run_id": run_id,
        "purpose": record.purpose,
        "number": record.number,
        "attempt": record.attempt,
        "workload_id": workload_id,
        "space_digest": record.space_digest,
        "config_digest": record.config.digest,
        "config": record.config.to_json(),
        "status": measured.status,
        "reason": plain_text(measured.reason),
        "latency_us": measured.latency_us,
        "samples_us": json.dumps(measured.samples_us, separators=(",", ":"), allow_nan=False),
        "latency_cycles": measured.latency_cycles,
        "energy_uj": measured.energy_uj,
        "peak_bytes": measured.peak_bytes,
        "bound_us": record.bound_us,
        "seed": record.seed,
        "worker": measured.worker and plain_name(measured.worker),
        "verification": record.verification,
        "is_default": record.default,
    }
    return sealed(content)


@_of_whole_rows
def to_trial(row: Row[Any]) -> TrialRow:
    """A row of `select_trial`."""
    check_seal(row, trial)
    measurement = Measurement(
        status=Status(row.status),
        latency_us=row.latency_us,
        samples_us=tuple(json.loads(row.samples_us)),
        latency_cycles=row.latency_cycles,
        energy_uj=row.energy_uj,
        peak_bytes=row.peak_bytes,
        reason=row.reason,
        worker=row.worker,
    )
    record = Trial(
        run=row.uid,
        number=row.number,
        workload_digest=row.workload_digest,
        space_digest=row.space_digest,
        config=Config.from_json(row.config),
        measurement=measurement,
        seed=row.seed,
        attempt=row.attempt,
        purpose=Purpose(row.purpose),
        bound_us=row.bound_us,
        verification=Verification(row.verification),
        default=row.is_default,
    )
    key = Key(row.workload_digest, row.target_digest, row.toolchain, Objective(row.objective))
    return TrialRow(key, record, row.created_at_s, row.imported, row.protocol)


def best_columns(row: Best) -> Columns:
    """A row of table best."""
    content = {
        "workload_digest": row.key.workload_digest,
        "target_digest": row.key.target_digest,
        "toolchain": row.key.toolchain,
        "objective": row.key.objective,
        "config": row.config.to_json(),
        "space_digest": row.space_digest,
        "latency_us": row.latency_us,
        "bound_us": row.bound_us,
        "energy_uj": row.energy_uj,
        "peak_bytes": row.peak_bytes,
        "latency_cycles": row.latency_cycles,
        "verification": row.verification,
        "confirmations": row.confirmations,
        "run": row.run,
        "number": row.number,
    }
    return sealed(content)


@_of_whole_rows
def to_best(row: Row[Any], key: Key | None = None) -> Best:
    """Inverse of `best_columns`; `key` is that of a row without the columns of the key."""
    check_seal(row, best, None if key is None else vars(key))
    return Best(
        key=key or Key(row.workload_digest, row.target_digest, row.toolchain, Objective(row.objective)),
        config=Config.from_json(row.config),
        space_digest=row.space_digest,
        latency_us=row.latency_us,
        bound_us=row.bound_us,
        energy_uj=row.energy_uj,
        peak_bytes=row.peak_bytes,
        latency_cycles=row.latency_cycles,
        verification=Verification(row.verification),
        confirmations=row.confirmations,
        run=row.run,
        number=row.number,
    )
