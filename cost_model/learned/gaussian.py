"""A Gaussian process over the same features: the surrogate for the first hundred measurements.

Trees need tens of measurements before they split in the right places. A smooth process ranks from the first
few, and its spread is large where it has no data. Each feature has a length of its own, so that knobs without
effect drop out. Its cost grows with the cube of its rows, so they are bounded.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tilewright.cost_model.learned.ensemble import Features, Floats

_Real = TypeVar("_Real", np.float32, np.float64)

_ROOT5 = float(np.sqrt(5.0))
_JITTER = 1e-6
# Predictions are made in single precision: a process of less noise would be ill-conditioned there.
_LEAST_NOISE = 1e-3
_LENGTH_SPREAD, _NOISE_LOG, _NOISE_SPREAD = 0.5, float(np.log(1e-3)), 2.0
_STEPS = 20
_LENGTH_ROWS, _LENGTH_WORK = 100, 200_000


@dataclass(frozen=True)
class Posterior:
    """The posterior of a process at m rows: `mean` [m], and `left` [m], the share of its variance that is
    left.

    `explained` [n, m] is the part that its n observations explain of each row, `supposed` [s, m] the part
    that s imagined ones would add.
    """

    process: "GaussianProcess"
    scaled: Features
    explained: Features
    supposed: Features
    left: Features
    mean: Floats

    @property
    def std(self) -> Floats:
        """Standard deviation per row."""
        result: Floats = np.sqrt(self.process.variance * np.maximum(self.left, 1e-6).astype(np.float64))
        return result

    def given(self, row: int) -> "Posterior":
        """As if `row` had been measured and had come out as expected: only spreads shrink."""
        shared = _matern(_distances(self.scaled, self.scaled[row : row + 1]))[:, 0]
        with _quiet():
            shared = shared - self.explained[:, row] @ self.explained - self.supposed[:, row] @ self.supposed
        fresh = shared / np.float32(np.sqrt(max(float(shared[row]), 0.0) + self.process.noise))
        supposed = np.concatenate([self.supposed, fresh[None, :]])
        return replace(self, supposed=supposed, left=self.left - fresh * fresh)


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process with a Matern 5/2 kernel; `spread` holds a length per feature, `noise` is relative."""

    center: Features
    spread: Features
    points: Features
    factor: Floats
    weights: Floats
    variance: float
    noise: float
    mean: float

    def posterior(self, features: Features) -> Posterior:
        """At `features` [m, f]."""
        scaled = np.asarray((features - self.center) / self.spread, dtype=np.float32)
        from scipy.linalg import solve_triangular

        kernel = _matern(_distances(scaled, self.points))
        explained = solve_triangular(self.factor.astype(np.float32), kernel.T, lower=True, check_finite=False)
        with _quiet():
            mean = kernel @ self.weights.astype(np.float32)
        left = 1.0 - np.einsum("ij,ij->j", explained, explained)
        return Posterior(self, scaled, explained, explained[:0], left, self.mean + mean.astype(np.float64))


def _quiet() -> np.errstate:
    """Some BLAS kernels compute on the padding behind a vector, and raise the flag for what lies there."""
    return np.errstate(invalid="ignore")


@dataclass(frozen=True)
class Scales:
    """The slow part of a fit: the place and scale of each feature, a length for each in units of
    that scale, and the amplitude and noise of a target of unit spread.
    """

    center: Features
    spread: Features
    lengths: Features
    amplitude: float
    noise: float


def find_scales(
    features: Features,
    target: Floats,
    reference: Features,
    rng: np.random.Generator,
    max_rows: int,
) -> Scales:
    """For a fit to `target` [n] at `features` [n, f]: lengths and noise by likelihood times a prior.

    `reference` rows of the space set the scale of each feature, since a handful of measurements cannot. The
    prior keeps lengths near the root of the number of features, in units of that scale (Hvarfner et al., ICML
    2024). Lengths are sought on fewer rows than the `max_rows` that the process holds, the fewer the more
    features there are.
    """
    features, target = _thinned(features, target, rng, max_rows)
    everything = np.concatenate([reference, features])
    center, spread = everything.mean(axis=0), everything.std(axis=0)
    useful = features.std(axis=0) > 0
    spread = np.where(spread > 0, spread, 1.0).astype(np.float32)
    known = (target - float(target.mean())) / max(float(target.std()), 1e-6)
    points = (features - center) / spread
    most = min(_LENGTH_ROWS, int(np.sqrt(_LENGTH_WORK / max(1, useful.sum()))))
    few, few_known = _thinned(points[:, useful], known, rng, most)
    lengths = np.full(len(useful), np.inf)
    lengths[useful], amplitude, noise = _lengths(few.astype(np.float64), few_known)
    # A feature that never varied has no visible effect: it keeps the length that the prior expects.
    lengths[~useful] = np.sqrt(len(useful))
    return Scales(center, spread, lengths.astype(np.float32), amplitude, noise)


