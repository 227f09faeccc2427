"""From the dead states of an exhausted search to the witness that the checker reads."""

import numpy as np

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.flat import FlatGraph, Ints
from tilewright.compiler_core.order.flow import INSIDE, OUTSIDE, UNLIMITED, min_cut
from tilewright.compiler_core.order.moves import (
    Words,
    advance,
    begin,
    close_state,
    find_state,
    index_states,
    need_of,
    retreat,
)
from tilewright.compiler_core.order.walk import move_delta
from tilewright.compiler_core.order.witness import DeadEnd, FlowRow, SafeMove, SearchWitness, flow_rows

NO_JUMP = -1


@compiled
def _children(flat: FlatGraph, way: int, limit: int, state: Words, states: Words, table: Ints) -> Ints:
    """The states that each fitting kernel leads to from `state`, as indices of `states`."""
    walk = begin(flat, way)
    changed = True
    while changed:
        changed = False
        for slot in range(walk.counts[0]):
            kernel = walk.ready[slot]
            inside = (state[kernel >> 6] >> np.uint64(kernel & 63)) & np.uint64(1) == 1
            if inside == (way == 1):
                advance(flat, walk, kernel)
                changed = True
                break
    length = walk.counts[1]
    found = np.empty(walk.counts[0], dtype=np.int64)
    count = 0
    for kernel in walk.ready[: walk.counts[0]].copy():
        delta = move_delta(flat, kernel, walk.touched, way)
        if need_of(flat, walk, kernel, delta) <= limit:
            advance(flat, walk, kernel)
            close_state(flat, walk, limit)
            found[count] = table[find_state(states, table, walk.bits)]
            count += 1
            retreat(flat, walk, length)
    return found[:count]


def search_witness(flat: FlatGraph, way: int, limit: int, states: Words, jumps: Ints) -> SearchWitness:
    """The dead ends that the first one (the last to die) needs, in the order they are needed."""
    table = index_states(states)
    masks = [int.from_bytes(row.astype("<u8").tobytes(), "little") for row in states]
    queue, seen = [len(masks) - 1], {len(masks) - 1}
    dead_ends = []
    for here in queue:
        jump = int(jumps[here])
        if jump == NO_JUMP:
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
