"""JSON from strangers: bounded in depth, without NaN, infinities, huge integers or names given twice."""

import json
import math
from typing import Any

DEEPEST = 32
LARGEST_INTEGER = 2**63 - 1


def parse_bounded(text: str) -> Any:
    """`text` as a JSON value; ValueError names the mistake in a few words."""
    if _deeper_than(text, DEEPEST):
        raise ValueError(f"JSON nested deeper than {DEEPEST}")
    try:
        return json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_small,
            object_pairs_hook=_each_name_once,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from None


def _deeper_than(text: str, limit: int) -> bool:
    if text.count("[") + text.count("{") <= limit:
        return False
    depth = 0
    inside_string = escaped = False
    for sign in text:
        if inside_string:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == '"':
                inside_string = False
        elif sign == '"':
            inside_string = True
        elif sign in "[{":
            depth += 1
            if depth > limit:
                return True
        elif sign in "]}":
            depth -= 1
    return False


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"number {digits[:20]} is not finite")
    return value


def _small(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > LARGEST_INTEGER:
        raise ValueError(f"integer {digits[:20]}... needs more than 64 bits")
    return int(digits)


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"name {twice[:60]!r} occurs twice in one object")
    return found
