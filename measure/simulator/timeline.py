"""The timeline of a core: when every instruction of its run of tiles starts and ends, in whole cycles.

A core has four engines that work in order: load DMA, matrix unit, vector unit, store DMA. It walks its
tiles, and inside each the scan and reduction steps. A move from one position of the nest to the next changes
one loop (its *level*) and starts the loops inside it over, so a step fires exactly when the innermost loop it
moves with is at that level or inside it. An instruction starts when its engine is free, its position was
dispatched (one every `dispatch` cycles), the buffers it reads are complete, and the slot it fills is free.

Every quantity is an integer, so time is max-plus algebra without rounding: if the state before two iterations
of a loop is the same but for a shift, and the iterations that follow are of the same classes, everything
repeats. The walk then skips ahead by whole periods; the result is the one of the full walk, bit for bit.
The same source runs compiled and as plain Python.
"""

import numpy as np
from numba.extending import register_jitable

from measure.simulator.layout import (
    ANCHOR,
    BUFFER,
    BUSY,
    CAUSES,
    DEPTH,
    DISPATCH,
    ENGINE,
    ENGINES,
    ENTRY,
    EVENT_CAUSE,
    EVENT_ENTRY,
    EVENT_SERIAL,
    EVENT_STALL,
    EVENT_START,
    EVENT_STEP,
    EVENT_TILE,
    FILLS,
    FIRST_READ,
    LAST_READ,
    LATE,
    LATENCY,
    MOST_SLOTS,
    NO_ENGINE,
    SLOT,
    STORAGE,
    Ints,
)
from measure.simulator.steady import FINISH, READY, repeats, shift_of, state_size

TALLY = ENGINES + ENGINES * CAUSES
"""Numbers a timeline counts: busy cycles of every engine, then waiting cycles of every engine by cause."""
_NEVER = 1 << 40


