"""A Gaussian process over the same features: the surrogate for the first hundred measurements.

Trees need tens of measurements before they split in the right places; a smooth process ranks from the first
few, and knows where it knows nothing. Its cost grows with the cube of its rows, so they are bounded.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from cost_model.ensemble import Features, Floats

_Real = TypeVar("_Real", np.float32, np.float64)

_SCALES = (0.25, 0.5, 1.0, 2.0)
_NOISES = (1e-3, 3e-2, 0.2)


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process with a Matern 5/2 kernel; inputs are standardised by `center` and `spread`."""

    center: Features
    spread: Features
    points: Features
    factor: Floats
    weights: Floats
    variance: float
    mean: float

    def predict(self, features: Features) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the process at `features` [n, f], each float64 [n]."""
        kernel = _matern(_distances((features - self.center) / self.spread, self.points))
        mean = kernel @ self.weights.astype(np.float32)
        explained = solve_triangular(self.factor.astype(np.float32), kernel.T, lower=True, check_finite=False)
        left = np.maximum(1.0 - np.einsum("ij,ij->j", explained, explained), 1e-6)
        return self.mean + mean.astype(np.float64), np.sqrt(self.variance * left.astype(np.float64))


def fit_gaussian(
    features: Features, target: Floats, reference: Features, rng: np.random.Generator, max_rows: int
) -> GaussianProcess:
    """Fit to `target` [n] at `features` [n, f]; scale and noise maximise the likelihood over a small grid.

    `reference` rows of the space set the scale of each feature, since a handful of measurements cannot.
    """
    if len(target) > max_rows:
        lowest = np.argsort(target, kind="stable")
        rest = rng.permutation(lowest[max_rows // 2 :])[: max_rows - max_rows // 2]
        chosen = np.sort(np.concatenate([lowest[: max_rows // 2], rest]))
        features, target = features[chosen], target[chosen]
    everything = np.concatenate([reference, features])
    center, spread = everything.mean(axis=0), everything.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0).astype(np.float32) * np.float32(np.sqrt(features.shape[1]))
    points = (features - center) / spread
    mean = float(target.mean())
    distances = _distances(points, points).astype(np.float64)
    fits = [_fitted(distances / scale, target - mean, noise, scale) for scale in _SCALES for noise in _NOISES]
    best = max(fits, key=lambda fit: fit.likelihood)
    shrink = np.float32(best.scale)
    return GaussianProcess(
        center, spread * shrink, points / shrink, best.factor, best.weights, best.variance, mean
    )


@dataclass(frozen=True)
class _Fit:
    likelihood: float
    scale: float
    factor: Floats
    weights: Floats
    variance: float


def _fitted(distances: Floats, target: Floats, noise: float, scale: float) -> _Fit:
    """Log likelihood with the process variance at its maximum (Rasmussen and Williams, 2006, eq. 5.8)."""
    count = len(target)
    factor: Floats = np.asarray(
        np.linalg.cholesky(_matern(distances) + noise * np.eye(count)), dtype=np.float64
    )
    half: Floats = solve_triangular(factor, target, lower=True, check_finite=False)
    variance = max(float(half @ half) / count, 1e-12)
    weights = solve_triangular(factor, half, lower=True, trans=1, check_finite=False)
    likelihood = -0.5 * count * np.log(variance) - float(np.log(np.diag(factor)).sum())
    return _Fit(likelihood, scale, factor, weights, variance)


def _distances(left: Features, right: Features) -> Features:
    """Euclidean, [n, m], by one matrix product."""
    squares = (left * left).sum(axis=1)[:, None] + (right * right).sum(axis=1) - 2.0 * (left @ right.T)
    distances: Features = np.sqrt(np.maximum(squares, 0.0))
    return distances


def _matern(distances: npt.NDArray[_Real]) -> npt.NDArray[_Real]:
    scaled = distances * distances.dtype.type(np.sqrt(5.0))
    kernel: npt.NDArray[_Real] = (1 + scaled + scaled * scaled / 3) * np.exp(-scaled)
    return kernel
