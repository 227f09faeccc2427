"""Lookups at compile time: the best Config of a workload, or the reason why there is none.

    database = open_database("tuning.db", read_only=True)
    answer = lookup(Repository(database), workload, target_digest, toolchain, space_digest=space.digest)
    if isinstance(answer, Hit):
        compile_with(answer.best.config)

Nothing is served across workload, target, toolchain or objective. A relative under another placement is a
Hit marked OTHER_PLACEMENT, and only when the caller asks for such. Importing this module loads no tuning
machinery.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from tilewright.db.answering.explain import Nearest, nearest_record
from tilewright.db.records import Best, Key, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.measure.objectives import Objective

_MOST_NAMED = 5

Fits: TypeAlias = Callable[[WorkloadRow, Best], bool]


class Match(StrEnum):
    """How the record that answers relates to the question."""

    EXACT = "exact"
    OTHER_PLACEMENT = "other-placement"


@dataclass(frozen=True)
class Hit:
    """A Config to compile with, valid in the space of today, and the workload it was `recorded` on."""

    workload: WorkloadRow
    best: Best
    match: Match
    recorded: WorkloadRow


@dataclass(frozen=True)
class Miss:
    """No answer. `reason` is one line; `nearest` is the closest record, whose latency is a guess only."""

    workload: WorkloadRow
    key: Key
    reason: str
    nearest: Nearest | None


Answer: TypeAlias = Hit | Miss


def lookup(
    repository: Repository,
    workload: WorkloadRow,
    target_digest: str,
    toolchain: str,
    objective: Objective = Objective.LATENCY,
    *,
    space_digest: str | None = None,
    fits: Fits | None = None,
    other_placement: bool = False,
    explain: bool = True,
) -> Answer:
    """The answer for one workload: see `lookup_many`."""
    digests = None if space_digest is None else {workload.digest: space_digest}
    return lookup_many(
        repository,
        [workload],
        target_digest,
        toolchain,
        objective,
        space_digests=digests,
        fits=fits,
        other_placement=other_placement,
        explain=explain,
    )[0]


def lookup_many(
    repository: Repository,
    workloads: Sequence[WorkloadRow],
    target_digest: str,
    toolchain: str,
    objective: Objective = Objective.LATENCY,
    *,
    space_digests: dict[str, str] | None = None,
    fits: Fits | None = None,
    other_placement: bool = False,
    explain: bool = True,
    before_s: float | None = None,
) -> list[Answer]:
    """One answer per workload, in order: one query for all exact hits, one more for their relatives.

    A hit counts when its stored space digest equals that of `space_digests` (by workload digest), or else
    when `fits(workload, best)`: the Config still lies in the space of today. With neither, the record is
    trusted. `explain` looks for the record nearest to each miss, which takes longer. With `before_s` exact
    hits are those of that moment.
    """
    digests = [row.digest for row in workloads]
    exact = repository.best_many(digests, target_digest, toolchain, objective, before_s)
    spaces = space_digests or {}

    def valid(workload: WorkloadRow, best: Best) -> bool:
        wanted = spaces.get(workload.digest)
        if wanted is None and fits is None:
            return True
        return wanted == best.space_digest or (fits is not None and fits(workload, best))

    answers: dict[str, Answer] = {
        row.digest: Hit(row, exact[row.digest], Match.EXACT, row)
        for row in workloads
        if row.digest in exact and valid(row, exact[row.digest])
    }
    open_still = [row for row in workloads if row.digest not in answers]
    if other_placement and open_still:
        families = repository.best_of_families(
            [row.family_digest for row in open_still], target_digest, toolchain, objective
        )
        for row in open_still:
            for member, best in families.get(row.family_digest, ()):
                if member.digest != row.digest and valid(row, best):
                    answers[row.digest] = Hit(row, best, Match.OTHER_PLACEMENT, member)
                    break
    for row in open_still:
        if row.digest not in answers:
            key = Key(row.digest, target_digest, toolchain, objective)
            answers[row.digest] = _miss(repository, row, key, exact.get(row.digest), explain)
    return [answers[row.digest] for row in workloads]


def _miss(repository: Repository, row: WorkloadRow, key: Key, stale: Best | None, explain: bool) -> Miss:
    if stale is not None:
        reason = "space: the recorded config is not in the space of today; tune it again"
        return Miss(row, key, reason, Nearest(stale, row, ()))
    if not explain:
        return Miss(row, key, "no record has this key", None)
    nearest = nearest_record(repository.database, row, key)
    if nearest is None:
        return Miss(row, key, "no record of anything like it; tune it first", None)
    named = [f"{each.field}: asked {each.asked}, nearest has {each.found}" for each in nearest.differences]
    more = [f"and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
    return Miss(row, key, "; ".join(named[:_MOST_NAMED] + more), nearest)