def fit_gaussian(
    features: Features, target: Floats, scales: Scales, rng: np.random.Generator, max_rows: int
) -> GaussianProcess:
    """Fit to `target` [n] at `features` [n, f], `max_rows` of them at most."""
    features, target = _thinned(features, target, rng, max_rows)
    mean, scale = float(target.mean()), max(float(target.std()), 1e-6)
    known = (target - mean) / scale
    points = (features - scales.center) / scales.spread / scales.lengths
    exact = points.astype(np.float64)
    kernel = _matern(_distances(exact, exact))
    relative = max(scales.noise / scales.amplitude, _LEAST_NOISE)
    damped = kernel + relative * np.eye(len(known))
    from scipy.linalg import cho_solve

    factor: Floats = np.asarray(np.linalg.cholesky(damped), dtype=np.float64)
    weights = cho_solve((factor, True), known * scale, check_finite=False)
    variance = scales.amplitude * scale * scale
    spread = scales.spread * scales.lengths
    return GaussianProcess(scales.center, spread, points, factor, weights, variance, relative, mean)


def _thinned(
    features: Features, target: Floats, rng: np.random.Generator, most: int
) -> tuple[Features, Floats]:
    """At most `most` rows: half of them the lowest, half drawn."""
    if len(target) <= most:
        return features, target
    lowest = np.argsort(target, kind="stable")
    rest = rng.permutation(lowest[most // 2 :])[: most - most // 2]
    chosen = np.sort(np.concatenate([lowest[: most // 2], rest]))
    return features[chosen], target[chosen]


def _lengths(points: Floats, known: Floats) -> tuple[Floats, float, float]:
    """Length per feature, amplitude and noise at the maximum of likelihood times prior."""
    count, width = points.shape
    squares = np.square(points[:, None, :] - points[None, :, :]).reshape(count * count, width)
    centre = np.concatenate([np.full(width, 0.5 * np.log(max(1, width))), [0.0, _NOISE_LOG]])
    spread = np.concatenate([np.full(width, _LENGTH_SPREAD), [1.0, _NOISE_SPREAD]])
    start = centre.copy()
    start[-1] = np.log(1e-2)
    bounds = [*([(-3.0, 6.0)] * width), (-4.0, 4.0), (float(np.log(1e-5)), 0.0)]

    def cost(chosen: Floats) -> tuple[float, Floats]:
        return _cost(chosen, squares, known, centre, spread)

    from scipy.optimize import minimize

    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS})
    return np.exp(found.x[:width]), float(np.exp(found.x[width])), float(np.exp(found.x[width + 1]))


def _cost(
    chosen: Floats, squares: Floats, known: Floats, centre: Floats, spread: Floats
) -> tuple[float, Floats]:
    """Negative log of likelihood times prior, and its gradient (Rasmussen and Williams, 2006, eq. 5.9)."""
    count, width = len(known), len(chosen) - 2
    inverse = np.exp(-2.0 * chosen[:width])
    amplitude, noise = np.exp(chosen[width]), np.exp(chosen[width + 1])
    distances = np.sqrt(squares @ inverse).reshape(count, count)
    decay = np.exp(-_ROOT5 * distances)
    near = (1.0 + _ROOT5 * distances) * decay
    kernel = near + 5.0 / 3.0 * distances * distances * decay
    factor = np.linalg.cholesky(amplitude * kernel + (noise + _JITTER) * np.eye(count))
    from scipy.linalg import solve_triangular

    half = solve_triangular(factor, np.eye(count), lower=True, check_finite=False)
    inverted = half.T @ half
    weights = inverted @ known
    off = (chosen - centre) / spread
    value = 0.5 * float(known @ weights) + float(np.log(np.diag(factor)).sum()) + 0.5 * float(off @ off)
    outer = 0.5 * (inverted - np.outer(weights, weights))
    by_square = (outer * near).ravel() * (-5.0 / 6.0 * amplitude)
    gradient = np.concatenate(
        [
            -2.0 * inverse * (by_square @ squares),
            [float((outer * kernel).sum()) * amplitude, float(np.trace(outer)) * noise],
        ]
    )
    return value, gradient + off / spread


def _distances(left: npt.NDArray[_Real], right: npt.NDArray[_Real]) -> npt.NDArray[_Real]:
    """Euclidean, [n, m], by one matrix product."""
    squares = (left * left).sum(axis=1)[:, None] + (right * right).sum(axis=1) - 2.0 * (left @ right.T)
    distances: npt.NDArray[_Real] = np.sqrt(np.maximum(squares, 0.0))
    return distances


def _matern(distances: npt.NDArray[_Real]) -> npt.NDArray[_Real]:
    scaled = distances * distances.dtype.type(_ROOT5)
    kernel: npt.NDArray[_Real] = (1 + scaled + scaled * scaled / 3) * np.exp(-scaled)
    return kernel
