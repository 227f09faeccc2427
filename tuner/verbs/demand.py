"""`tune demand`: the lookups that missed, ranked by the time that tuning would save."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from heapq import nlargest
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import TilewrightError
from tilewright.compiler_core.ir.graph_json import workload_from_json
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import list_targets, load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.demand.entries import Demandable, Demanded, Served
from tilewright.db.demand.file import DemandFile
from tilewright.db.demand.gaps import typical_gap
from tilewright.db.records import Key, WorkloadKind
from tilewright.db.repository import Repository
from tilewright.db.storage.near import parse_json
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.planning.prices import Prices, draft_us

MOST_WEIGHED = 500
"""Questions that are looked at closely: those with the most time served, and those asked for most."""
ASSUMED_GAP = 1.5
"""Latency over bound of a tuned kernel where the database has none on the target yet."""


@dataclass(frozen=True)
class Unanswered:
    """A workload that lookups missed, `count` times, and what each was served in us.

    `expected_us` is what tuning is expected to reach: the bound times the gap of answers on the target.
    `saves_us` is the count times the difference. `why_not` says why it cannot be tuned from here, empty where
    it can.
    """

    workload_digest: str
    name: str
    kind: str
    target: str
    target_digest: str
    toolchain: str
    objective: str
    served: str
    count: int
    served_us: float | None
    expected_us: float | None
    saves_us: float
    why_not: str
    model: str = ""
    dims: tuple[tuple[str, int], ...] = ()
    body: str = field(default="", repr=False)


@dataclass(frozen=True)
class DemandReport:
    """Lookups by what they were served, and the misses, the one that tuning would save most first."""

    totals: Mapping[str, int]
    wanted: tuple[Unanswered, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as one JSON object."""
        rows = [{**asdict(each), "dims": dict(each.dims)} for each in self.wanted]
        for row in rows:
            del row["body"]
        return {"totals": dict(self.totals), "wanted": rows}


def demand(
    file: str | Path, database: Database, limit: int | None = None, *, weighed: int = MOST_WEIGHED
) -> DemandReport:
    """The demand in a file against the answers of a database: what has one by now is left out. At most
    `weighed` with most time served, and as many that were asked for most, are looked at.

    RecordError where the file cannot be read.
    """
    opened = DemandFile(file, read_only=True)
    try:
        missed = [each for each in opened.rows() if each.asked.served != Served.MEASURED]
        chosen = {
            each.asked: each
            for weight in (lambda each: each.cost_us, lambda each: each.count)
            for each in nlargest(weighed, missed, key=weight)
        }
        ranking = _Ranking(opened, Repository(database))
        found = [wanted for each in chosen.values() for wanted in ranking.wanted(each)]
        found.sort(key=lambda each: (-each.saves_us, -each.count, each.workload_digest, each.served))
        return DemandReport(opened.totals(), tuple(found[:limit]))
    finally:
        opened.close()


class _Ranking:
    """Weighs one question after the other; targets and gaps are looked up once."""

    def __init__(self, file: DemandFile, repository: Repository) -> None:
        self._file = file
        self._repository = repository
        self._targets: dict[tuple[str, str], tuple[Target | None, str]] = {}
        self._gaps: dict[tuple[str, str, str], float] = {}

    def wanted(self, demanded: Demanded) -> Iterator[Unanswered]:
        """The question as one that tuning can answer; nothing where the database answers it by now."""
        asked = demanded.asked
        key = Key(asked.workload_digest, asked.target_digest, asked.toolchain, Objective(asked.objective))
        if self._repository.best(key) is not None:
            return
        about = self._file.subject(asked.workload_digest) or self._recorded(asked.workload_digest)
        chip, place = self._target(asked.target_digest, "" if about is None else about.target)
        kind = WorkloadKind.GRAPH if about is not None and about.model else WorkloadKind.KERNEL
        served_us = demanded.mean_us or None
        bound_us, why_not = None if about is None else about.bound_us, ""
        if about is None:
            why_not = "only its digest is known"
        elif chip is None:
            why_not = "its target is not known here"
        elif about.model:
            why_not = "" if Path(about.model).is_file() else f"{about.model} is not there any more"
        else:
            try:
                weighed = WeighedKernel(kernel_of_body(about.body), chip)
                bound_us, served_us = weighed.bound_us, served_us or weighed.default_us
            except TilewrightError as error:
                why_not = str(error)
        expected_us = None
        if bound_us is not None:
            gap = self._gap(asked.target_digest, asked.toolchain, kind)
            expected_us = bound_us * gap if served_us is None else min(served_us, bound_us * gap)
        saved = (served_us - expected_us) * demanded.count if served_us and expected_us else 0.0
        yield Unanswered(
            asked.workload_digest,
            "" if about is None else about.name,
            str(kind),
            place,
            asked.target_digest,
            asked.toolchain,
            asked.objective,
            asked.served,
            demanded.count,
            served_us,
            expected_us,
            saved,
            why_not,
            "" if about is None else about.model,
            () if about is None else about.dims,
            "" if about is None else about.body,
        )

    def _recorded(self, digest: str) -> Demandable | None:
        """A kernel that the database knows from another target or toolchain."""
        row = self._repository.workloads([digest]).get(digest)
        if row is None or row.kind is not WorkloadKind.KERNEL:
            return None
        return Demandable("", "", body=row.body)

    def _target(self, digest: str, place: str) -> tuple[Target | None, str]:
        if (digest, place) not in self._targets:
            self._targets[digest, place] = _target_of(digest, place)
        return self._targets[digest, place]

    def _gap(self, target_digest: str, toolchain: str, kind: WorkloadKind) -> float:
        of = target_digest, toolchain, str(kind)
        if of not in self._gaps:
            found = typical_gap(self._repository.database, target_digest, toolchain, kind)
            self._gaps[of] = ASSUMED_GAP if found is None else found
        return self._gaps[of]


@dataclass(frozen=True)
class WeighedKernel:
    """A kernel on a target, by its bound and its default."""

    workload: Workload
    target: Target

    @cached_property
    def task(self) -> KernelTask:
        """Its space and model."""
        return KernelTask(Regions(self.workload), self.target)

    @property
    def bound_us(self) -> float:
        """A latency nothing beats."""
        return self.task.bound_us

    @property
    def default_us(self) -> float:
        """The draft of what runs without tuning."""
        return draft_us(self.task, Prices(self.target, 0).default(self.task))


def kernel_of_body(body: str) -> Workload:
    """A kernel from its canonical text; RecordError where it is none."""
    return workload_from_json(parse_json(body, "body of a kernel that was asked for"))


def _target_of(digest: str, place: str) -> tuple[Target | None, str]:
    """The target of a digest, and where it was found: at the place that is known, or a preset; else None."""
    for each in dict.fromkeys((*([place] if place else []), *list_targets())):
        try:
            chip = load_target(each)
        except TilewrightError:
            continue
        if chip.digest == digest:
            return chip, each
    return None, ""
