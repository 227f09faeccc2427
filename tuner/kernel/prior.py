"""Records of other shapes and targets as a prior for kernels that were never measured.

A record's features are computed anew from its Workload, Config and Target, so that a prior is as good as
today's features whenever it was measured.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from json import loads

import numpy as np

from tilewright.compiler_core.errors import RecordError, TilewrightError
from tilewright.compiler_core.ir.graph_json import workload_from_json
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import parse_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.db.records import TrialRow
from tilewright.db.repository import Repository
from tilewright.measure.recorded.replay import ReplayDevice
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.problem import Problem
from tilewright.tuner.kernel.task import KernelTask

MOST_ROWS = 30_000
"""How many rows of a recorded table teach a prior."""
MOST = 4000
"""The number of latest trials that count."""


def table_records(problem: Problem, table: ReplayDevice) -> TaskRecords:
    """A recorded table of the space of `problem` as records for a prior, MOST_ROWS of a space that is large.

    What the table lacks has failed. RecordError where nothing in it succeeded.
    """
    rows = problem.whole
    if rows is None:
        rows = sample(problem.space, MOST_ROWS, np.random.default_rng(0))
    answers = table.measure(problem.task, [problem.space.decode(row) for row in rows])
    logs = np.log([answer.latency_us or np.nan for answer in answers])
    if not np.isfinite(logs).any():
        raise RecordError(f"table {table.name} holds no successful measurement of this space")
    return TaskRecords(table.name, problem.feature_function(rows), np.zeros(len(rows)), logs)


def prior_records(repository: Repository, recorded: Sequence[TrialRow]) -> tuple[TaskRecords, ...]:
    """Latencies of `recorded` kernel trials, a TaskRecords per kernel and target.

    Records that today's compiler cannot read are left out.
    """
    rows: dict[tuple[str, str], list[TrialRow]] = defaultdict(list)
    for row in recorded:
        rows[row.key.workload_digest, row.key.target_digest].append(row)
    bodies = {
        digest: found.body for digest, found in repository.workloads(sorted({w for w, _ in rows})).items()
    }
    targets = _targets(repository)
    made = []
    for (workload, target), trials in sorted(rows.items()):
        if workload in bodies and target in targets:
            record = _records(workload, bodies[workload], targets[target], trials)
            made += [record] if record is not None else []
    return tuple(made)


def _targets(repository: Repository) -> Mapping[str, Target]:
    parsed = {row.digest: parse_target(row.text)[0] for row in repository.targets()}
    return {digest: target for digest, target in parsed.items() if target is not None}


def _records(digest: str, body: str, target: Target, trials: Sequence[TrialRow]) -> TaskRecords | None:
    try:
        task = KernelTask(Regions(workload_from_json(loads(body))), target)
        problem = task.problem()
    except (TilewrightError, ValueError):
        return None
    known = [row.trial for row in trials if task.space.contains(row.trial.config)]
    if not known:
        return None
    rows = np.array([task.space.encode(trial.config) for trial in known], dtype=np.int32)
    latency = np.array([trial.measurement.latency_us or np.nan for trial in known])
    name, drafts = f"{digest}@{target.digest}", problem.drafts(rows)
    return TaskRecords(name, problem.feature_function(rows), drafts, np.log(latency), source=target.digest)
