"""Answers on the wire between a server and its readers: plain JSON, every field checked on arrival."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tilewright.compiler_core.errors import InputError
from tilewright.db.exchange import fields
from tilewright.db.exchange.bounded_json import parse_bounded
from tilewright.db.layers.layer import AnswerContext
from tilewright.db.records import Best, Verification, WorkloadRow
from tilewright.search_space.knobs import Config

UNKNOWN_SPACE = "0" * 64
"""The digest of no space: Configs from elsewhere are looked for in the space of today, whatever is said."""
MOST_ASKED = 500
"""Digests in one question; its body stays below 64 KiB."""
MOST_RELATIVES = 8
"""Members of a family in one answer."""
_BEST: Mapping[str, fields.Check] = {
    "workload_digest": fields.digest,
    "config": fields.knobs,
    "latency_us": fields.positive,
    "bound_us": fields.or_nothing(fields.not_negative),
    "energy_uj": fields.or_nothing(fields.not_negative),
    "peak_bytes": fields.or_nothing(fields.count),
    "latency_cycles": fields.or_nothing(fields.positive),
    "verification": fields.one_of(Verification),
    "confirmations": fields.count,
    "run": fields.uid,
    "number": fields.count,
}
Relative = tuple[WorkloadRow, Best]


@dataclass(frozen=True)
class Told:
    """What a server knows: bests by workload digest, and relatives by family digest."""

    bests: Mapping[str, Best]
    relatives: Mapping[str, Sequence[Relative]]


def best_to_json(best: Best) -> dict[str, Any]:
    """A best as plain JSON, without the parts of its key that the question has."""
    return {
        "workload_digest": best.key.workload_digest,
        "config": [list(item) for item in best.config.items],
        "latency_us": best.latency_us,
        "bound_us": best.bound_us,
        "energy_uj": best.energy_uj,
        "peak_bytes": best.peak_bytes,
        "latency_cycles": best.latency_cycles,
        "verification": str(best.verification),
        "confirmations": best.confirmations,
        "run": best.run,
        "number": best.number,
    }


def best_of_json(value: Any, context: AnswerContext) -> Best:
    """Inverse of `best_to_json`; ValueError names the field at fault."""
    taken = fields.take(value, _BEST)
    digest, config = taken.pop("workload_digest"), Config(taken.pop("config"))
    return Best(context.key_of(digest), config, space_digest=UNKNOWN_SPACE, **taken)


def told_to_json(told: Told) -> dict[str, Any]:
    """The body of an answer."""
    return {
        "bests": [best_to_json(best) for best in told.bests.values()],
        "relatives": [
            {"workload": {**vars(row), "kind": str(row.kind)}, "best": best_to_json(best)}
            for family in told.relatives.values()
            for row, best in family[:MOST_RELATIVES]
        ],
    }


def told_of_text(text: str, context: AnswerContext) -> Told:
    """The answer in a body; ValueError where that is no answer to `context`."""
    try:
        body = parse_bounded(text)
        if not isinstance(body, dict) or set(body) != {"bests", "relatives"}:
            raise ValueError("it is no object of bests and relatives")
        bests = [best_of_json(each, context) for each in _listed(body["bests"])]
        relatives: dict[str, list[Relative]] = {}
        for each in _listed(body["relatives"]):
            if not isinstance(each, dict) or set(each) != {"workload", "best"}:
                raise ValueError("a relative is no object of workload and best")
            row = WorkloadRow(**fields.take(each["workload"], fields.WORKLOAD))
            best = best_of_json(each["best"], context)
            if best.key.workload_digest != row.digest:
                raise ValueError("a relative has the best of another workload")
            relatives.setdefault(row.family_digest, []).append((row, best))
    except (InputError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return Told({best.key.workload_digest: best for best in bests}, relatives)


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("it holds no list where one belongs")
    return value
