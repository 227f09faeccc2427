"""Does the error that comes with a record of a retired toolchain cover the true one?

    python -m benchmarks.service.retired [--quick] [--seed N]

A toolchain is bumped: the simulator's timings of the same chip change, as when launches, barriers, DRAM or
the vector units are modelled anew. Some kernels are measured under both toolchains, 500 others only under the
old one; a lookup serves these as guesses, and the new simulator says how long they truly take.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target, target_text
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.answering.describe import (
    ElementwiseStep,
    Operand,
    contraction,
    convolution,
    reduction,
    row_of,
)
from tilewright.db.answering.lookup import AnswerRequest, Fallback, Hit, lookup_many
from tilewright.db.records import NewRun, Purpose, TargetRow, Trial, Verification
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.knobs import Config
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.task import KernelTask

TARGET, DEVICE = "ascend310", "simulated"
OLD, NEW = "old", "new"
RECORDS, WITH_BOTH = 500, 60
COVERED = 0.9
Row = dict[str, Any]


@dataclass(frozen=True)
class Timed:
    """A Config of a kernel, and its time under the toolchain before the bump and after."""

    task: KernelTask
    config: Config
    old: Measurement
    new: Measurement


def bumps(target: Target) -> dict[str, Target]:
    """The chip as a younger simulator has it, by what was modelled anew."""
    over, dram, vector = target.overheads, target.dram, target.vector
    return {
        "launches": replace(
            target,
            overheads=replace(
                over, launch_us=over.launch_us * 1.3, barrier_cycles=int(over.barrier_cycles * 1.5) + 20
            ),
        ),
        "dram": replace(
            target,
            dram=replace(dram, gbps=dram.gbps * 0.85, latency_cycles=int(dram.latency_cycles * 1.4) + 10),
        ),
        "vector": replace(
            target,
            vector=replace(vector, start_up_cycles=vector.start_up_cycles + 16),
            overheads=replace(over, tile_dispatch_cycles=over.tile_dispatch_cycles + 30),
        ),
    }


def bench_retired(seed: int = 0, quick: bool = False) -> Row:
    """The figures of the fallback: `{bench, summary, rows}`. `quick` has a fifth of the records."""
    records, both = (RECORDS // 5, WITH_BOTH) if quick else (RECORDS, WITH_BOTH)
    target = load_target(TARGET)
    tasks = [(task, config) for task, config in drawn(target, records + both, seed)]
    rows = []
    for name, younger in bumps(target).items():
        timed = timed_under(tasks, target, younger)
        with tempfile.TemporaryDirectory() as folder:
            rows.append({"bump": name, **covered(timed, both, Path(folder) / "tuning.db")})
    summary = {
        f"covered_{row['bump']}": {"value": row["covered"], "goal": COVERED, "ok": row["covered"] >= COVERED}
        for row in rows
    }
    return {"bench": "retired", "summary": summary, "rows": rows}


def covered(timed: Sequence[Timed], both: int, path: Path) -> Row:
    """The share of retired records whose true error is within the one that a lookup tells. The first `both`
    are measured under both toolchains.
    """
    database = open_database(path)
    repository = Repository(database)
    target = timed[0].task.target
    repository.put_target(TargetRow(target.digest, target.name, target_text(TARGET)))
    repository.put_workloads([row_of(each.task.workload) for each in timed])
    _recorded(repository, [(each, each.old) for each in timed], OLD)
    _recorded(repository, [(each, each.new) for each in timed[:both]], NEW)
    request = AnswerRequest(target.digest, NEW, fallback=(Fallback.TOOLCHAIN,), device=DEVICE)
    asked = timed[both:]
    answers = lookup_many(repository, [row_of(each.task.workload) for each in asked], request)
    within, errors, told = 0, [], 0.0
    for each, answer in zip(asked, answers, strict=True):
        assert isinstance(answer, Hit)
        assert answer.drift is not None
        assert each.new.latency_us is not None
        assert answer.drift.error is not None, "enough are measured under both"
        error = abs(each.new.latency_us / answer.latency_us - 1.0)
        told = answer.drift.error
        errors.append(error)
        within += error <= told
    database.close()
    return {
        "records": len(asked),
        "with_both": both,
        "covered": within / len(asked),
        "told": told,
        "median_error": median(errors),
        "largest_error": max(errors),
    }


def _recorded(repository: Repository, measured: Sequence[tuple[Timed, Measurement]], toolchain: str) -> None:
    """Confirm Configs under a toolchain; each is the default of its kernel, so that it is published."""
    target = measured[0][0].task.target
    run = repository.start_run(
        NewRun(target.digest, toolchain, seed=0, device=DEVICE, objective=Objective.LATENCY)
    ).uid
    repository.commit_trials(
        [
            Trial(
                run=run,
                number=number,
                attempt=attempt,
                workload_digest=each.task.digest,
                space_digest=each.task.space.digest,
                config=each.config,
                measurement=took,
                purpose=Purpose.CONFIRMATION,
                bound_us=0.0,
                verification=Verification.VALUE_EXACT,
                default=True,
            )
            for number, (each, took) in enumerate(measured)
            for attempt in range(3)
        ]
    )


def timed_under(tasks: Sequence[tuple[KernelTask, Config]], old: Target, new: Target) -> list[Timed]:
    """Configs of kernels, timed before a bump and after."""
    before, after = SimulatedDevice(old), SimulatedDevice(new)
    return [
        Timed(
            task,
            config,
            before.measure(task.workload, [config])[0],
            after.measure(task.workload, [config])[0],
        )
        for task, config in tasks
    ]


def drawn(target: Target, count: int, seed: int) -> Iterator[tuple[KernelTask, Config]]:
    """Distinct kernels that fit, each with a Config at random."""
    draw, seen = random.Random(seed), set[str]()
    while len(seen) < count:
        workload = _kernel(draw)
        if workload.digest in seen:
            continue
        task = KernelTask(Regions(workload), target)
        rows = sample(task.space, 8, np.random.default_rng(draw.randrange(1 << 30)))
        if len(rows):
            seen.add(workload.digest)
            yield task, task.space.decode(rows[0])


def _kernel(draw: random.Random) -> Workload:
    def size(low: float, high: float) -> int:
        return 8 * round(2 ** draw.uniform(low, high))

    kind = draw.choice(("matmul", "matmul", "convolution", "reduction"))
    if kind == "matmul":
        m, n, k = (size(0, 6) for _ in range(3))
        steps = (ElementwiseStep("relu"),) if draw.random() < 0.5 else ()
        return contraction("mk,kn->mn", Operand((m, k)), Operand((k, n)), epilogue=steps)
    if kind == "convolution":
        channels, filters, extent = size(0, 3), size(0, 4), size(0, 2)
        image = Operand((1, channels, extent, extent))
        return convolution(image, Operand((filters, channels, 3, 3), level="constant"), pads=1)
    return reduction("sum", Operand((size(0, 5), size(0, 6))), [1])


def main() -> None:
    """The figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(bench_retired(given.seed, given.quick), indent=2))


if __name__ == "__main__":
    main()
