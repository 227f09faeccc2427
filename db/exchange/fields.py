"""The fields of an exchanged record, and the values that each may have. A field too many or too few is
refused.
"""

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from tilewright.db.exchange.bounded_json import LARGEST_INTEGER, parse_bounded
from tilewright.db.records import Purpose, Verification, WorkloadKind, plain_name
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Config

Check: TypeAlias = Callable[[Any], Any]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_LONGEST_TEXT = 8 << 20
LONGEST_SYMBOL = 200
MOST_LISTED = 10_000


def take(values: Any, checks: Mapping[str, Check]) -> dict[str, Any]:
    """`values` with every field checked; ValueError names the first field at fault.

    Younger fields are left out where they hold their `PLAIN` value, so that entries from before them stay the
    same entries.
    """
    if not isinstance(values, dict):
        raise ValueError("value is not an object")
    for name in values:
        if name not in checks:
            raise ValueError(f"field {name[:60]!r} is not known; units are part of the names (us, uj, bytes)")
    taken = {}
    for name, check in checks.items():
        if name in PLAIN and values.get(name) == PLAIN[name]:
            raise ValueError(f"field {name!r} has its default value; leave it out")
        if name in PLAIN and name not in values:
            continue
        if name not in values:
            raise ValueError(f"field {name!r} is missing")
        try:
            taken[name] = check(values[name])
        except ValueError as error:
            raise ValueError(f"field {name!r} {error}") from None
    return taken


def digest(value: Any) -> str:
    """64 lower-case hex characters."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError("is not a digest of 64 lower-case hex characters")
    return value


def _signature(value: Any) -> str:
    if not isinstance(value, str) or not _SIGNATURE.fullmatch(value):
        raise ValueError("is not a signature of 128 lower-case hex characters")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise ValueError("is not a text of bearable length")
    if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise ValueError("holds characters that cannot be stored")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or plain_name(value) != value:
        raise ValueError("is not a plain name (letters, digits, spaces and _.,:+/@()[]=#-, at most 200)")
    return value


def _maybe_name(value: Any) -> str:
    return "" if value == "" else _name(value)


def uid(value: Any) -> str:
    """The uid of a run."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z_.-]{1,64}", value):
        raise ValueError("is not a run's uid (letters, digits and _.-, at most 64)")
    return value


def _json_text(value: Any) -> str:
    parse_bounded(_text(value))
    return str(value)


