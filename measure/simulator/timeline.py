"""The timeline of a core: when every instruction of its run of tiles starts and ends, in whole cycles.

A core has four engines that work in order: load DMA, matrix unit, vector unit, store DMA. It walks its
tiles, and inside each the scan and reduction steps. A move from one position of the nest to the next changes
one loop (its *level*) and starts the loops inside it over, so a step fires exactly when the innermost loop it
moves with is at that level or inside it. An instruction starts when its engine is free, its position was
dispatched (one every `dispatch` cycles), the buffers it reads are complete, and the slot it fills is free.

Some steps may lag one position behind the others. When such a step comes after one that has just filled anew
what it reads, it means the filling before: its time is kept for as long as the core is at that position.

Every quantity is an integer, so time is max-plus algebra without rounding: if the state before two iterations
of a loop is the same but for a shift, the iterations that follow are of the same classes, and steps that lag
have the same to do, everything repeats. The walk then skips ahead by whole periods; the result is the one of
the full walk, bit for bit.
The same source runs compiled and as plain Python.
"""

import numpy as np

from tilewright.compiler_core.compiled import jitable
from tilewright.measure.simulator.steady import FINISH, READY, repeats, shift_of, state_size
from tilewright.measure.simulator.tables.layout import (
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
    LAG,
    LAST_READ,
    LATE,
    LATENCY,
    MOST_SLOTS,
    NO_ENGINE,
    READ_BEHIND,
    READ_BUFFER,
    READ_STORAGE,
    SLOT,
    STORAGE,
    Ints,
    Nest,
)

TALLY = ENGINES + ENGINES * CAUSES
"""Numbers a timeline counts: busy cycles of every engine, then waiting cycles of every engine by cause."""
_NEVER = 1 << 40


