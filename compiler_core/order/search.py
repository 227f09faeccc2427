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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler_core.order.compiled import compiled
from compiler_core.order.flat import Bytes8, FlatGraph, Ints
from compiler_core.order.flow import INSIDE, OUTSIDE, UNLIMITED, cut_among, min_cut
from compiler_core.order.walk import apply_move, move_delta, step_bytes
from compiler_core.order.witness import DeadEnd, FlowRow, SafeMove, SearchWitness, flow_rows

Words = NDArray[np.uint64]
FOUND, DEAD, OPEN = 1, 0, -1
MAX_STATE_BYTES = 1 << 28
_NO_JUMP = -1


@dataclass(frozen=True)
class SearchResult:
    """What came of entering `entered` down-sets.

    `outcome` FOUND: `order` fits. DEAD: no order stays below `next_limit`, as `witness` shows. OPEN: unknown.
    """

    outcome: int
    entered: int
    next_limit: int
    order: Ints
    witness: SearchWitness | None


@compiled
def _hash_state(state: Words) -> int:
    value = np.uint64(1469598103934665603)
    for word in state:  # xorshift64 (Marsaglia 2003)
        value ^= word
        value ^= value << np.uint64(13)
        value ^= value >> np.uint64(7)
        value ^= value << np.uint64(17)
    return int(value & np.uint64(0x3FFFFFFFFFFFFFFF))


@compiled
def _find(states: Words, table: Ints, state: Words) -> int:
    """Slot of `state` in the hash `table`, or of the hole where it belongs."""
    mask = table.shape[0] - 1
    slot = int(_hash_state(state) & mask)
    while table[slot] >= 0:
        same = True
        for word in range(state.shape[0]):
            if states[table[slot], word] != state[word]:
                same = False
                break
        if same:
            break
        slot = (slot + 1) & mask
    return slot


class _Walk(NamedTuple):
    """The state of the search: a down-set and what follows from it."""

    way: int  # 1: kernels enter, from none to all; -1: they leave, from all to none
    bits: Words
    touched: Ints
    waiting: Ints  # per kernel how many kernels must move before it
    ready: Ints  # kernels that may move, in no particular order; ready[: counts[0]]
    place: Ints  # where a ready kernel stands there
    trail: Ints  # kernels moved so far; trail[: counts[1]]
    counts: Ints  # ready, trail, live bytes