def count(value: Any) -> int:
    """An integer from 0 that 64 bits hold."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_INTEGER:
        raise ValueError(f"is {str(value)[:40]}, not a count from 0")
    return value


def positive(value: Any) -> float:
    """A finite number above 0."""
    number = _number(value)
    if number <= 0.0:
        raise ValueError(f"is {number}, not above 0")
    return number


def not_negative(value: Any) -> float:
    """A finite number from 0."""
    number = _number(value)
    if number < 0.0:
        raise ValueError(f"is {number}, below 0")
    return number


def _number(value: Any) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError(f"is {str(value)[:40]!r}, not a finite number with a decimal point")
    return value


def _samples(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise ValueError("is not a list of times")
    return tuple(positive(each) for each in value)


def knobs(value: Any) -> tuple[tuple[str, bool | int | float | str], ...]:
    """Pairs of a knob and its value, each knob once."""
    if not isinstance(value, list):
        raise ValueError("is not a list of [knob, value]")
    for each in value:
        if not (isinstance(each, list) and len(each) == 2 and isinstance(each[0], str)):
            raise ValueError("is not a list of [knob, value]")
        if not isinstance(each[1], bool | int | float | str):
            raise ValueError(f"gives knob {each[0][:60]!r} neither a number nor a word")
    if len({name for name, _ in value}) != len(value):
        raise ValueError("sets a knob twice")
    return tuple((name, setting) for name, setting in value)


def one_of(words: type[StrEnum]) -> Check:
    """One of the words."""

    def check(value: Any) -> StrEnum:
        if not isinstance(value, str) or value not in list(words):
            raise ValueError(f"is {str(value)[:40]!r}, not one of {', '.join(words)}")
        return words(value)

    return check


def or_nothing(check: Check) -> Check:
    """The same, or null."""
    return lambda value: None if value is None else check(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"is {str(value)[:40]!r}, neither true nor false")
    return value


PLAIN: Mapping[str, Any] = {"protocol": "", "default": False}
"""Defaults of younger fields, where an entry leaves them out."""
TARGET: Mapping[str, Check] = {"digest": digest, "name": _name, "text": _text}
MODEL: Mapping[str, Check] = {"digest": digest, "name": _name}
WORKLOAD: Mapping[str, Check] = {
    "digest": digest,
    "family_digest": digest,
    "kind": one_of(WorkloadKind),
    "placement": _json_text,
    "body": _json_text,
}
RUN: Mapping[str, Check] = {
    "uid": uid,
    "model_digest": or_nothing(digest),
    "target_digest": digest,
    "toolchain": _name,
    "objective": one_of(Objective),
    "seed": count,
    "device": _maybe_name,
    "protocol": _maybe_name,
    "tuner_version": _maybe_name,
    "trials_budget": count,
    "settings": _json_text,
    "versions": _json_text,
    "started_at_s": not_negative,
}
FINISH: Mapping[str, Check] = {
    "run": uid,
    "finished_at_s": not_negative,
    "stop_reason": _text,
    "regret_estimate": or_nothing(not_negative),
}
TRIAL: Mapping[str, Check] = {
    "run": uid,
    "purpose": one_of(Purpose),
    "number": count,
    "attempt": count,
    "workload_digest": digest,
    "space_digest": digest,
    "config": knobs,
    "config_digest": digest,
    "status": one_of(Status),
    "reason": _text,
    "latency_us": or_nothing(positive),
    "samples_us": _samples,
    "latency_cycles": or_nothing(positive),
    "energy_uj": or_nothing(not_negative),
    "peak_bytes": or_nothing(count),
    "bound_us": or_nothing(not_negative),
    "seed": count,
    "worker": _maybe_name,
    "verification": one_of(Verification),
    "default": _flag,
    "created_at_s": not_negative,
}


def symbol(value: Any) -> str:
    """The name of a dim."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_SYMBOL or not value.isprintable():
        raise ValueError("is not the name of a dim")
    return value


def listed(value: Any) -> list[Any]:
    """A list of bearable length."""
    if not isinstance(value, list) or len(value) > MOST_LISTED:
        raise ValueError(f"is no list of at most {MOST_LISTED}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("is no list")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("is no object")
    return value


def _config(value: Any) -> Config:
    for name, setting in _object(value).items():
        if not isinstance(setting, bool | int | float | str):
            raise ValueError(f"gives knob {name[:60]!r} neither a number nor a word")
    return Config(tuple(value.items()))


LOCKED_MODEL: Mapping[str, Check] = {
    "name": _text,
    "graph_digest": digest,
    "dims": lambda value: {name: count(size) for name, size in _object(value).items()},
}
LOCKED_TARGET: Mapping[str, Check] = {"name": _text, "digest": digest}
LOCKED_RANGE: Mapping[str, Check] = {
    "symbol": _text,
    "low": count,
    "high": count,
    "tuned_at": count,
    "planned": _flag,
    "measured_regret": or_nothing(not_negative),
    "predicted_regret": or_nothing(not_negative),
    "digest": digest,
    "split": count,
}
LOCKED_KERNEL: Mapping[str, Check] = {
    "name": _text,
    "workload_digest": digest,
    "ops": lambda value: tuple(map(_text, _list(value))),
    "count": count,
    "source": _text,
    "latency_us": not_negative,
}
LOCKED_NETWORK: Mapping[str, Check] = {
    "model": _object,
    "target": _object,
    "toolchain": _name,
    "objective": one_of(Objective),
    "latency_us": or_nothing(not_negative),
    "simulated_us": or_nothing(not_negative),
    "host_us": not_negative,
    "verification": one_of(Verification),
    "range": or_nothing(_object),
    "kernels": _list,
    "config": _config,
    "program_digest": digest,
    "digest": digest,
}
LOCK: Mapping[str, Check] = {"format": _text, "version": count, "networks": _list}
SIGNATURE: Mapping[str, Check] = {
    "run": uid,
    "purpose": one_of(Purpose),
    "number": count,
    "attempt": count,
    "signer": digest,
    "signature": _signature,
}
