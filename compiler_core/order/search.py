"""Bottleneck search over down-sets: is there an order whose peak is at most `limit` bytes?

Depth first from the empty down-set (forward) or from the full one (backward), with three cuts:

- Safe moves. Let E hold D, with live(E) <= live(F) for every down-set F between them. Live bytes are
  submodular, so any completion of D within the limit gives one of E. One kernel that fits and ends no higher
  is such a move (it is run at once); so is any state E that the search reaches, ends no higher than D and is
  minimal above D - then the alternatives at D are dropped. If E is not minimal the least one is within reach
  and is taken instead. (Liu 1987 on pebbling trees is the same idea.)
- Each down-set is entered once; states are compared in full, the hash only finds them.
- A kernel that does not fit is not run.

Where a kernel may or may not run in place, depending on which readers came before, only forward search is
sound: running S earlier helps it, running S later may not.

The search ends with an order, with a closed collection of dead ends (a proof: SearchWitness), or out of work.
"""

from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.dead_ends import NO_JUMP, search_witness
from tilewright.compiler_core.order.flat import Bytes8, FlatGraph, Ints
from tilewright.compiler_core.order.flow import INSIDE, OUTSIDE, UNLIMITED, cut_among
from tilewright.compiler_core.order.moves import (
    SearchState,
    Words,
    advance,
    begin,
    close_state,
    empty_table,
    find_state,
    need_of,
    retreat,
)
from tilewright.compiler_core.order.walk import move_delta
from tilewright.compiler_core.order.witness import SearchWitness

FOUND, DEAD, OPEN = 1, 0, -1
MAX_STATE_BYTES = 1 << 28


@dataclass(frozen=True)
class OrderSearchResult:
    """The result of entering `entered` down-sets.

    `outcome` FOUND: `order` fits. DEAD: no order stays below `next_limit`, as `witness` shows. OPEN: unknown.
    """

    outcome: int
    entered: int
    next_limit: int
    order: Ints
    witness: SearchWitness | None


@compiled
def _least_between(flat: FlatGraph, walk: SearchState, length: int) -> tuple[bool, Bytes8]:
    """Whether the present state is minimal above that at trail `length`; else the least one's side."""
    side = np.empty(flat.kernels, dtype=np.int8)
    for kernel in range(flat.kernels):
        inside = walk.bits[kernel >> 6] >> np.uint64(kernel & 63) & np.uint64(1)
        side[kernel] = INSIDE if inside else OUTSIDE
    free = walk.trail[length : walk.counts[1]].copy()
    seen = np.zeros(flat.edge_bytes.shape[0], dtype=np.bool_)
    edges = np.empty(flat.edge_bytes.shape[0], dtype=np.int64)
    edge_count, live = 0, 0
    for kernel in free:
        side[kernel] = 0
        for i in range(flat.touch_start[kernel], flat.touch_start[kernel + 1]):
            edge = flat.touch_edge[i]
            if not seen[edge]:
                seen[edge] = True
                edges[edge_count] = edge
                edge_count += 1
                if 0 < walk.touched[edge] < flat.edge_total[edge]:
                    live += flat.edge_bytes[edge]
    value, least, _ = cut_among(flat, side, free, edges[:edge_count], live)
    return value >= live, least


@compiled
def _go_to(flat: FlatGraph, walk: SearchState, limit: int, length: int, side: Bytes8) -> None:
    """From trail `length` on along the same trail, but only to the state of `side`; closes it.

    Kernels of the trail that are not in that state are left out. What is left may still be run in its order:
    the state is a down-set, so no kernel in it waits for one that is not.
    """
    path = walk.trail[length : walk.counts[1]].copy()
    retreat(flat, walk, length)
    for kernel in path:
        if (side[kernel] == INSIDE) == (walk.way == 1):
            advance(flat, walk, kernel)
    close_state(flat, walk, limit)


@compiled
def _rank_choices(flat: FlatGraph, walk: SearchState, limit: int, choices: Ints) -> tuple[int, int]:
    """Put the moves that fit at the head of `choices`: least growth of live bytes first, then by number.

    Their count, and the least bytes that one which does not fit would need.
    """
    keys = np.empty(walk.counts[0], dtype=np.int64)
    fitting, least_need = 0, UNLIMITED
    for slot in range(walk.counts[0]):
        kernel = walk.ready[slot]
        delta = move_delta(flat, kernel, walk.touched, walk.way)
        need = need_of(flat, walk, kernel, delta)
        if need > limit:
            least_need = min(least_need, need)
            continue
        at = fitting  # by insertion: there are few, and `ready` is in no order to rely on
        while at > 0 and (
            keys[at - 1] > delta or (keys[at - 1] == delta and walk.way * choices[at - 1] > walk.way * kernel)
        ):
            keys[at], choices[at] = keys[at - 1], choices[at - 1]
            at -= 1
        keys[at], choices[at] = delta, kernel
        fitting += 1
    return fitting, least_need


