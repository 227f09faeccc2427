"""Lookups at compile time: the best Config of a workload, or the reason why there is none.

    database = open_database("tuning.db", read_only=True)
    answer = lookup(Repository(database), workload, AnswerRequest(target_digest, toolchain))
    if isinstance(answer, Hit):
        compile_with(answer.best.config)

Nothing is served across workload, target, toolchain or objective. A relative under another placement is a
Hit marked OTHER_PLACEMENT, and only when the caller asks for such. Of several layers the first that has an
exact answer gives it; relatives count after all of those. Importing this module loads no tuning machinery.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from tilewright.db.answering.claims import advice, claimed
from tilewright.db.answering.explain import Nearest, nearest_record
from tilewright.db.answering.retired import ToolchainDrift, drift, retired_toolchains
from tilewright.db.layers.layer import AnswerContext, Layers
from tilewright.db.records import Best, Key, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.measure.objectives import Objective

_MOST_NAMED = 5

Fits: TypeAlias = Callable[[WorkloadRow, Best], bool]


class Match(StrEnum):
    """The relation of the record that answers to the question."""

    EXACT = "exact"
    OTHER_PLACEMENT = "other-placement"
    RETIRED = "retired"


class Fallback(StrEnum):
    """What may stand in where no record answers exactly: a record of the last toolchain, one of the nearest
    family (the same kernel, its operands elsewhere), the draft's best guess, the default Config.
    """

    TOOLCHAIN = "toolchain"
    FAMILY = "family"
    GUESS = "guess"
    DEFAULT = "default"


@dataclass(frozen=True)
class Hit:
    """A Config to compile with, valid in the space of today, the workload it was `recorded` on, and the name
    of the layer that knew it (empty where one database was asked). A RETIRED one has the `drift` since then.
    """

    workload: WorkloadRow
    best: Best
    match: Match
    recorded: WorkloadRow
    layer: str = ""
    drift: ToolchainDrift | None = None

    @property
    def latency_us(self) -> float:
        """The latency to expect: as measured, of a retired record times the drift."""
        return self.best.latency_us if self.drift is None else self.drift.expected_us(self.best.latency_us)


@dataclass(frozen=True)
class Miss:
    """No answer. `reason` is one line; `nearest` is the closest record, whose latency is a guess only. If
    `imported`, others have measured this very workload, and nobody here has yet.
    """

    workload: WorkloadRow
    key: Key
    reason: str
    nearest: Nearest | None
    imported: bool = False


Answer: TypeAlias = Hit | Miss


@dataclass(frozen=True)
class AnswerRequest:
    """Whose records answer, and which of them count.

    A record counts when its space digest equals that of `space_digests` (by workload digest), or else when
    `fits(workload, best)`: the Config still lies in the space of today. With neither, it is trusted.
    With `other_placement` a record of the same kernel over operands elsewhere may answer, marked as such;
    `fallback` says in its place what may, in its order. Records of retired toolchains are those of `device`.
    `explain` looks for the record nearest to each miss, which takes longer. With `before_s` exact hits are
    those of that moment.
    """

    target_digest: str
    toolchain: str
    objective: Objective = Objective.LATENCY
    space_digests: Mapping[str, str] = field(default_factory=dict)
    fits: Fits | None = None
    other_placement: bool = False
    fallback: tuple[Fallback, ...] = ()
    device: str = ""
    explain: bool = True
    before_s: float | None = None

    @property
    def steps(self) -> tuple[Fallback, ...]:
        """What stands in for an exact answer, in order."""
        return self.fallback or ((Fallback.FAMILY,) if self.other_placement else ())

    def accepts(self, workload: WorkloadRow, best: Best) -> bool:
        """Whether a record counts as an answer for `workload`."""
        wanted = self.space_digests.get(workload.digest)
        if wanted is None and self.fits is None:
            return True
        return wanted == best.space_digest or (self.fits is not None and self.fits(workload, best))


def lookup(source: Repository | Layers, workload: WorkloadRow, request: AnswerRequest) -> Answer:
    """The answer for one workload: see `lookup_many`."""
    return lookup_many(source, [workload], request)[0]


def lookup_many(
    source: Repository | Layers, workloads: Sequence[WorkloadRow], request: AnswerRequest
) -> list[Answer]:
    """One answer per workload, in order: one query a layer for all exact hits, one more for relatives.

    With `before_s` only the first layer answers: others do not know what they knew then.
    """
    layers = source if isinstance(source, Layers) else Layers.of(source)
    context = AnswerContext(request.target_digest, request.toolchain, request.objective)
    answers: dict[str, Answer] = {}
    stale: dict[str, Best] = {}
    open_still = {row.digest: row for row in workloads}
    for layer in layers.layers[: None if request.before_s is None else 1]:
        found = layer.bests(list(open_still), context, request.before_s)
        for digest, best in found.items():
            row = open_still[digest]
            if request.accepts(row, best):
                answers[digest] = Hit(row, best, Match.EXACT, row, layer.name)
                del open_still[digest]
            else:
                stale.setdefault(digest, best)
        if not open_still:
            break
    for step in request.steps:
        left = {digest: row for digest, row in open_still.items() if digest not in answers}
        if left and step is Fallback.FAMILY:
            answers |= _relatives(layers, left, request, context)
        elif left and step is Fallback.TOOLCHAIN:
            answers |= retired_answers(layers, left, request)
    missing = [row for row in open_still.values() if row.digest not in answers]
    waiting = _waiting(layers, missing, context) if request.explain and missing else {}
    for row in missing:
        key, old = context.key_of(row.digest), stale.get(row.digest)
        if row.digest in waiting and old is None:
            answers[row.digest] = Miss(row, key, waiting[row.digest], None, imported=True)
        else:
            answers[row.digest] = _miss(layers, row, key, old, request.explain)
    return [answers[row.digest] for row in workloads]


def _relatives(
    layers: Layers, missing: Mapping[str, WorkloadRow], request: AnswerRequest, context: AnswerContext
) -> dict[str, Answer]:
    """The same kernels under another placement, from the first layer that has one."""
    answers: dict[str, Answer] = {}
    for layer in layers.layers:
        rows = [row for row in missing.values() if row.digest not in answers]
        if not rows:
            break
        families = layer.relatives([row.family_digest for row in rows], context)
        for row in rows:
            for member, best in families.get(row.family_digest, ()):
                if member.digest != row.digest and request.accepts(row, best):
                    answers[row.digest] = Hit(row, best, Match.OTHER_PLACEMENT, member, layer.name)
                    break
    return answers


def retired_answers(
    layers: Layers, missing: Mapping[str, WorkloadRow], request: AnswerRequest
) -> dict[str, Answer]:
    """Records of the toolchains before today's, the last first, from the first layer that has one."""
    answers: dict[str, Answer] = {}
    target, today, left = request.target_digest, request.toolchain, dict(missing)
    for layer in layers.layers:
        if layer.database is None:
            continue
        for toolchain in retired_toolchains(layer.database, target, request.device, today):
            context = AnswerContext(target, toolchain, request.objective)
            found = {
                digest: best
                for digest, best in layer.bests(list(left), context).items()
                if request.accepts(left[digest], best)
            }
            if not found:
                continue
            since = drift(layer.database, target, request.device, (toolchain, today))
            for digest, best in found.items():
                row = left.pop(digest)
                answers[digest] = Hit(row, best, Match.RETIRED, row, layer.name, since)
    return answers


