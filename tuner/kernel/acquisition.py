"""What a prediction is worth, and what is left to be found: pure functions of means and spreads."""

import numpy as np
from scipy.special import stdtr

from tilewright.tuner.kernel.problem import Floats

_DEGREES = 6.0
DRAWS = 1024


def optimistic_log(mean_log: Floats, std_log: Floats, feasible: Floats, spreads: float) -> Floats:
    """How low a value may be, float64 [n]: so many spreads below its mean, and higher where it may fail.

    Srinivas et al. (ICML 2010). The improvement to be expected lives off the tails instead: once the best
    lies far below what is believed of all others, it ranks them by how little is known of them, however bad.
    """
    value: Floats = mean_log - spreads * std_log - np.log(feasible)
    return value


def lowest_values(mean_log: Floats, std_log: Floats, correlation: Floats, rng: np.random.Generator) -> Floats:
    """Draws [DRAWS] of the lowest of candidates [n] that are wrong together as `correlation` [n, n] says.

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
