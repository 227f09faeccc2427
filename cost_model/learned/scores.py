"""The quality of a model's ranking: figures for comparing models, and for telling when a prior misleads."""

import numpy as np

from tilewright.cost_model.learned.ensemble import Floats


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rho of two lists [n]; ties share the mean of their ranks; 0 where a list is constant."""
    if len(first) < 2:
        return 0.0
    left, right = _ranks(first), _ranks(second)
    if left.std() == 0.0 or right.std() == 0.0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def top_k_score(predicted_log: Floats, measured_log: Floats, k: int) -> float:
    """The optimum over the best of the `k` that the model ranks first, in (0, 1]; 1 when it is among them.

    Source: the best-k metric of TenSet (Zheng et al., NeurIPS Datasets and Benchmarks 2021).
    """
    chosen = np.argsort(predicted_log, kind="stable")[:k]
    return float(np.exp(measured_log.min() - measured_log[chosen].min()))


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2.0)[inverse]
    return ranks