def _waiting(layers: Layers, rows: Sequence[WorkloadRow], context: AnswerContext) -> Mapping[str, str]:
    """What to do about those workloads that only imported records of the first layer know, by digest."""
    database = layers.layers[0].database
    if database is None:
        return {}
    found = claimed(database, [row.digest for row in rows], context.target_digest, context.objective)
    known = Repository(database).target(context.target_digest) if found else None
    return dict.fromkeys(found, advice((known.name if known else "NAME",)))


def _miss(layers: Layers, row: WorkloadRow, key: Key, stale: Best | None, explain: bool) -> Miss:
    if stale is not None:
        reason = "space: the recorded config is not in the space of today; tune it again"
        return Miss(row, key, reason, Nearest(stale, row, ()))
    if not explain:
        return Miss(row, key, "no record has this key", None)
    near = [
        found
        for layer in layers.layers
        if layer.database is not None
        for found in (nearest_record(layer.database, row, key),)
        if found is not None
    ]
    nearest = min(near, key=lambda each: len(each.differences), default=None)
    if nearest is None:
        return Miss(row, key, "no record of anything like it; tune it first", None)
    named = [f"{each.field}: asked {each.asked}, nearest has {each.found}" for each in nearest.differences]
    more = [f"and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
    return Miss(row, key, "; ".join(named[:_MOST_NAMED] + more), nearest)
