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

from compiler_core.order.compiled import compiled
from compiler_core.order.flat import Bytes8, FlatGraph, Ints
from compiler_core.order.flow import (
    INSIDE,
    OUTSIDE,
    UNLIMITED,
    mark_ancestors,
    mark_descendants,
    min_cut,
    step_cut,
)
from compiler_core.order.witness import Flow, SetWitness


@dataclass(frozen=True)
class Bound:
    """No order stays below `bytes`; `witness` shows it."""

    bytes: int
    witness: SetWitness


@compiled
def _peel_side(flat: FlatGraph, kernel: int, in_set: Bytes8, step: int) -> Bytes8:
    """What is fixed when `kernel` runs last (step 1) or first (step -1) of the set."""
    side = np.zeros(flat.kernels, dtype=np.int8)
    for other in range(flat.kernels):
        if in_set[other]:
            side[other] = INSIDE if step == 1 else OUTSIDE
    mark_ancestors(flat, kernel, side)
    mark_descendants(flat, kernel, side)
    return side


@compiled
def _peel(flat: FlatGraph, start_bytes: int, enough: int, step: int, work: int) -> tuple[int, Bytes8, int]:
    """Best set bound above `start_bytes` (else that, with an empty set); stops at `enough` or out of work.

    While peeling, `in_set` is closed: with step 1 under predecessors, with -1 under successors, so a kernel
    may be taken off once its followers (predecessors) are. Returns (bytes, set, work left); work counts
    kernels looked at.
    """
    follow_start, follow = (flat.after_start, flat.after) if step == 1 else (flat.before_start, flat.before)
    lead_start, lead = (flat.before_start, flat.before) if step == 1 else (flat.after_start, flat.after)
    waiting = follow_start[1:] - follow_start[:-1]
    in_set = np.ones(flat.kernels, dtype=np.int8)
    best_set = np.zeros(flat.kernels, dtype=np.int8)
    bound = start_bytes
    border = np.flatnonzero(waiting == 0).astype(np.int64)
    values = np.zeros(flat.kernels, dtype=np.int64)
    border_count = border.shape[0]
    border = np.concatenate((border, np.empty(flat.kernels - border_count, dtype=np.int64)))
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
        side = _peel_side(flat, kernel, in_set, step)
        value, _, _ = min_cut(flat, side, UNLIMITED)
        value += flat.floor_bytes[kernel]
        work -= flat.kernels
        values[kernel] = value
        if value > bound:
            since_peel += 1
            continue
        since_peel = 0
        in_set[kernel] = 0
        border_count -= 1
        border[slot] = border[border_count]
        for i in range(lead_start[kernel], lead_start[kernel + 1]):
            waiting[lead[i]] -= 1
            if waiting[lead[i]] == 0:
                border[border_count] = lead[i]
                border_count += 1
    return bound, best_set, work


def cut_bound(flat: FlatGraph, kernels: Ints) -> Bound:
    """The best cut bound over the given `kernels` (at least one)."""
    best, best_kernel = -1, -1
    for kernel in kernels.tolist():
        value = step_cut(flat, kernel)[0] + int(flat.floor_bytes[kernel])
        if value > best:
            best, best_kernel = value, kernel
    in_set = np.zeros(flat.kernels, dtype=np.int8)
    in_set[best_kernel] = 1
    return Bound(best, _witness(flat, in_set, 1))


def set_bound(flat: FlatGraph, floor: Bound, enough: int, work: int) -> Bound:
    """The best set bound, both ways round, if it beats `floor`; done at `enough` bytes or after `work`."""
    best = floor
    for step in (1, -1):
        value, in_set, _ = _peel(flat, best.bytes, enough, step, work)
        if value > best.bytes:
            best = Bound(value, _witness(flat, in_set, step))
        if best.bytes >= enough:
            break
    return best


def _witness(flat: FlatGraph, in_set: Bytes8, step: int) -> SetWitness:
    """The flows for each kernel of the set that may run last (step 1) or first (step -1)."""
    flows = []
    for kernel in np.flatnonzero(in_set).tolist():
        reach = np.zeros(flat.kernels, dtype=np.int8)
        if step == 1:
            mark_descendants(flat, kernel, reach)
        else:
            mark_ancestors(flat, kernel, reach)
        reach[kernel] = 0
        if np.any((reach != 0) & (in_set != 0)):
            continue
        side = _peel_side(flat, kernel, in_set, step)
        # A set is closed while peeling, but the cut bound's is not: close what the others force.
        _, _, rows = min_cut(flat, side, UNLIMITED)
        flows.append(Flow(kernel, tuple(tuple(row) for row in rows.tolist())))
    return SetWitness("last" if step == 1 else "first", tuple(np.flatnonzero(in_set).tolist()), tuple(flows))
