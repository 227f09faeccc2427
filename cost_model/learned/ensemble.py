"""A small bagged ensemble of boosted trees: a mean and a spread for thousands of rows at once.

Boosters are never stored. A model file from elsewhere can crash the process that loads it, so models are
always trained from rows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import xgboost as xgb

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EnsembleSettings:
    """Sizes of the ensemble; `max_rows` bounds what one refit can cost.

    `process_share` is the weight of the Gaussian process beside the trees while all measurements fit its
    `process_rows`; beyond, the weight shrinks with the share of rows that the process holds.
    """

    members: int = 3
    rounds: int = 40
    depth: int = 4
    learning_rate: float = 0.2
    bins: int = 32
    row_share: float = 0.8
    column_share: float = 0.8
    max_rows: int = 1000
    process_rows: int = 200
    process_share: float = 1.0


@dataclass(frozen=True)
class Ensemble:
    """Fitted members; `predict` is deterministic. Without a member everything is 0."""

    boosters: "tuple[xgb.Booster, ...]"

    def predict(self, features: Features) -> tuple[Floats, Floats]:
        """Mean and standard deviation over the members, each float64 [n]."""
        if not self.boosters:
            return np.zeros(len(features)), np.zeros(len(features))
        each = np.stack([booster.inplace_predict(features) for booster in self.boosters]).astype(np.float64)
        return each.mean(axis=0), each.std(axis=0)


def fit_ensemble(
    features: Features,
    target: Floats,
    seed: int,
    settings: EnsembleSettings,
    objective: str = "reg:squarederror",
    groups: npt.NDArray[np.int64] | None = None,
) -> Ensemble:
    """Fit to `target` float64 [n] at `features` float32 [n, f], each member on its own share of the rows.

    A ranking objective compares rows of equal `groups` [n], ascending.
    """
    # Loaded with scipy in half a second: what measures nothing does without.
    import xgboost as xgb

    rng = np.random.default_rng(seed)
    boosters = []
    for _ in range(settings.members):
        take = max(min(len(target), 2), round(settings.row_share * len(target)))
        chosen = np.sort(rng.permutation(len(target))[:take])
        within = None if groups is None else groups[chosen]
        data = xgb.DMatrix(features[chosen], label=target[chosen], qid=within, nthread=1)
        parameters = {
            "objective": objective,
            "tree_method": "hist",
            "nthread": 1,
            "verbosity": 0,
            "max_depth": settings.depth,
            "max_bin": settings.bins,
            "eta": settings.learning_rate,
            "min_child_weight": 1e-3,
            "colsample_bynode": settings.column_share,
            "lambda": 1.0 if objective != "reg:squarederror" else 0.1,
            "seed": int(rng.integers(1 << 31)),
        }
        boosters.append(xgb.train(parameters, data, num_boost_round=settings.rounds))
        boosters[-1].set_param({"nthread": 1})
    return Ensemble(tuple(boosters))
