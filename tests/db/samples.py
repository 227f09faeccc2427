"""Small records to fill a database with: everything follows from a word or a number."""

import hashlib
from collections.abc import Sequence

from tilewright.compiler_core.digest import canonical_json
from tilewright.db.records import (
    Key,
    ModelRow,
    NewRun,
    Purpose,
    TargetRow,
    Trial,
    Verification,
    WorkloadKind,
    WorkloadRow,
)
from tilewright.db.repository import Repository
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config

TOOLCHAIN = "timeline-1"
PROTOCOL = "median of 2"


def digest(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


TARGET = TargetRow(digest("ascend910"), "ascend910", 'name = "ascend910"\n')
OTHER_TARGET = TargetRow(digest("ethos"), "ethos_u55_128", 'name = "ethos_u55_128"\n')
MODEL = ModelRow(digest("resnet50"), "resnet50")


def workload(
    name: str = "matmul", placement: Sequence[str] = ("DRAM", "LLB"), kind: WorkloadKind = WorkloadKind.KERNEL
) -> WorkloadRow:
    body = canonical_json({"op": name, "dims": [len(name), 64, 128], "dtype": "float16"})
    where = canonical_json(list(placement))
    return WorkloadRow(digest(body + where), digest(body), kind, where, body)


def key_of(row: WorkloadRow, objective: Objective = Objective.LATENCY, target: TargetRow = TARGET) -> Key:
    return Key(row.digest, target.digest, TOOLCHAIN, objective)


def asked(uid: str = "", objective: Objective = Objective.LATENCY, target: TargetRow = TARGET) -> NewRun:
    return NewRun(
        target_digest=target.digest,
        toolchain=TOOLCHAIN,
        objective=objective,
        seed=7,
        model_digest=MODEL.digest,
        device="simulated",
        protocol=PROTOCOL,
        tuner_version="0.1.0",
        trials_budget=64,
        settings='{"level":2}',
        versions='{"numpy":"2.4"}',
        uid=uid,
    )


def config(number: int) -> Config:
    return Config((("tile_m", 16 * (number + 1)), ("double_buffer", number % 2 == 0), ("order", "nmk")))


def ok(latency_us: float, worker: str = "worker-1") -> Measurement:
    return Measurement(
        Status.OK,
        latency_us,
        samples_us=(latency_us, latency_us * 1.5),
        latency_cycles=latency_us * 1000.0,
        energy_uj=latency_us / 3.0,
        peak_bytes=int(latency_us * 1024),
        worker=worker,
    )


def trial(
    run: str,
    number: int,
    row: WorkloadRow,
    measurement: Measurement | None = None,
    *,
    of_config: int | None = None,
    attempt: int = 0,
    purpose: Purpose = Purpose.SEARCH,
    verification: Verification = Verification.NONE,
    bound_us: float | None = 1.0,
    default: bool = False,
) -> Trial:
    return Trial(
        run=run,
        number=number,
        workload_digest=row.digest,
        space_digest=digest("space of " + row.body),
        config=config(number if of_config is None else of_config),
        measurement=measurement or ok(10.0 + number / 7.0),
        seed=number * 13,
        attempt=attempt,
        purpose=purpose,
        bound_us=bound_us,
        verification=verification,
        default=default,
    )


def confirmations(
    run: str,
    number: int,
    row: WorkloadRow,
    latencies_us: Sequence[float] = (12.0, 10.0, 11.0),
    *,
    verification: Verification = Verification.VALUE_EXACT,
    bound_us: float | None = 1.0,
    default: bool = True,
) -> list[Trial]:
    """Three readings of a config, by default of the default one, so that it is its own measure."""
    return [
        trial(
            run,
            number,
            row,
            ok(latency_us, f"worker-{attempt}"),
            attempt=attempt,
            purpose=Purpose.CONFIRMATION,
            verification=verification,
            bound_us=bound_us,
            default=default,
        )
        for attempt, latency_us in enumerate(latencies_us)
    ]


def failed(status: Status = Status.FAILED) -> Measurement:
    return failure(status, f"the device said: {status}", "worker-1")


def prepared(repository: Repository, *rows: WorkloadRow, uid: str = "") -> str:
    """Target, model, workloads and an open run; the uid of the run."""
    repository.put_target(TARGET)
    repository.put_model(MODEL)
    repository.put_workloads(rows)
    return repository.start_run(asked(uid)).uid


def filled(repository: Repository, rows: Sequence[WorkloadRow], trials_each: int = 4, uid: str = "") -> str:
    """A finished run with trials of every workload and a published best for each; the uid of the run."""
    run = prepared(repository, *rows, uid=uid)
    number = 0
    for row in rows:
        batch = [trial(run, number + index, row) for index in range(trials_each)]
        repository.commit_trials(batch + confirmations(run, number, row))
        repository.publish_best(key_of(row))
        number += trials_each
    repository.finish_run(run, "budget spent", 0.01)
    return run
