"""Acquisition scores and the expected regret left: pure functions of means and spreads."""

import numpy as np
from scipy.special import stdtr

from tilewright.tuner.kernel.problem import Floats

_DEGREES = 6.0
DRAWS = 1024


def optimistic_log(mean_log: Floats, std_log: Floats, feasible: Floats, spreads: float) -> Floats:
    """A lower confidence bound, float64 [n]: mean less so many spreads, raised where the trial may fail.

    Srinivas et al. (ICML 2010). Expected improvement depends on the tails instead: once the best is far below
    all predictions, it ranks rows by their spread alone, however bad their mean is.
    """
    value: Floats = mean_log - spreads * std_log - np.log(feasible)
    return value


def lowest_values(mean_log: Floats, std_log: Floats, correlation: Floats, rng: np.random.Generator) -> Floats:
    """Draws [DRAWS] of the minimum over candidates [n] whose errors have the `correlation` [n, n].

    Student's t of six degrees: spreads are estimates.
    """
    # Rounding may leave a correlation slightly indefinite, which a Cholesky factor would refuse.
    sizes, ways = np.linalg.eigh(correlation)
    factor = ways * np.sqrt(np.maximum(sizes, 0.0))
    errors = rng.standard_normal((DRAWS, len(mean_log))) @ factor.T
    errors /= np.sqrt(rng.chisquare(_DEGREES, DRAWS) / _DEGREES)[:, None]
    lowest: Floats = (mean_log + std_log * errors).min(axis=1)
    return lowest


def probability_within(mean_log: Floats, std_log: Floats, best_log: float, regret: float) -> float:
    """P(best <= (1 + regret) * optimum) over unmeasured candidates, taken as independent: it errs low.

    Tails are Student's t of six degrees: spreads are estimates, and a Gaussian would stop too early.
    """
    return float(np.exp(_log_unbeaten(mean_log, std_log, best_log - np.log1p(regret))))


def expected_regret(mean_log: Floats, std_log: Floats, best_log: float) -> float:
    """How far the best is expected to be above the optimum (0.02 = 2 %), by the same belief, at most 1.

    The mean of a quantity above zero is the integral of the chance that it exceeds x, here over logarithms.
    """
    steps = np.linspace(0.0, np.log(2.0), 65)
    beaten = [-np.expm1(_log_unbeaten(mean_log, std_log, best_log - step)) for step in steps]
    return float(np.expm1(np.trapezoid(beaten, steps)))


def _log_unbeaten(mean_log: Floats, std_log: Floats, value_log: float) -> float:
    """Log of the chance that no candidate lies below `value_log`."""
    beaten = stdtr(_DEGREES, (value_log - mean_log) / np.maximum(std_log, 1e-9))
    return float(np.log1p(-np.minimum(beaten, 1.0 - 1e-12)).sum())
