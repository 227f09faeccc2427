"""`tune diff`: two runs side by side, from records alone: requests, results, Configs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler_core.ir.graph_json import workload_from_json
from tilewright.db.records import RunRow, TrialRow, WorkloadKind, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.db.storage.near import parse_json
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status

ASKED = ("model_digest", "target_digest", "toolchain", "objective", "seed", "device", "trials_budget")
"""The parts of a request that may differ between two runs."""


@dataclass(frozen=True)
class Tried:
    """The result of one run for a workload: the lowest number of its objective, its knobs, and after how many
    trials. `best` is None where none of them succeeded.
    """

    best: float | None
    trials: int
    config: Mapping[str, Any]


@dataclass(frozen=True)
class RunDifference:
    """A kernel in both runs or in one. `knobs` are (knob, first, second) where the best Configs differ."""

    name: str
    workload_digest: str
    first: Tried | None
    second: Tried | None
    knobs: tuple[tuple[str, Any, Any], ...]

    @property
    def ratio(self) -> float | None:
        """The second over the first; None where one has no number."""
        numbers = [side.best if side is not None else None for side in (self.first, self.second)]
        return numbers[1] / numbers[0] if numbers[0] and numbers[1] else None


@dataclass(frozen=True)
class RunDiff:
    """Two runs. `asked` has the differences of the requests, `whole` is the network, `kernels` come by the
    distance of their numbers; those of one run alone come last. Numbers are in `unit`.
    """

    runs: tuple[str, str]
    asked: Mapping[str, tuple[Any, Any]]
    stop_reasons: tuple[str, str]
    unit: str
    whole: RunDifference | None
    kernels: tuple[RunDifference, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as one JSON object."""
        return asdict(self)


def diff_runs(first: str, second: str, *, database: str | Path = "tilewright.db") -> RunDiff:
    """Compare two runs by their uids, or beginnings of them; RecordError where there are none."""
    opened = open_database(database, read_only=True)
    try:
        repository = Repository(opened)
        runs = repository.run_called(first), repository.run_called(second)
        found = [_tried(repository.trials_of_run(run.uid), run.asked.objective) for run in runs]
        digests = list(dict.fromkeys((*found[0], *found[1])))
        rows = repository.workloads(digests)
        differences = [
            _difference(rows[digest], found[0].get(digest), found[1].get(digest)) for digest in digests
        ]
        networks = {digest for digest in digests if rows[digest].kind is WorkloadKind.GRAPH}
        whole = next((each for each in differences if each.workload_digest in networks), None)
        kernels = [each for each in differences if each.workload_digest not in networks]
        return RunDiff(
            (runs[0].uid, runs[1].uid),
            _asked(runs),
            (runs[0].stop_reason, runs[1].stop_reason),
            runs[0].asked.objective.row.unit,
            whole,
            tuple(sorted(kernels, key=_rank)),
        )
    finally:
        opened.close()


def _asked(runs: tuple[RunRow, RunRow]) -> dict[str, tuple[Any, Any]]:
    first, second = ({name: getattr(run.asked, name) for name in ASKED} for run in runs)
    return {
        name: (_plain(first[name]), _plain(second[name])) for name in ASKED if first[name] != second[name]
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Objective) else value


def _tried(trials: Sequence[TrialRow], objective: Objective) -> dict[str, Tried]:
    """By workload digest."""
    found: dict[str, Tried] = {}
    for row in trials:
        digest, measured = row.key.workload_digest, row.trial.measurement
        before = found.get(digest, Tried(None, 0, {}))
        number = objective.of(measured) if measured.status is Status.OK else None
        if number is None or (before.best is not None and before.best <= number):
            found[digest] = Tried(before.best, before.trials + 1, before.config)
        else:
            found[digest] = Tried(number, before.trials + 1, dict(row.trial.config.items))
    return found


def _difference(row: WorkloadRow, first: Tried | None, second: Tried | None) -> RunDifference:
    mine, others = ({} if side is None else dict(side.config) for side in (first, second))
    knobs = tuple(
        (name, mine.get(name), others.get(name))
        for name in dict.fromkeys((*mine, *others))
        if mine and others and mine.get(name) != others.get(name)
    )
    name = "network"
    if row.kind is WorkloadKind.KERNEL:
        graph = workload_from_json(parse_json(row.body, f"body of workload {row.digest[:12]}")).graph
        name = graph.kernel_name(range(len(graph.ops)))
    return RunDifference(name, row.digest, first, second, knobs)


def _rank(each: RunDifference) -> tuple[bool, float, str]:
    ratio = each.ratio
    apart = 0.0 if ratio is None else max(ratio, 1 / ratio)
    return ratio is None, -apart, each.workload_digest