@register_jitable
def walk(
    first: int,
    last: int,
    counts: Ints,
    parallel_levels: int,
    reduction_level: int,
    classes: Ints,
    until: Ints,
    class_start: Ints,
    steps: Ints,
    strides: Ints,
    reads: Ints,
    read_storage: Ints,
    slots: Ints,
    maker: Ints,
    costs: Ints,
    dispatch: int,
    live: Ints,
    tally: Ints,
    events: Ints,
) -> int:
    """Walk parallel tiles [first, last) and return the cycle in which the last store is complete.

    `counts` are the tiles of every level of the nest, outermost first: parallel ones, then scans, then the
    reductions from `reduction_level` on. A step costs row ENTRY + (strides . classes) of `costs`. `live[l]`
    says of every state variable whether an iteration of level l writes it (1), only reads it (2) or leaves
    it alone (0); without rows nothing is skipped. `tally` [TALLY] is added to. `events` takes a row an
    instruction until it is full.
    """
    levels = counts.shape[0]
    ring = READY + slots.shape[0]
    state = np.zeros(state_size(slots, steps), dtype=np.int64)
    index = np.zeros(levels + 1, dtype=np.int64)
    kind = np.zeros(levels + 1, dtype=np.int64)
    inner = np.ones(levels + 1, dtype=np.int64)
    rest = first
    for level in range(parallel_levels - 1, -1, -1):
        inner[level] = inner[level + 1] * counts[level]
        index[level] = rest % counts[level]
        rest //= counts[level]
    for level in range(levels):
        kind[level] = classes[class_start[level] + index[level]]
    compress = live.shape[0] > 0
    marks = levels if compress else 0
    mark_at = np.full(levels + 1, -1, dtype=np.int64)
    patience = np.ones(levels + 1, dtype=np.int64)
    mark_state = np.zeros((marks, state.shape[0]), dtype=np.int64)
    mark_tally = np.zeros((marks, TALLY), dtype=np.int64)
    mark_issue = np.zeros(marks, dtype=np.int64)
    issue = 0
    recorded = 0
    tile = first
    level = -1
    late_level = -1
    while True:
        issue += dispatch
        at_last = True
        for inside in range(reduction_level, levels):
            if index[inside] != counts[inside] - 1:
                at_last = False
                break
        for s in range(steps.shape[0]):
            if steps[s, LATE] != 0:
                if not at_last or steps[s, DEPTH] < late_level:
                    continue
            elif steps[s, DEPTH] < level:
                continue
            entry = steps[s, ENTRY]
            for inside in range(steps[s, DEPTH] + 1):
                entry += strides[s, inside] * kind[inside]
            start = issue
            cause = DISPATCH
            for r in range(steps[s, FIRST_READ], steps[s, LAST_READ]):
                if state[READY + reads[r]] > start:
                    start = state[READY + reads[r]]
                    cause = maker[reads[r]]
            buffer = steps[s, BUFFER]
            newest = ring + MOST_SLOTS * steps[s, STORAGE] + MOST_SLOTS - 1
            makes = steps[s, FILLS] != 0
            if makes:
                if steps[s, ANCHOR] != 0 and level >= reduction_level:
                    # A later reduction step adds to what the earlier ones left.
                    if state[READY + buffer] > start:
                        start = state[READY + buffer]
                        cause = maker[buffer]
                else:
                    oldest = newest + 1 - slots[buffer]
                    if state[oldest] > start:
                        start = state[oldest]
                        cause = SLOT
                    for slot in range(oldest, newest):
                        state[slot] = state[slot + 1]
            busy = costs[entry, BUSY]
            engine = steps[s, ENGINE]
            waited = 0
            if engine != NO_ENGINE and busy > 0:
                waited = start - state[engine]
                if waited > 0:
                    tally[ENGINES + CAUSES * engine + cause] += waited
                else:
                    waited = 0
                    start = state[engine]
                state[engine] = start + busy
                tally[engine] += busy
            done = start + busy + costs[entry, LATENCY]
            if makes:
                state[READY + buffer] = done
                state[newest] = done
            elif done > state[FINISH]:
                state[FINISH] = done
            for r in range(steps[s, FIRST_READ], steps[s, LAST_READ]):
                held = ring + MOST_SLOTS * read_storage[r] + MOST_SLOTS - 1
                if done > state[held]:
                    state[held] = done
            if recorded < events.shape[0]:
                events[recorded, EVENT_STEP] = s
                events[recorded, EVENT_ENTRY] = entry
                serial = 0
                for inside in range(parallel_levels, levels):
                    serial = serial * counts[inside] + index[inside]
                events[recorded, EVENT_TILE] = tile
                events[recorded, EVENT_SERIAL] = serial
                events[recorded, EVENT_START] = start
                events[recorded, EVENT_CAUSE] = cause
                events[recorded, EVENT_STALL] = waited
                recorded += 1
        if at_last:
            late_level = _NEVER
        # On to the next position: the innermost level that can still move does, all inside it start over.
        level = levels - 1
        while level >= 0 and index[level] == counts[level] - 1:
            level -= 1
        if level < parallel_levels:
            tile += 1
            if tile == last:
                return int(state[FINISH])
        index[level] += 1
        kind[level] = classes[class_start[level] + index[level]]
        for inside in range(level + 1, levels):
            index[inside] = 0
            kind[inside] = classes[class_start[inside]]
            mark_at[inside] = -1
        late_level = min(late_level, level)
        left = counts[level] - 1 - index[level]
        if not compress or left < 1:
            continue
        if mark_at[level] < 0:
            patience[level] = 1
        else:
            period = index[level] - mark_at[level]
            shift = shift_of(state, mark_state[level], live[level], issue, mark_issue[level])
            if shift >= 0:
                if level < parallel_levels:
                    left = min(left, (last - 1 - tile) // inner[level + 1])
                here = class_start[level] + index[level]
                times = repeats(classes, until, here, left, period) // period
                for v in range(state.shape[0]):
                    if live[level, v] == 1:
                        state[v] += times * shift
                for t in range(TALLY):
                    tally[t] += times * (tally[t] - mark_tally[level, t])
                issue += times * (issue - mark_issue[level])
                index[level] += times * period
                kind[level] = classes[class_start[level] + index[level]]
                if level < parallel_levels:
                    tile += times * period * inner[level + 1]
                mark_at[level] = -1
                continue
            if period < patience[level]:
                continue
            patience[level] *= 2
        mark_at[level] = index[level]
        mark_state[level] = state
        mark_tally[level] = tally
        mark_issue[level] = issue
