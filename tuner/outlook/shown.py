"""The course of a search so far, for an estimate of what it has left to find."""

from dataclasses import dataclass

import numpy as np

from tilewright.tuner.outlook.course import WORST_LOG, Floats


@dataclass(frozen=True)
class Shown:
    """What the search of one kernel has shown.

    `trials` were measured, the last `since_best` of them brought nothing; `gain_log` is the log of the best
    after a quarter of the trials over the best now. `ceiling_log` is the log of the best over a bound, which
    the regret cannot exceed. `best` weighs the kernel in its network: the time of all its runs together, or a
    guess before there is one.
    """

    drafted: bool
    trials: int = 0
    since_best: int = 0
    gain_log: float = 0.0
    ceiling_log: float = WORST_LOG
    best: float = 1.0


def gain_of(best: Floats) -> float:
    """`Shown.gain_log` from the best after each trial [n], inf before the first success."""
    if not len(best) or not np.isfinite(best[-1]):
        return WORST_LOG
    before = best[max(0, len(best) // 4 - 1)]
    return float(min(WORST_LOG, np.log(before / best[-1]))) if np.isfinite(before) else WORST_LOG
