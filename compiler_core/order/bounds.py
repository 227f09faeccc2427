"""Lower bounds on the peak of every order, with witnesses.

Set bound. In any set S of kernels one, v, runs last: just before it the rest of S has run. So the peak is at
least the minimum over v in S of (least live bytes over down-sets that hold S without v and v's predecessors,
but not v) + v's step bytes. Likewise one runs first: the down-set then avoids S. With S = {v} this is the cut
bound. A larger S pins more kernels, so a value only falls when S shrinks; peeling the kernel of least value
off S = all kernels, again and again, therefore passes through a best S (the argument of graph degeneracy,
Matula and Beck 1983).
"""

from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.flat import Bytes8, FlatGraph, Ints
from tilewright.compiler_core.order.flow import (
    INSIDE,
    OUTSIDE,
    UNLIMITED,
    mark_ancestors,
    mark_descendants,
    min_cut,
    step_cut,
)
from tilewright.compiler_core.order.witness import Flow, SetWitness, flow_rows


@dataclass(frozen=True)
class Bound:
    """No order stays below `bytes`; `witness` shows it."""

    bytes: int
    witness: SetWitness


@compiled
def _pinned(flat: FlatGraph, kernel: int, in_set: Bytes8, step: int) -> Bytes8:
    """The kernels that are fixed when `kernel` runs last (step 1) or first (step -1) of the set."""
    side = np.zeros(flat.kernels, dtype=np.int8)
    for other in range(flat.kernels):
        if in_set[other]:
            side[other] = INSIDE if step == 1 else OUTSIDE
    mark_ancestors(flat, kernel, side)
    mark_descendants(flat, kernel, side)
    return side


@compiled
def _peel(
    flat: FlatGraph, start_set: Bytes8, start_bytes: int, enough: int, step: int, work: int
) -> tuple[int, Bytes8]:
    """The best set bound above `start_bytes` among subsets of `start_set`; if none, that and an empty set.

    `start_set` is a down-set (step 1, one runs last) or an up-set (step -1, one runs first), and stays one:
    only a kernel that nothing in the set follows (precedes) is taken off. Stops at `enough` bytes, or after
    `work` cuts.
    """
    follow_start, follow = (flat.after_start, flat.after) if step == 1 else (flat.before_start, flat.before)
    lead_start, lead = (flat.before_start, flat.before) if step == 1 else (flat.after_start, flat.after)
    in_set = start_set.copy()
    best_set = np.zeros(flat.kernels, dtype=np.int8)
    bound = start_bytes
    waiting = np.zeros(flat.kernels, dtype=np.int64)
    values = np.zeros(flat.kernels, dtype=np.int64)
    border = np.empty(flat.kernels, dtype=np.int64)
    border_count = 0
    for kernel in range(flat.kernels):
        for i in range(follow_start[kernel], follow_start[kernel + 1]):
            waiting[kernel] += in_set[follow[i]]
        if in_set[kernel] and waiting[kernel] == 0:
            border[border_count] = kernel
            border_count += 1
    slot, since_peel = 0, 0
    while border_count > 0 and work > 0:
        if since_peel >= border_count:
            bound = values[border[0]]
            for i in range(border_count):
                bound = min(bound, values[border[i]])
            best_set[:] = in_set
            if bound >= enough:
                break
            since_peel = 0
        slot = slot + 1 if slot + 1 < border_count else 0
        kernel = border[slot]
        side = _pinned(flat, kernel, in_set, step)
        value, _, _ = min_cut(flat, side, UNLIMITED)
        values[kernel] = value + flat.floor_bytes[kernel]
        work -= 1
        if values[kernel] > bound:
            since_peel += 1
            continue
        since_peel = 0
        in_set[kernel] = 0
        border_count -= 1
        border[slot] = border[border_count]
        for i in range(lead_start[kernel], lead_start[kernel + 1]):
            waiting[lead[i]] -= 1
            if waiting[lead[i]] == 0 and in_set[lead[i]]:
                border[border_count] = lead[i]
                border_count += 1
    return bound, best_set


def cut_bound(flat: FlatGraph, kernels: Ints) -> Bound:
    """The best cut bound over the given `kernels` (at least one)."""
    values = [step_cut(flat, kernel)[0] + int(flat.floor_bytes[kernel]) for kernel in kernels.tolist()]
    best = max(values)
    in_set = np.zeros(flat.kernels, dtype=np.int8)
    in_set[kernels[values.index(best)]] = 1
    return Bound(best, _witness(flat, in_set, 1, best))


def set_bound(
    flat: FlatGraph, order: Ints, window: slice, above: int, enough: int, work: int
) -> Bound | None:
    """The best set bound that exceeds `above` bytes, over sets that end (or start) in `window` of `order`.

    The whole order as window gives the best set of all; a short one around the peak is often as good, and
    cheap. Each way round stops at `enough` bytes, or after `work` cuts.
    """
    best: Bound | None = None
    for step in (-1, 1):
        start_set = np.zeros(flat.kernels, dtype=np.int8)
        start_set[order[: window.stop] if step == 1 else order[window.start :]] = 1
        value, in_set = _peel(flat, start_set, above, enough, step, work)
        if value > above:
            above, best = value, Bound(value, _witness(flat, in_set, step, value))
        if above >= enough:
            break
    return best


@compiled
def _heads(flat: FlatGraph, in_set: Bytes8, step: int) -> Bytes8:
    """The kernels of the set that may run last (step 1) or first (-1): no other member needs them before."""
    reach = np.zeros(flat.kernels, dtype=np.int8)
    for place in range(flat.kernels):
        kernel = flat.kernels - 1 - place if step == 1 else place
        start, lead = (flat.before_start, flat.before) if step == 1 else (flat.after_start, flat.after)
        if in_set[kernel] or reach[kernel]:
            for i in range(start[kernel], start[kernel + 1]):
                reach[lead[i]] = 1
    return in_set & (1 - reach)


def _witness(flat: FlatGraph, in_set: Bytes8, step: int, bound: int) -> SetWitness:
    """The flows, just large enough for `bound`, of each kernel that may run last (first) in the set."""
    flows = []
    for kernel in np.flatnonzero(_heads(flat, in_set, step)).tolist():
        enough = bound - int(flat.floor_bytes[kernel])
        _, _, rows = min_cut(flat, _pinned(flat, kernel, in_set, step), enough)
        flows.append(Flow(kernel, flow_rows(rows)))
    members = tuple(np.flatnonzero(in_set).tolist())
    return SetWitness("last" if step == 1 else "first", members, tuple(flows))
