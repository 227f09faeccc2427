"""Two other ways to learn a ranking, kept to be measured beside the residual model: `tune bench model`.

Plain regression learns log latency from the features alone; pairwise ranking learns which of two Configs of a
task is faster.
"""

from collections.abc import Sequence

import numpy as np

from tilewright.cost_model.learned.ensemble import Ensemble, EnsembleSettings, Features, Floats, fit_ensemble
from tilewright.cost_model.learned.residual import TaskRecords


def fit_plain(records: Sequence[TaskRecords], seed: int, settings: EnsembleSettings) -> Ensemble:
    """Squared error on log latency less its task's mean: trees without a draft."""
    kept = [_measured(record) for record in records]
    features = np.concatenate([features for features, _ in kept])
    target = np.concatenate([latency - latency.mean() for _, latency in kept])
    return fit_ensemble(features, target, seed, settings)


def fit_pairwise(records: Sequence[TaskRecords], seed: int, settings: EnsembleSettings) -> Ensemble:
    """rank:pairwise, one group a task (LambdaMART as xgboost has it); lower scores are faster."""
    kept = [_measured(record) for record in records]
    features = np.concatenate([features for features, _ in kept])
    # Relevance: how much slower, in whole eighths of the task's spread, so that the slowest ranks highest.
    target = np.concatenate([_eighths(latency) for _, latency in kept])
    groups = np.repeat(np.arange(len(kept)), [len(latency) for _, latency in kept])
    return fit_ensemble(features, target, seed, settings, objective="rank:pairwise", groups=groups)


def _measured(record: TaskRecords) -> tuple[Features, Floats]:
    ok = np.isfinite(record.latency_log)
    return record.features[ok], record.latency_log[ok]


def _eighths(latency: Floats) -> Floats:
    order = np.argsort(np.argsort(latency, kind="stable"), kind="stable")
    eighths: Floats = np.floor(order * 8.0 / max(1, len(order)))
    return eighths
