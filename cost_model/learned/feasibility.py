"""The chance that a Config measures at all, learned from the failures of a run."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tilewright.cost_model.learned.ensemble import Ensemble, EnsembleSettings, Features, Floats, fit_ensemble


@dataclass(frozen=True)
class Feasibility:
    """`ensemble` is None until both outcomes have been seen; then every row is given `base`."""

    ensemble: Ensemble | None
    base: float

    def probability(self, features: Features) -> Floats:
        """float64 [n] in (0, 1]."""
        if self.ensemble is None:
            return np.full(len(features), self.base)
        return np.clip(self.ensemble.predict(features)[0], 0.01, 1.0)


def fit_feasibility(
    features: Features, ok: npt.NDArray[np.bool_], seed: int, settings: EnsembleSettings
) -> Feasibility:
    """Fit to outcomes `ok` [n]; without a failure, or without a success, every row has the same chance."""
    if ok.all() or not ok.any():
        return Feasibility(None, 1.0)
    smaller = replace(settings, members=1, rounds=min(settings.rounds, 30), depth=4, row_share=1.0)
    ensemble = fit_ensemble(features, ok.astype(np.float64), seed, smaller, objective="binary:logistic")
    return Feasibility(ensemble, float(ok.mean()))
