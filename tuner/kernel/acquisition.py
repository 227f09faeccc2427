"""Acquisition scores: pure functions of means and spreads."""

import numpy as np

from tilewright.tuner.kernel.problem import Floats


def optimistic_log(mean_log: Floats, std_log: Floats, feasible: Floats, spreads: float) -> Floats:
    """A lower confidence bound, float64 [n]: mean less so many spreads, raised where the trial may fail.

    Srinivas et al. (ICML 2010). Expected improvement depends on the tails instead: once the best is far below
    all predictions, it ranks rows by their spread alone, however bad their mean is.
    """
    value: Floats = mean_log - spreads * std_log - np.log(feasible)
    return value
