"""The state of the bottleneck search: a down-set, its possible moves, a trail to undo them. Compiled."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.flat import FlatGraph, Ints
from tilewright.compiler_core.order.walk import apply_move, move_delta, step_bytes

Words = NDArray[np.uint64]


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
def find_state(states: Words, table: Ints, state: Words) -> int:
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


@compiled
def empty_table(states: int) -> Ints:
    """A hash table of open addressing for so many states, never more than half full: probes stay short."""
    size = 1024
    while size < 2 * states:
        size *= 2
    return np.full(size, -1, dtype=np.int64)


@compiled
def index_states(states: Words) -> Ints:
    """The hash table of `states`: slot -> row, -1 for a hole."""
    table = empty_table(states.shape[0])
    for i in range(states.shape[0]):
        table[find_state(states, table, states[i])] = i
    return table


class SearchState(NamedTuple):
    """The state of the search: a down-set and the figures derived from it."""

    way: int  # 1: kernels enter, from none to all; -1: they leave, from all to none
    bits: Words
    touched: Ints
    waiting: Ints  # per kernel how many kernels must move before it
    ready: Ints  # kernels that may move, in no particular order; ready[: counts[0]]
    place: Ints  # where a ready kernel stands there
    trail: Ints  # kernels moved so far; trail[: counts[1]]
    counts: Ints  # ready, trail, live bytes


@compiled
def begin(flat: FlatGraph, way: int) -> SearchState:
    """The empty down-set (way 1) or the full one (-1)."""
    lead_start = flat.before_start if way == 1 else flat.after_start
    walk = SearchState(
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
def _set_ready(walk: SearchState, kernel: int) -> None:
    walk.place[kernel] = walk.counts[0]
    walk.ready[walk.counts[0]] = kernel
    walk.counts[0] += 1


@compiled
def _unset_ready(walk: SearchState, kernel: int) -> None:
    walk.counts[0] -= 1
    last = walk.ready[walk.counts[0]]
    walk.ready[walk.place[kernel]] = last
    walk.place[last] = walk.place[kernel]


@compiled
def advance(flat: FlatGraph, walk: SearchState, kernel: int) -> None:
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
def retreat(flat: FlatGraph, walk: SearchState, length: int) -> None:
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
def need_of(flat: FlatGraph, walk: SearchState, kernel: int, delta: int) -> int:
    """Bytes while `kernel`, which changes live bytes by `delta`, is moved."""
    if walk.way == 1:
        return int(walk.counts[2] + step_bytes(flat, kernel, walk.touched))
    apply_move(flat, kernel, walk.touched, -1)
    need = walk.counts[2] + delta + step_bytes(flat, kernel, walk.touched)
    apply_move(flat, kernel, walk.touched, 1)
    return int(need)


@compiled
def close_state(flat: FlatGraph, walk: SearchState, limit: int) -> None:
    """Moves every kernel that fits and ends no higher, until there is none."""
    slot, seen = 0, 0
    while seen < walk.counts[0]:
        slot = slot + 1 if slot + 1 < walk.counts[0] else 0
        kernel = walk.ready[slot]
        delta = move_delta(flat, kernel, walk.touched, walk.way)
        if delta <= 0 and need_of(flat, walk, kernel, delta) <= limit:
            advance(flat, walk, kernel)
            seen = 0
        else:
            seen += 1
