"""Skewed chips: possible real devices behind numbers that are not published.

Each number that a target file marks as assumed is drawn anew, log-normal with a spread of 30 %, in the
direction that makes the chip slower or hungrier; and L1 has banks in which rows may meet, which the
compiler's closed forms do not model. The search sees the nominal file only.
"""

from dataclasses import fields, is_dataclass, replace
from math import ceil, exp
from typing import Any

import numpy as np

from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.tables.flatten import Conflicts

SPREAD = 0.3
_SHRINKING = frozenset({"frequency_mhz", "gbps", "bytes_per_cycle", "outstanding", "bits"})
_GROWING = frozenset(
    {
        "start_up_cycles",
        "latency_cycles",
        "latency_us",
        "setup_cycles",
        "launch_us",
        "barrier_cycles",
        "tile_dispatch_cycles",
        "pj_per_lane_op",
        "pj_per_l1_byte",
        "pj_per_llb_byte",
        "pj_per_dram_byte",
        "pj_per_host_byte",
        "pj_per_mac",
        "static_watts",
    }
)
"""Numbers in neither set are shapes, sizes and flags: they decide what is legal, so the compiler has them."""
_BANK_PERIODS = (256, 512, 1024)
"""Bytes between rows that fall into one bank: 16 to 64 banks of 16 bytes."""


def skewed(target: Target, seed: int) -> Target:
    """`target` with every assumed number made worse by a factor exp(|N(0, 0.3)|); whole ones stay whole."""
    made: Target = _skewed(target, "", False, frozenset(target.assumed), np.random.default_rng([seed, 0]))
    return made


def skewed_conflicts(seed: int) -> Conflicts:
    """The bank conflicts of the chip of the same seed: a period of rows, and 10 to 60 % lost to them."""
    rng = np.random.default_rng([seed, 1])
    return Conflicts(int(rng.choice(_BANK_PERIODS)), int(rng.integers(10, 61)))


def _skewed(part: Any, path: str, covered: bool, assumed: frozenset[str], rng: np.random.Generator) -> Any:
    """`part` with its assumed numbers drawn in the order of its fields; `covered`: all of it is assumed."""
    changed = {}
    for field in fields(part):
        value, place = getattr(part, field.name), f"{path}{field.name}"
        listed = covered or place in assumed
        if is_dataclass(value):
            changed[field.name] = _skewed(value, f"{place}.", listed, assumed, rng)
        elif field.name == "pj_per_mac":
            changed[field.name] = tuple(
                (dtype, _worse(field.name, pj, rng) if listed or f"{place}.{dtype}" in assumed else pj)
                for dtype, pj in value
            )
        elif listed and field.name in _SHRINKING | _GROWING:
            changed[field.name] = _worse(field.name, value, rng)
    return replace(part, **changed)


def _worse(name: str, value: float, rng: np.random.Generator) -> float:
    factor = exp(abs(rng.normal(0.0, SPREAD)))
    if name in _SHRINKING:
        return max(1, int(value / factor)) if isinstance(value, int) else value / factor
    return ceil(value * factor) if isinstance(value, int) else value * factor