@compiled
def _begin(flat: FlatGraph, way: int) -> _Walk:
    lead_start = flat.before_start if way == 1 else flat.after_start
    walk = _Walk(
        way,
        np.zeros((flat.kernels + 63) // 64, dtype=np.uint64),
        flat.edge_base.copy(),
        lead_start[1:] - lead_start[:-1],
        np.empty(flat.kernels, dtype=np.int64),
        np.empty(flat.kernels, dtype=np.int64),
        np.empty(flat.kernels, dtype=np.int64),
        np.zeros(3, dtype=np.int64),
    )
    if way == -1:
        for kernel in range(flat.kernels):
            walk.bits[kernel >> 6] |= np.uint64(1) << np.uint64(kernel & 63)
            apply_move(flat, kernel, walk.touched, 1)
    for edge in range(walk.touched.shape[0]):
        if 0 < walk.touched[edge] < flat.edge_total[edge]:
            walk.counts[2] += flat.edge_bytes[edge]
    for kernel in range(flat.kernels):
        if walk.waiting[kernel] == 0:
            _set_ready(walk, kernel)
    return walk


@compiled
def _set_ready(walk: _Walk, kernel: int) -> None:
    walk.place[kernel] = walk.counts[0]
    walk.ready[walk.counts[0]] = kernel
    walk.counts[0] += 1


@compiled
def _unset_ready(walk: _Walk, kernel: int) -> None:
    walk.counts[0] -= 1
    last = walk.ready[walk.counts[0]]
    walk.ready[walk.place[kernel]] = last
    walk.place[last] = walk.place[kernel]


@compiled
def _advance(flat: FlatGraph, walk: _Walk, kernel: int) -> None:
    """Moves a ready kernel."""
    walk.counts[2] += move_delta(flat, kernel, walk.touched, walk.way)
    apply_move(flat, kernel, walk.touched, walk.way)
    walk.bits[kernel >> 6] ^= np.uint64(1) << np.uint64(kernel & 63)
    walk.trail[walk.counts[1]] = kernel
    walk.counts[1] += 1
    _unset_ready(walk, kernel)
    start, follow = (flat.after_start, flat.after) if walk.way == 1 else (flat.before_start, flat.before)
    for i in range(start[kernel], start[kernel + 1]):
        walk.waiting[follow[i]] -= 1
        if walk.waiting[follow[i]] == 0:
            _set_ready(walk, follow[i])


@compiled
def _retreat(flat: FlatGraph, walk: _Walk, length: int) -> None:
    """Takes moves back until the trail has `length`."""
    start, follow = (flat.after_start, flat.after) if walk.way == 1 else (flat.before_start, flat.before)
    while walk.counts[1] > length:
        walk.counts[1] -= 1
        kernel = walk.trail[walk.counts[1]]
        for i in range(start[kernel], start[kernel + 1]):
            if walk.waiting[follow[i]] == 0:
                _unset_ready(walk, follow[i])
            walk.waiting[follow[i]] += 1
        _set_ready(walk, kernel)
        walk.counts[2] += move_delta(flat, kernel, walk.touched, -walk.way)
        apply_move(flat, kernel, walk.touched, -walk.way)
        walk.bits[kernel >> 6] ^= np.uint64(1) << np.uint64(kernel & 63)


@compiled
def _need(flat: FlatGraph, walk: _Walk, kernel: int, delta: int) -> int:
    """Bytes while `kernel`, which changes live bytes by `delta`, is moved."""
    if walk.way == 1:
        return int(walk.counts[2] + step_bytes(flat, kernel, walk.touched))
    apply_move(flat, kernel, walk.touched, -1)
    need = walk.counts[2] + delta + step_bytes(flat, kernel, walk.touched)
    apply_move(flat, kernel, walk.touched, 1)
    return int(need)


@compiled
def _close(flat: FlatGraph, walk: _Walk, limit: int) -> None:
    """Moves every kernel that fits and ends no higher, until there is none."""
    slot, seen = 0, 0
    while seen < walk.counts[0]:
        slot = slot + 1 if slot + 1 < walk.counts[0] else 0
        kernel = walk.ready[slot]
        delta = move_delta(flat, kernel, walk.touched, walk.way)
        if delta <= 0 and _need(flat, walk, kernel, delta) <= limit:
            _advance(flat, walk, kernel)
            seen = 0
        else:
            seen += 1


@compiled
def _least_between(flat: FlatGraph, walk: _Walk, length: int) -> tuple[bool, Bytes8]:
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
def _search(
    flat: FlatGraph, limit: int, way: int, max_states: int
) -> tuple[int, int, int, Ints, Words, Ints]:
    count = flat.kernels
    walk = _begin(flat, way)
    words = walk.bits.shape[0]
    table_size = 1024
    while table_size < 2 * max_states:
        table_size *= 2
    table = np.full(table_size, -1, dtype=np.int64)
    states = np.empty((max_states, words), dtype=np.uint64)
    jumps = np.empty(max_states, dtype=np.int64)
    dead = 0
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
            _close(flat, walk, limit)
            if walk.counts[1] == count:
                return FOUND, entered, limit, walk.trail[::way].copy(), states[:0], jumps[:0]
            live = walk.counts[2]
            first = depth
            while first > 0 and live_at[first - 1] >= live:
                first -= 1
            if first < depth:
                minimal, least = _least_between(flat, walk, length_at[first])
                if not minimal and settled:
                    path = walk.trail[length_at[first] : walk.counts[1]].copy()
                    _retreat(flat, walk, length_at[first])
                    for kernel in path:
                        if (least[kernel] == INSIDE) == (way == 1):
                            _advance(flat, walk, kernel)
                    _close(flat, walk, limit)
                    depth = first + 1
                    minimal = True
                    if walk.counts[1] == count:
                        return FOUND, entered, limit, walk.trail[::way].copy(), states[:0], jumps[:0]
                if minimal:
                    for i in range(first, depth):
                        next_at[i] = end_at[i]
                        safe_at[i] = True
            known = table[_find(states, table, walk.bits)]
            if known >= 0:
                if safe_at[depth - 1]:
                    jump_at[depth - 1] = known
                arrived = False
            else:
                entered += 1
                if entered > max_states:
                    return OPEN, entered, limit, no_order, states[:0], jumps[:0]
                begin = end_at[depth - 1] if depth > 0 else 0
                if choices.shape[0] < begin + walk.counts[0]:
                    choices = np.concatenate((choices, np.empty(begin + walk.counts[0], dtype=np.int64)))
                keys = np.empty(walk.counts[0], dtype=np.int64)
                fitting = 0
                for slot in range(walk.counts[0]):
                    kernel = walk.ready[slot]
                    delta = move_delta(flat, kernel, walk.touched, way)
                    need = _need(flat, walk, kernel, delta)
                    if need > limit:
                        next_limit = min(next_limit, need)
                    else:
                        at = fitting
                        while at > 0 and (
                            keys[at - 1] > delta
                            or (keys[at - 1] == delta and way * choices[begin + at - 1] > way * kernel)
                        ):
                            keys[at] = keys[at - 1]
                            choices[begin + at] = choices[begin + at - 1]
                            at -= 1
                        keys[at] = delta
                        choices[begin + at] = kernel
                        fitting += 1
                length_at[depth] = walk.counts[1]
                live_at[depth] = walk.counts[2]
                next_at[depth] = begin
                end_at[depth] = begin + fitting
                safe_at[depth] = False
                jump_at[depth] = _NO_JUMP
                depth += 1
        top = depth - 1
        _retreat(flat, walk, length_at[top])
        if next_at[top] < end_at[top]:
            kernel = choices[next_at[top]]
            next_at[top] += 1
            _advance(flat, walk, kernel)
            arrived = True
            continue
        arrived = False
        states[dead] = walk.bits
        jumps[dead] = jump_at[top]
        table[_find(states, table, walk.bits)] = dead
        if top == 0:
            return DEAD, entered, next_limit, no_order, states[: dead + 1].copy(), jumps[: dead + 1].copy()
        if safe_at[top - 1]:
            jump_at[top - 1] = jump_at[top] if safe_at[top] else dead
        dead += 1
        depth -= 1


def may_search_backward(flat: FlatGraph) -> bool:
    """Whether every kernel's step bytes are the same in all orders."""
    return int(flat.maybe_edge.shape[0]) == 0


def search(flat: FlatGraph, limit: int, way: int, max_states: int) -> SearchResult:
    """An order of peak <= `limit` bytes or a proof that there is none, within `max_states` down-sets.

    `way` 1 searches forward, -1 backward (see may_search_backward); only the work depends on it.
    """
    words = (flat.kernels + 63) // 64
    capped = max(1, min(max_states, MAX_STATE_BYTES // (8 * words)))
    outcome, entered, next_limit, order, states, jumps = _search(flat, limit, way, capped)
    witness = _witness(flat, way, next_limit - 1, states, jumps) if outcome == DEAD else None
    return SearchResult(outcome, entered, next_limit, order, witness)


@compiled
def _children(flat: FlatGraph, way: int, limit: int, state: Words, states: Words, table: Ints) -> Ints:
    """Where each kernel that fits leads from `state`, as indices of `states`."""
    walk = _begin(flat, way)
    changed = True
    while changed:
        changed = False
        for slot in range(walk.counts[0]):
            kernel = walk.ready[slot]
            inside = (state[kernel >> 6] >> np.uint64(kernel & 63)) & np.uint64(1) == 1
            if inside == (way == 1):
                _advance(flat, walk, kernel)
                changed = True
                break
    length = walk.counts[1]
    found = np.empty(walk.counts[0], dtype=np.int64)
    count = 0
    for kernel in walk.ready[: walk.counts[0]].copy():
        delta = move_delta(flat, kernel, walk.touched, way)
        if _need(flat, walk, kernel, delta) <= limit:
            _advance(flat, walk, kernel)
            _close(flat, walk, limit)
            found[count] = table[_find(states, table, walk.bits)]
            count += 1
            _retreat(flat, walk, length)
    return found[:count]


@compiled
def _index(states: Words) -> Ints:
    size = 1024
    while size < 2 * states.shape[0]:
        size *= 2
    table = np.full(size, -1, dtype=np.int64)
    for i in range(states.shape[0]):
        table[_find(states, table, states[i])] = i
    return table


def _witness(flat: FlatGraph, way: int, limit: int, states: Words, jumps: Ints) -> SearchWitness:
    """The dead ends that the first one (the last to die) needs, in the order they are needed."""
    table = _index(states)
    masks = [int.from_bytes(row.astype("<u8").tobytes(), "little") for row in states]
    queue, seen = [len(masks) - 1], {len(masks) - 1}
    dead_ends = []
    for here in queue:
        jump = int(jumps[here])
        if jump == _NO_JUMP:
            leads = _children(flat, way, limit, states[here], states, table).tolist()
            dead_ends.append(DeadEnd(masks[here], None))
        else:
            leads = [jump]
            move = SafeMove(masks[jump], _minimal(flat, masks[here], masks[jump]))
            dead_ends.append(DeadEnd(masks[here], move))
        queue += [lead for lead in dict.fromkeys(leads) if lead not in seen]
        seen.update(leads)
    return SearchWitness("forward" if way == 1 else "backward", tuple(dead_ends))


def _minimal(flat: FlatGraph, here: int, there: int) -> tuple[FlowRow, ...]:
    """A flow as large as the live bytes of `there`, over the down-sets between it and `here`."""
    both, either = here & there, here | there
    side = np.zeros(flat.kernels, dtype=np.int8)
    for kernel in range(flat.kernels):
        if both >> kernel & 1:
            side[kernel] = INSIDE
        elif not either >> kernel & 1:
            side[kernel] = OUTSIDE
    return flow_rows(min_cut(flat, side, UNLIMITED)[2].tolist())