@jitable
def walk(first: int, last: int, nest: Nest, live: Ints, tally: Ints, events: Ints) -> int:
    """Walk parallel tiles [first, last) and return the cycle in which the last store is complete.

    `live[l]` says of every state variable whether an iteration of level l writes it (1), only reads it (2) or
    leaves it alone (0); without rows nothing is skipped. `tally` [TALLY] is added to. `events` takes a row an
    instruction until it is full.
    """
    counts, steps, strides, reads, slots = nest.counts, nest.steps, nest.strides, nest.reads, nest.slots
    classes, class_start, maker, costs = nest.classes, nest.class_start, nest.maker, nest.costs
    parallel_levels, reduction_level = nest.parallel_levels, nest.reduction_level
    # One function over local arrays: as helpers that take these tables it was 1.6 to 2.2 times as slow.
    levels = counts.shape[0]
    ring = READY + slots.shape[0]
    state = np.zeros(state_size(slots, steps), dtype=np.int64)
    index = np.zeros(levels + 1, dtype=np.int64)
    inner = np.ones(levels + 1, dtype=np.int64)
    lags = False
    for s in range(steps.shape[0]):
        lags = lags or steps[s, LAG] != 0
    # The position the core has come to, and the one before it: classes by level, then what fires there.
    entered, late_entered, at_last = levels, levels + 1, levels + 2
    here = np.zeros((2, levels + 3), dtype=np.int64)
    here[0, entered], here[0, late_entered] = -1, -1
    here[1, entered] = _NEVER
    place = np.zeros((2, 2), dtype=np.int64)
    rest = first
    for level in range(parallel_levels - 1, -1, -1):
        inner[level] = inner[level + 1] * counts[level]
        index[level] = rest % counts[level]
        rest //= counts[level]
    for level in range(levels):
        here[0, level] = classes[class_start[level] + index[level]]
    filled = np.zeros(slots.shape[0], dtype=np.int64)
    before = np.zeros(slots.shape[0], dtype=np.int64)
    compress = live.shape[0] > 0
    marks = levels if compress else 0
    mark_at = np.full(levels + 1, -1, dtype=np.int64)
    patience = np.ones(levels + 1, dtype=np.int64)
    mark_state = np.zeros((marks, state.shape[0]), dtype=np.int64)
    mark_tally = np.zeros((marks, TALLY), dtype=np.int64)
    mark_issue = np.zeros(marks, dtype=np.int64)
    mark_behind = np.zeros((marks, levels + 3), dtype=np.int64)
    issue = 0
    visit = 0
    recorded = 0
    tile = first
    while True:
        issue += nest.dispatch
        visit += 1
        if tile < last:
            here[0, at_last] = 1
            for inside in range(reduction_level, levels):
                if index[inside] != counts[inside] - 1:
                    here[0, at_last] = 0
                    break
        if recorded < events.shape[0]:
            place[0, 0], place[0, 1] = tile, 0
            for inside in range(parallel_levels, levels):
                place[0, 1] = place[0, 1] * counts[inside] + index[inside]
        for s in range(steps.shape[0]):
            at = steps[s, LAG]
            if steps[s, LATE] != 0:
                if here[at, at_last] == 0 or steps[s, DEPTH] < here[at, late_entered]:
                    continue
            elif steps[s, DEPTH] < here[at, entered]:
                continue
            entry = steps[s, ENTRY]
            for inside in range(steps[s, DEPTH] + 1):
                entry += strides[s, inside] * here[at, inside]
            # It starts when its position is dispatched, its operands are complete and its slot is free.
            start = issue
            cause = DISPATCH
            for r in range(steps[s, FIRST_READ], steps[s, LAST_READ]):
                read = reads[r, READ_BUFFER]
                ready = state[READY + read]
                if reads[r, READ_BEHIND] != 0 and filled[read] == visit:
                    ready = before[read]
                if ready > start:
                    start = ready
                    cause = maker[read]
            buffer = steps[s, BUFFER]
            newest = ring + MOST_SLOTS * steps[s, STORAGE] + MOST_SLOTS - 1
            makes = steps[s, FILLS] != 0
            if makes:
                if steps[s, ANCHOR] != 0 and here[at, entered] >= reduction_level:
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
                    filled[buffer] = visit
                    before[buffer] = state[READY + buffer]
            # And when its engine is free: engines work in order.
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
            # Its operands are held until it is done; a filling behind the newest is one slot down.
            for r in range(steps[s, FIRST_READ], steps[s, LAST_READ]):
                held = ring + MOST_SLOTS * reads[r, READ_STORAGE] + MOST_SLOTS - 1
                if reads[r, READ_BEHIND] != 0 and filled[reads[r, READ_BUFFER]] == visit:
                    held -= 1
                if done > state[held]:
                    state[held] = done
            if recorded < events.shape[0]:
                events[recorded, EVENT_STEP] = s
                events[recorded, EVENT_ENTRY] = entry
                events[recorded, EVENT_TILE] = place[at, 0]
                events[recorded, EVENT_SERIAL] = place[at, 1]
                events[recorded, EVENT_START] = start
                events[recorded, EVENT_CAUSE] = cause
                events[recorded, EVENT_STALL] = waited
                recorded += 1
        if tile == last:
            return int(state[FINISH])
        if lags:
            here[1] = here[0]
            place[1] = place[0]
        if here[0, at_last] != 0:
            here[0, late_entered] = _NEVER
        # On to the next position: the innermost level that can still move does, all inside it start over.
        level = levels - 1
        while level >= 0 and index[level] == counts[level] - 1:
            level -= 1
        if level < parallel_levels:
            tile += 1
            if tile == last:
                if not lags:
                    return int(state[FINISH])
                # Once more, for what lags behind.
                here[0, entered], here[0, at_last] = _NEVER, 0
                continue
        index[level] += 1
        here[0, level] = classes[class_start[level] + index[level]]
        for inside in range(level + 1, levels):
            index[inside] = 0
            here[0, inside] = classes[class_start[inside]]
            mark_at[inside] = -1
        here[0, entered] = level
        here[0, late_entered] = min(here[0, late_entered], level)
        left = counts[level] - 1 - index[level]
        if not compress or left < 1:
            continue
        # Two iterations are alike when the state has moved by one shift and the lagging steps meet the same
        # classes: then all that follow are, as long as their tiles are. A mark is kept twice as long each
        # time: so a period of any length is found, and looking costs little.
        if mark_at[level] < 0:
            patience[level] = 1
        else:
            period = index[level] - mark_at[level]
            shift = shift_of(state, mark_state[level], live[level], issue, mark_issue[level])
            if shift >= 0 and (not lags or np.array_equal(here[1], mark_behind[level])):
                if level < parallel_levels:
                    left = min(left, (last - 1 - tile) // inner[level + 1])
                start = class_start[level] + index[level]
                times = repeats(classes, nest.until, start, left, period) // period
                for v in range(state.shape[0]):
                    if live[level, v] == 1:
                        state[v] += times * shift
                for t in range(TALLY):
                    tally[t] += times * (tally[t] - mark_tally[level, t])
                issue += times * (issue - mark_issue[level])
                index[level] += times * period
                here[0, level] = classes[class_start[level] + index[level]]
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
        if lags:
            mark_behind[level] = here[1]
