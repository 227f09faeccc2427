"""Lookups at compile time: the best Config of a workload, or the reason why there is none.

    database = open_database("tuning.db", read_only=True)
    answer = lookup(Repository(database), workload, AnswerRequest(target_digest, toolchain))
    if isinstance(answer, Hit):
        compile_with(answer.best.config)

Nothing is served across workload, target, toolchain or objective. A relative under another placement is a
Hit marked OTHER_PLACEMENT, and only when the caller asks for such. Importing this module loads no tuning
machinery.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class AnswerRequest:
    """Whose records answer, and which of them count.

    A record counts when its space digest equals that of `space_digests` (by workload digest), or else when
    `fits(workload, best)`: the Config still lies in the space of today. With neither, it is trusted.
    With `other_placement` a record of the same kernel over operands elsewhere may answer, marked as such.
    `explain` looks for the record nearest to each miss, which takes longer. With `before_s` exact hits are
    those of that moment.
    """

    target_digest: str
    toolchain: str
    objective: Objective = Objective.LATENCY
    space_digests: Mapping[str, str] = field(default_factory=dict)
    fits: Fits | None = None
    other_placement: bool = False
    explain: bool = True
    before_s: float | None = None

    def key_of(self, workload: WorkloadRow) -> Key:
        """The key of a workload's records."""
        return Key(workload.digest, self.target_digest, self.toolchain, self.objective)

    def accepts(self, workload: WorkloadRow, best: Best) -> bool:
        """Whether a record counts as an answer for `workload`."""
        wanted = self.space_digests.get(workload.digest)
        if wanted is None and self.fits is None:
            return True
        return wanted == best.space_digest or (self.fits is not None and self.fits(workload, best))


def lookup(repository: Repository, workload: WorkloadRow, request: AnswerRequest) -> Answer:
    """The answer for one workload: see `lookup_many`."""
    return lookup_many(repository, [workload], request)[0]


def lookup_many(
    repository: Repository, workloads: Sequence[WorkloadRow], request: AnswerRequest
) -> list[Answer]:
    """One answer per workload, in order: one query for all exact hits, one more for their relatives."""
    where = (request.target_digest, request.toolchain, request.objective)
    digests = [row.digest for row in workloads]
    exact = repository.best_many(digests, *where, request.before_s)
    answers: dict[str, Answer] = {
        row.digest: Hit(row, exact[row.digest], Match.EXACT, row)
        for row in workloads
        if row.digest in exact and request.accepts(row, exact[row.digest])
    }
    open_still = [row for row in workloads if row.digest not in answers]
    if request.other_placement and open_still:
        families = repository.best_of_families([row.family_digest for row in open_still], *where)
        for row in open_still:
            for member, best in families.get(row.family_digest, ()):
                if member.digest != row.digest and request.accepts(row, best):
                    answers[row.digest] = Hit(row, best, Match.OTHER_PLACEMENT, member)
                    break
    for row in open_still:
        if row.digest not in answers:
            stale = exact.get(row.digest)
            answers[row.digest] = _miss(repository, row, request.key_of(row), stale, request.explain)
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
