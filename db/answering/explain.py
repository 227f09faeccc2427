"""Why a lookup missed: the record nearest to the question, and the fields in which the two differ."""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, Select, bindparam, or_, select

from tilewright.db.records import Best, Key, WorkloadKind, WorkloadRow
from tilewright.db.storage.near import half_digests, leaves, parse_json, skeleton_digest
from tilewright.db.storage.rows import to_best
from tilewright.db.storage.schema import best, target, workload
from tilewright.db.storage.session import Database

_CANDIDATES = 2_000
_LONGEST_VALUE = 60
_NOTHING = "nothing"

_candidates: Select[Any] = select(
    best, workload.c.family_digest, workload.c.kind, workload.c.placement, workload.c.body
).join(workload, workload.c.digest == best.c.workload_digest)
_order = (best.c.workload_digest, best.c.target_digest, best.c.toolchain, best.c.objective)
_relatives: Select[Any] = (
    _candidates.where(
        or_(
            workload.c.digest == bindparam("digest"),
            workload.c.family_digest == bindparam("family_digest"),
        )
    )
    .order_by(*_order)
    .limit(_CANDIDATES)
)
_in_context = (
    best.c.target_digest == bindparam("target_digest"),
    best.c.toolchain == bindparam("toolchain"),
    best.c.objective == bindparam("objective"),
)
_half_alike: Select[Any] = _candidates.where(
    or_(
        workload.c.first_half_digest == bindparam("first_half_digest"),
        workload.c.second_half_digest == bindparam("second_half_digest"),
    )
)
_lookalikes: Select[Any] = _candidates.where(workload.c.skeleton_digest == bindparam("skeleton_digest"))
_others: Select[Any] = _candidates.where(workload.c.kind == bindparam("kind"))


@dataclass(frozen=True)
class Difference:
    """One field of the key or of the workload in which two records differ; values as short texts."""

    field: str
    asked: str
    found: str


@dataclass(frozen=True)
class Nearest:
    """The nearest record. Its prediction is a guess; only its own gap bounds the error.

    `guess_us` is its latency; `guess_regret` how far that lies above its bound (0.5 = 50 %), when known.
    """

    best: Best
    workload: WorkloadRow
    differences: tuple[Difference, ...]

    @property
    def guess_us(self) -> float:
        """Latency in us of the nearest record."""
        return self.best.latency_us

    @property
    def guess_regret(self) -> float | None:
        """Distance of the guess from its own bound, as a fraction."""
        bound = self.best.bound_us
        return self.best.latency_us / bound - 1.0 if bound else None


def nearest_record(database: Database, asked: WorkloadRow, key: Key) -> Nearest | None:
    """The record that differs from the question in the fewest fields; None in a database without any.

    Looked for among the same workload elsewhere and its family; then workloads that share half of their
    values, which finds all that differ in one; then those of the same form, then any of its kind.
    """
    halves = half_digests(asked.kind, asked.body)
    values = {
        "digest": asked.digest,
        "family_digest": asked.family_digest,
        "first_half_digest": halves[0],
        "second_half_digest": halves[1],
        "skeleton_digest": skeleton_digest(asked.kind, asked.body),
        "kind": asked.kind,
        "target_digest": key.target_digest,
        "toolchain": key.toolchain,
        "objective": key.objective,
    }
    questions = (
        _relatives,
        _half_alike.where(*_in_context).order_by(*_order).limit(_CANDIDATES),
        _half_alike.order_by(*_order).limit(_CANDIDATES),
        _lookalikes.where(*_in_context).order_by(*_order).limit(_CANDIDATES),
        _lookalikes.order_by(*_order).limit(_CANDIDATES),
        _others.where(*_in_context).order_by(*_order).limit(_CANDIDATES),
        _others.order_by(*_order).limit(_CANDIDATES),
    )
    for question in questions:
        found = min(
            (_compare(row, asked, key) for row in database.ask(question, values)),
            key=lambda nearest: len(nearest.differences),
            default=None,
        )
        if found is not None:
            return _with_names(database, found, key)
    return None


def _with_names(database: Database, nearest: Nearest, key: Key) -> Nearest:
    """The targets in which it differs by name, too, where the database knows them."""
    digests = (key.target_digest, nearest.best.key.target_digest)
    if digests[0] == digests[1]:
        return nearest
    question = select(target.c.digest, target.c.name).where(target.c.digest.in_(digests))
    names = {row.digest: row.name for row in database.ask(question)}
    told = [f"{names[digest]} {digest[:12]}" if digest in names else digest[:12] for digest in digests]
    others = tuple(each for each in nearest.differences if each.field != "target")
    return replace(nearest, differences=(Difference("target", *told), *others))


def _compare(row: Row[Any], asked: WorkloadRow, key: Key) -> Nearest:
    found = WorkloadRow(
        row.workload_digest, row.family_digest, WorkloadKind(row.kind), row.placement, row.body
    )
    record = to_best(row)
    differences = [
        Difference(field, asked_value, found_value)
        for field, asked_value, found_value in (
            ("target", key.target_digest[:12], record.key.target_digest[:12]),
            ("toolchain", key.toolchain, record.key.toolchain),
            ("objective", key.objective.value, record.key.objective.value),
        )
        if asked_value != found_value
    ]
    if asked.digest != found.digest:
        differences += workload_differences(asked, found)
    return Nearest(record, found, tuple(differences))


def workload_differences(asked: WorkloadRow, found: WorkloadRow) -> list[Difference]:
    """The differences of two workloads: placement first, then each value of their bodies by its path."""
    differences = []
    if asked.placement != found.placement:
        differences.append(Difference("placement", _short(asked.placement), _short(found.placement)))
    left = dict(leaves(parse_json(asked.body, f"body of workload {asked.digest[:12]}")))
    right = dict(leaves(parse_json(found.body, f"body of workload {found.digest[:12]}")))
    for path in sorted(left.keys() | right.keys()):
        mine, theirs = left.get(path, _NOTHING), right.get(path, _NOTHING)
        if mine != theirs or type(mine) is not type(theirs):
            differences.append(Difference(path or "body", _short(mine), _short(theirs)))
    return differences or [Difference("digest", asked.digest[:12], found.digest[:12])]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
