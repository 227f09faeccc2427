"""Answers on the wire between a server and its readers: plain JSON, every field checked on arrival."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tilewright.compiler_core.errors import InputError
from tilewright.db.exchange import fields
from tilewright.db.exchange.bounded_json import parse_bounded
from tilewright.db.layers.layer import AnswerContext
from tilewright.db.layers.selectors import SelectorRow
from tilewright.db.records import Best, Verification, WorkloadRow
from tilewright.search_space.knobs import Config

UNKNOWN_SPACE = "0" * 64
"""The digest of no space: Configs from elsewhere are looked for in the space of today, whatever is said."""
MOST_ASKED = 500
"""Digests in one question; its body stays below 64 KiB."""
MOST_RANGES = 16
"""Ranges in one question."""
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
_INTERVAL: Mapping[str, fields.Check] = {
    "low": fields.count,
    "high": fields.count,
    "config": fields.knobs,
    "measured_regret": fields.or_nothing(fields.not_negative),
    "predicted_regret": fields.or_nothing(fields.not_negative),
}
_RANGE: Mapping[str, fields.Check] = {
    "digest": fields.digest,
    "symbol": fields.symbol,
    "intervals": fields.listed,
}
Relative = tuple[WorkloadRow, Best]
RangeName = tuple[str, str]
"""The digest that a tuned range of a network is kept under, and the dim that it is over."""


@dataclass(frozen=True)
class Told:
    """What a server knows: bests by workload digest, relatives by family digest, ranges by their names."""

    bests: Mapping[str, Best]
    relatives: Mapping[str, Sequence[Relative]]
    ranges: Mapping[RangeName, Sequence[SelectorRow]] = field(default_factory=dict)


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
    """The body of an answer. Readers from before ranges know no field of that name, and ask for none."""
    body: dict[str, Any] = {
        "bests": [best_to_json(best) for best in told.bests.values()],
        "relatives": [
            {"workload": {**vars(row), "kind": str(row.kind)}, "best": best_to_json(best)}
            for family in told.relatives.values()
            for row, best in family[:MOST_RELATIVES]
        ],
    }
    if told.ranges:
        body["ranges"] = [
            {"digest": digest, "symbol": symbol, "intervals": [_interval_to_json(row) for row in rows]}
            for (digest, symbol), rows in told.ranges.items()
        ]
    return body


def _interval_to_json(row: SelectorRow) -> dict[str, Any]:
    return {
        "low": row.low,
        "high": row.high,
        "config": [list(item) for item in row.config.items],
        "measured_regret": row.measured_regret,
        "predicted_regret": row.predicted_regret,
    }


def _range_of_json(value: Any) -> tuple[RangeName, tuple[SelectorRow, ...]]:
    taken = fields.take(value, _RANGE)
    rows = []
    for each in taken["intervals"]:
        interval = fields.take(each, _INTERVAL)
        rows.append(
            SelectorRow(**{**interval, "config": Config(interval["config"])}, space_digest=UNKNOWN_SPACE)
        )
    if any(row.low > row.high for row in rows) or any(a.high >= b.low for a, b in pairwise(rows)):
        raise ValueError("the intervals of a range are not in order")
    return (taken["digest"], taken["symbol"]), tuple(rows)


def told_of_text(text: str, context: AnswerContext) -> Told:
    """The answer in a body; ValueError where that is no answer to `context`."""
    try:
        body = parse_bounded(text)
        if not isinstance(body, dict) or set(body) - {"ranges"} != {"bests", "relatives"}:
            raise ValueError("it is no object of bests and relatives")
        ranges = dict(map(_range_of_json, _listed(body.get("ranges", []))))
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
    return Told({best.key.workload_digest: best for best in bests}, relatives, ranges)


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("it holds no list where one belongs")
    return value
