"""Several objectives at once: the Pareto front, searched along one direction at a time.

    latency  10  12  12  20        front: (10, 9), (12, 5), (20, 4); 12, 7 is beaten by 12, 5
    energy    9   5   7   4

All values are positive and small is good. A direction weighs the objectives; the row whose largest weighed
distance from the ideal is least lies on the front, and every row of the front is that for some direction
(the augmented Chebyshev scalarisation of Knowles, ParEGO, 2006).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tilewright.tuner.kernel.problem import Floats

_AUGMENTED = 0.05


def front_of(values: Floats) -> list[int]:
    """The rows of `values` [n, k] that no other beats, by first column; of equal rows the first."""
    order = sorted(range(len(values)), key=lambda at: (*values[at], at))
    found: list[int] = []
    for index in order:
        if not any(bool(np.all(values[other] <= values[index])) for other in found):
            found.append(index)
    return found


def hypervolume(values: Floats, reference: Sequence[float]) -> float:
    """The volume of the box below `reference` [k] that the rows of `values` [n, k] beat: the larger, the
    better.

    By slices along the last objective; meant for fronts of tens of rows.
    """
    inside = values[np.all(values < np.asarray(reference), axis=1)]
    if not len(inside):
        return 0.0
    if values.shape[1] == 1:
        return float(reference[0] - inside.min())
    ends = np.append(np.unique(inside[:, -1]), reference[-1])
    return sum(
        float(high - low) * hypervolume(inside[inside[:, -1] <= low, :-1], reference[:-1])
        for low, high in pairwise(ends)
    )


@dataclass(frozen=True)
class Direction:
    """One way to weigh logs of k objectives: the ideal, the range of the front, and weights that sum to 1."""

    ideal: Floats
    spread: Floats
    weights: Floats

    def scaled(self, logs: Floats) -> Floats:
        """Weighed distances from the ideal, [n, k]."""
        result: Floats = self.weights * (logs - self.ideal) / self.spread
        return result

    def scalar(self, logs: Floats) -> Floats:
        """The scalar that this direction minimises, [n]; NaN where a log is."""
        scaled = self.scaled(logs)
        result: Floats = scaled.max(axis=1) + _AUGMENTED * scaled.sum(axis=1)
        return result

    def std(self, logs: Floats, std_logs: Floats) -> Floats:
        """Spread of `scalar` by that of the objective which decides it, [n]."""
        decides = self.scaled(logs).argmax(axis=1)[:, None]
        each = self.weights * std_logs / self.spread
        result: Floats = np.take_along_axis(each, decides, axis=1)[:, 0]
        return result


def draw_direction(logs: Floats, rng: np.random.Generator) -> Direction:
    """A Direction at random for the `logs` [n, k] measured so far, of which one is finite at least."""
    known = logs[np.isfinite(logs).all(axis=1)]
    front = known[front_of(known)]
    ideal = front.min(axis=0)
    return Direction(ideal, np.maximum(front.max(axis=0) - ideal, 0.05), _weights(known.shape[1], rng))


def _weights(count: int, rng: np.random.Generator) -> Floats:
    weights: npt.NDArray[np.float64] = rng.dirichlet(np.ones(count))
    return np.maximum(weights, 1e-3)
