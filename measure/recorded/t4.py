"""Entries of a T4 file: configuration, status, time.

T4 is the autotuning community's form of recorded results. Errors are ValueError and ConfigError with the
reason; the reader of a file adds the file and the entry.
"""

import math
from collections.abc import Mapping
from typing import Any

from tilewright.compiler_core.errors import ConfigError
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Config
from tilewright.search_space.space import Space

STATUS_OF = {
    "correct": Status.OK,
    "timeout": Status.TIMEOUT,
    "compile": Status.INVALID,
    "constraints": Status.INVALID,
    "runtime": Status.FAILED,
    "correctness": Status.WRONG,
}
"""By the verdict that a T4 entry calls its invalidity."""
MICROSECONDS = {
    "s": 1e6,
    "second": 1e6,
    "ms": 1e3,
    "millisecond": 1e3,
    "milisecond": 1e3,  # so spelled in published tables
    "us": 1.0,
    "microsecond": 1.0,
    "ns": 1e-3,
    "nanosecond": 1e-3,
}


def config_of(given: Mapping[str, Any], space: Space) -> Config:
    """A recorded configuration: 16 and 16.0 are one value, and a knob of one value may be left out."""
    row = []
    for knob in space.knobs:
        value = given.get(knob.name, knob.values[0] if len(knob.values) == 1 else None)
        if value not in knob.values:
            raise ConfigError(f"knob {knob.name!r} cannot be {value!r}")
        row.append(knob.values.index(value))
    return space.decode(row)


def verdict_of(entry: Mapping[str, Any]) -> tuple[str, Status | None]:
    """The verdict in the entry's word and as a Status; None for a word that T4 does not have."""
    word = str(entry.get("invalidity", "correct"))
    status = STATUS_OF.get(word)
    return word, Status.WRONG if status is Status.OK and not entry.get("correctness", 1) else status


def time_us(value: Any, unit: str) -> float:
    """A recorded time in microseconds."""
    name = unit.lower()
    scale = MICROSECONDS.get(name) or MICROSECONDS.get(name.removesuffix("s"))
    if scale is None:
        raise ValueError(f"time unit {unit!r} is not one of {', '.join(MICROSECONDS)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < math.inf:
        raise ValueError(f"time {value!r} is not positive and finite")
    return float(value) * scale
