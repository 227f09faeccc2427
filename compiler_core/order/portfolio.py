"""List schedules: one greedy scheduler, forward or backward, steered by six weights; the named policies."""

from dataclasses import astuple, dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.flat import FlatGraph, Ints


@dataclass(frozen=True)
class ListWeights:
    """Weights of a list schedule: the ready kernel with the least weighted sum runs next.

    Bytes are taken relative to the largest tensor, positions relative to the kernel count. `backward`
    builds the order from its end: the same rule on the reversed graph.
    """

    growth: float = 0.0  # change of live bytes, after the kernel
    transient: float = 0.0  # bytes it needs while running
    release: float = 0.0  # bytes it frees (a negative weight seeks them)
    recency: float = 0.0  # steps since its newest operand was written
    depth: float = 0.0  # longest path ahead of it
    given: float = 0.0  # its place in the model's own order
    backward: bool = False


_TIE = 1e-4
POLICIES: MappingProxyType[str, ListWeights] = MappingProxyType(
    {
        "given": ListWeights(given=1.0),
        "least_growth": ListWeights(growth=1.0, given=_TIE),
        "least_growth_backward": ListWeights(growth=1.0, given=_TIE, backward=True),
        "least_growth_recent": ListWeights(growth=1.0, recency=_TIE),
        "least_growth_recent_backward": ListWeights(growth=1.0, recency=_TIE, backward=True),
        "least_transient": ListWeights(growth=1.0, transient=1.0, given=_TIE),
        "least_transient_backward": ListWeights(growth=1.0, transient=1.0, given=_TIE, backward=True),
        "most_release": ListWeights(release=-1.0, growth=_TIE, recency=_TIE),
        "most_release_backward": ListWeights(release=-1.0, growth=_TIE, recency=_TIE, backward=True),
        "depth_first": ListWeights(recency=1.0, growth=_TIE),
        "depth_first_backward": ListWeights(recency=1.0, growth=_TIE, backward=True),
        "deepest": ListWeights(depth=-1.0, growth=_TIE),
    }
)


def list_order(flat: FlatGraph, weights: ListWeights) -> Ints:
    """The topological order that `weights` choose, deterministic: ties go to the smaller kernel number."""
    values = np.array(astuple(weights)[:6], dtype=np.float64)
    order = _schedule(flat, values, -1 if weights.backward else 1)
    return order[::-1].copy() if weights.backward else order


@compiled
def _longest_paths(flat: FlatGraph, step: int) -> Ints:
    """Per kernel the number of kernels on the longest path ahead: to the end (step 1) or the start."""
    paths = np.zeros(flat.kernels, dtype=np.int64)
    for place in range(flat.kernels):
        kernel = flat.kernels - 1 - place if step == 1 else place
        start, ahead = (flat.after_start, flat.after) if step == 1 else (flat.before_start, flat.before)
        for i in range(start[kernel], start[kernel + 1]):
            paths[kernel] = max(paths[kernel], paths[ahead[i]] + 1)
    return paths


@compiled
def _share(count: int, total: int, size: int, step: int) -> int:
    """The contribution of a tensor of `size` bytes to the move_delta of a member that has not moved yet."""
    was = 0 < count < total
    now = 0 < count + step < total
    return (size if now else 0) - (size if was else 0)


@compiled
def _schedule(flat: FlatGraph, weights: NDArray[np.float64], step: int) -> Ints:
    count = flat.kernels
    waits_start = flat.before_start if step == 1 else flat.after_start
    frees_start, frees = (flat.after_start, flat.after) if step == 1 else (flat.before_start, flat.before)
    touched = flat.edge_base.copy()
    if step == -1:
        for edge in range(touched.shape[0]):
            touched[edge] += flat.edge_start[edge + 1] - flat.edge_start[edge]
    # Change of live bytes if a kernel moved now, and the part of it that frees bytes; kept up to date below.
    growth = np.zeros(count, dtype=np.int64)
    release = np.zeros(count, dtype=np.int64)
    for edge in range(touched.shape[0]):
        share = _share(touched[edge], flat.edge_total[edge], flat.edge_bytes[edge], step)
        for i in range(flat.edge_start[edge], flat.edge_start[edge + 1]):
            growth[flat.edge_kernel[i]] += share
            release[flat.edge_kernel[i]] -= min(share, 0)
    unit = 1.0
    for edge in range(touched.shape[0]):
        unit = max(unit, float(flat.edge_bytes[edge]))
    paths = _longest_paths(flat, step)
    waiting = waits_start[1:] - waits_start[:-1]
    newest = np.full(count, -1, dtype=np.int64)
    moved = np.zeros(count, dtype=np.bool_)
    ready = np.empty(count, dtype=np.int64)
    ready_count = 0
    for kernel in range(count):
        if waiting[kernel] == 0:
            ready[ready_count] = kernel
            ready_count += 1
    order = np.empty(count, dtype=np.int64)
    for place in range(count):
        best, best_score = -1, np.inf
        for slot in range(ready_count):
            kernel = ready[slot]
            score = (
                weights[0] * growth[kernel] / unit
                + weights[1] * flat.floor_bytes[kernel] / unit
                + weights[2] * release[kernel] / unit
                + weights[3] * (place - newest[kernel]) / count
                + weights[4] * paths[kernel] / count
                + weights[5] * step * kernel / count
            )
            # Ties go to the first kernel in the direction of the walk, so that a schedule is deterministic.
            if score < best_score or (score == best_score and step * kernel < step * ready[best]):
                best, best_score = slot, score
        kernel = ready[best]
        ready_count -= 1
        ready[best] = ready[ready_count]
        order[place] = kernel
        moved[kernel] = True
        for i in range(flat.touch_start[kernel], flat.touch_start[kernel + 1]):
            edge = flat.touch_edge[i]
            total, size = flat.edge_total[edge], flat.edge_bytes[edge]
            old = _share(touched[edge], total, size, step)
            touched[edge] += step
            new = _share(touched[edge], total, size, step)
            # The contribution of an edge changes when its first kernel moves, and when only its last is left.
            if new != old:
                for j in range(flat.edge_start[edge], flat.edge_start[edge + 1]):
                    other = flat.edge_kernel[j]
                    if not moved[other]:
                        growth[other] += new - old
                        release[other] += min(old, 0) - min(new, 0)
        for i in range(frees_start[kernel], frees_start[kernel + 1]):
            other = frees[i]
            newest[other] = place
            waiting[other] -= 1
            if waiting[other] == 0:
                ready[ready_count] = other
                ready_count += 1
    return order