@compiled
def _search(
    flat: FlatGraph, limit: int, way: int, max_states: int
) -> tuple[int, int, int, Ints, Words, Ints]:
    count = flat.kernels
    walk = begin(flat, way)
    words = walk.bits.shape[0]
    table = empty_table(max_states)  # of dead states
    states = np.empty((max_states, words), dtype=np.uint64)
    jumps = np.empty(max_states, dtype=np.int64)
    dead = 0
    # One frame per state on the path: length of the trail, live bytes, the choices left, whether its first
    # choice is safe (no other one need be tried), and the dead state that the witness continues with.
    length_at = np.empty(count + 2, dtype=np.int64)
    live_at = np.empty(count + 2, dtype=np.int64)
    next_at = np.empty(count + 2, dtype=np.int64)
    end_at = np.empty(count + 2, dtype=np.int64)
    safe_at = np.zeros(count + 2, dtype=np.bool_)
    jump_at = np.empty(count + 2, dtype=np.int64)
    choices = np.empty(1024, dtype=np.int64)
    no_order = np.empty(0, dtype=np.int64)
    settled = flat.maybe_edge.shape[0] == 0
    depth = 0
    arrived = True
    entered = 0
    next_limit = UNLIMITED
    while True:
        if arrived:
            close_state(flat, walk, limit)
            if walk.counts[1] == count:
                return FOUND, entered, limit, walk.trail[::way].copy(), states[:0], jumps[:0]
            # `first`: the earliest frame from which on no state has fewer live bytes than this one. If this
            # one is minimal above it, coming here was a safe move for all of these frames.
            live = walk.counts[2]
            first = depth
            while first > 0 and live_at[first - 1] >= live:
                first -= 1
            if first < depth:
                minimal, least = _least_between(flat, walk, length_at[first])
                if not minimal and settled:
                    # A state with fewer live bytes lies between: go there instead.
                    _go_to(flat, walk, limit, length_at[first], least)
                    depth = first + 1
                    minimal = True
                    if walk.counts[1] == count:
                        return FOUND, entered, limit, walk.trail[::way].copy(), states[:0], jumps[:0]
                if minimal:
                    # Safe move: where any order fits, one through this state fits, so frames up to here
                    # drop their other choices.
                    for i in range(first, depth):
                        next_at[i] = end_at[i]
                        safe_at[i] = True
            known = table[find_state(states, table, walk.bits)]
            if known >= 0:
                if safe_at[depth - 1]:
                    jump_at[depth - 1] = known
                arrived = False
            else:
                entered += 1
                if entered > max_states:
                    return OPEN, entered, limit, no_order, states[:0], jumps[:0]
                first_choice = end_at[depth - 1] if depth > 0 else 0
                if choices.shape[0] < first_choice + walk.counts[0]:
                    choices = np.concatenate(
                        (choices, np.empty(first_choice + walk.counts[0], dtype=np.int64))
                    )
                fitting, least_need = _rank_choices(flat, walk, limit, choices[first_choice:])
                next_limit = min(next_limit, least_need)
                length_at[depth] = walk.counts[1]
                live_at[depth] = walk.counts[2]
                next_at[depth] = first_choice
                end_at[depth] = first_choice + fitting
                safe_at[depth] = False
                jump_at[depth] = NO_JUMP
                depth += 1
        top = depth - 1
        retreat(flat, walk, length_at[top])
        if next_at[top] < end_at[top]:
            kernel = choices[next_at[top]]
            next_at[top] += 1
            advance(flat, walk, kernel)
            arrived = True
            continue
        # Every choice failed: the state is dead, and never entered again.
        arrived = False
        states[dead] = walk.bits
        jumps[dead] = jump_at[top]
        table[find_state(states, table, walk.bits)] = dead
        if top == 0:
            return DEAD, entered, next_limit, no_order, states[: dead + 1].copy(), jumps[: dead + 1].copy()
        if safe_at[top - 1]:
            jump_at[top - 1] = jump_at[top] if safe_at[top] else dead
        dead += 1
        depth -= 1


def may_search_backward(flat: FlatGraph) -> bool:
    """Whether every kernel's step bytes are the same in all orders."""
    return int(flat.maybe_edge.shape[0]) == 0


def search(flat: FlatGraph, limit: int, way: int, max_states: int) -> OrderSearchResult:
    """An order of peak <= `limit` bytes or a proof that there is none, within `max_states` down-sets.

    `way` 1 searches forward, -1 backward (see may_search_backward); only the work depends on it.
    """
    words = (flat.kernels + 63) // 64
    capped = max(1, min(max_states, MAX_STATE_BYTES // (8 * words)))
    outcome, entered, next_limit, order, states, jumps = _search(flat, limit, way, capped)
    witness = search_witness(flat, way, next_limit - 1, states, jumps) if outcome == DEAD else None
    return OrderSearchResult(outcome, entered, next_limit, order, witness)
