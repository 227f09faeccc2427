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

from compiler_core.order.compiled import compiled
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
    EVENT_COLUMNS,
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
    NO_EVENT,
    SLOT,
    STORAGE,
    Ints,
)

TALLY = ENGINES + ENGINES * CAUSES
"""Numbers a timeline counts: busy cycles of every engine, then waiting cycles of every engine by cause."""
_NEVER = 1 << 40
# Places in the state: when each engine is free, when the last store is done, when each buffer is complete,
# and when each slot of each storage is free, the newest last.
_FINISH = ENGINES
_READY = ENGINES + 1


@register_jitable
def _walk(
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
    ring = _READY + slots.shape[0]
    state = np.zeros(_state_size(slots, steps), dtype=np.int64)
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
                if state[_READY + reads[r]] > start:
                    start = state[_READY + reads[r]]
                    cause = maker[reads[r]]
            buffer = steps[s, BUFFER]
            newest = ring + MOST_SLOTS * steps[s, STORAGE] + MOST_SLOTS - 1
            makes = steps[s, FILLS] != 0
            if makes:
                if steps[s, ANCHOR] != 0 and level >= reduction_level:
                    # A later reduction step adds to what the earlier ones left.
                    if state[_READY + buffer] > start:
                        start = state[_READY + buffer]
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
                state[_READY + buffer] = done
                state[newest] = done
            elif done > state[_FINISH]:
                state[_FINISH] = done
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
                return int(state[_FINISH])
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
            shift = _shift(state, mark_state[level], live[level], issue, mark_issue[level])
            if shift >= 0:
                if level < parallel_levels:
                    left = min(left, (last - 1 - tile) // inner[level + 1])
                here = class_start[level] + index[level]
                times = _repeats(classes, until, here, left, period) // period
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


@register_jitable
def _state_size(slots: Ints, steps: Ints) -> int:
    storages = 0
    for s in range(steps.shape[0]):
        storages = max(storages, steps[s, STORAGE] + 1)
    return int(_READY + slots.shape[0] + MOST_SLOTS * storages)


@register_jitable
def _shift(state: Ints, before: Ints, live: Ints, issue: int, issue_before: int) -> int:
    """By how much everything that an iteration touches has moved, or -1 where it did not move as one.

    What an iteration only reads makes no difference once it is older than every engine it could hold up; so
    does the dispatch of tiles, as long as it does not gain on the engines.
    """
    shift = -1
    floor = 1 << 62
    for engine in range(ENGINES):
        if live[engine] == 1:
            moved = state[engine] - before[engine]
            if shift >= 0 and moved != shift:
                return -1
            shift = moved
            floor = min(floor, before[engine])
    if shift < 0:
        return -1
    for v in range(ENGINES, state.shape[0]):
        if live[v] == 1:
            if state[v] - before[v] != shift:
                return -1
        elif live[v] == 2 and shift > 0 and before[v] > floor:
            return -1
    moved = issue - issue_before
    if moved != shift and (moved > shift or issue > floor):
        return -1
    return int(shift)


@register_jitable
def _repeats(classes: Ints, until: Ints, at: int, left: int, period: int) -> int:
    """How many of the next `left` tiles from `at` on have the class of the tile one period before them."""
    if until[at - period] > period:
        return min(left, int(until[at]))
    same = 0
    while same < left and classes[at + same] == classes[at + same - period]:
        same += 1
    return same


@register_jitable
def _live(
    counts: Ints, reduction_level: int, steps: Ints, reads: Ints, read_storage: Ints, slots: Ints, costs: Ints
) -> Ints:
    """For every level, what the steps that fire in each of its iterations write (1) and only read (2).

    The late steps of a reduction loop fire in its last iteration only, which is never skipped; and later
    reduction steps fill no new slot.
    """
    levels = counts.shape[0]
    ring = _READY + slots.shape[0]
    live = np.zeros((levels, _state_size(slots, steps)), dtype=np.int64)
    for level in range(levels):
        for s in range(steps.shape[0]):
            if steps[s, DEPTH] < level or (steps[s, LATE] != 0 and level >= reduction_level):
                continue
            newest = ring + MOST_SLOTS * steps[s, STORAGE] + MOST_SLOTS - 1
            buffer = steps[s, BUFFER]
            if steps[s, FILLS] != 0:
                live[level, _READY + buffer] = 1
                adds = steps[s, ANCHOR] != 0 and level >= reduction_level
                for slot in range(newest if adds else newest + 1 - slots[buffer], newest + 1):
                    live[level, slot] = 1
            else:
                live[level, _FINISH] = 1
            for r in range(steps[s, FIRST_READ], steps[s, LAST_READ]):
                if live[level, _READY + reads[r]] == 0:
                    live[level, _READY + reads[r]] = 2
                live[level, ring + MOST_SLOTS * read_storage[r] + MOST_SLOTS - 1] = 1
            end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
            for entry in range(steps[s, ENTRY], end):
                if steps[s, ENGINE] != NO_ENGINE and costs[entry, BUSY] > 0:
                    live[level, steps[s, ENGINE]] = 1
    return live


@register_jitable
def _same_run(
    one: int,
    other: int,
    tiles: int,
    counts: Ints,
    parallel_levels: int,
    classes: Ints,
    until: Ints,
    start: Ints,
) -> bool:
    """Whether `tiles` parallel tiles from `one` on are of the same classes as those from `other` on."""
    inner = 1
    for level in range(parallel_levels):
        inner *= counts[level]
    for level in range(parallel_levels):
        inner //= counts[level]
        at, to = one // inner % counts[level], other // inner % counts[level]
        # How many tiles of this level the runs pass through.
        steps = (one % inner + tiles - 1) // inner + 1
        if steps != (other % inner + tiles - 1) // inner + 1:
            return False
        if steps > 1 and one % inner != other % inner:
            return False
        passed = 0
        while passed < steps:
            here, there = start[level] + at + passed, start[level] + to + passed
            if classes[here] != classes[there]:
                return False
            passed += min(until[here], until[there])
        if steps > 1:
            return True
    return True


@compiled
def slowest_core(
    cores: int,
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
    compress: bool,
) -> tuple[int, int, Ints]:
    """Cycles, number and tally of the core that ends last; the first of equals.

    The parallel tiles are cut into contiguous runs, one a core. With `compress`, runs of the same classes are
    walked once, and each skips its steady state.
    """
    tiles = 1
    for level in range(parallel_levels):
        tiles *= counts[level]
    live = np.zeros((0, 0), dtype=np.int64)
    if compress:
        live = _live(counts, reduction_level, steps, reads, read_storage, slots, costs)
    events = np.zeros((0, 1), dtype=np.int64)
    tally = np.zeros(TALLY, dtype=np.int64)
    slowest = np.zeros(TALLY, dtype=np.int64)
    cycles, at = -1, 0
    walked = np.zeros(cores, dtype=np.int64)
    distinct = 0
    for core in range(cores):
        first, last = core * tiles // cores, (core + 1) * tiles // cores
        known = first == last
        for earlier in range(distinct if compress else 0):
            if known:
                break
            begin = walked[earlier] * tiles // cores
            same_length = (walked[earlier] + 1) * tiles // cores - begin == last - first
            known = same_length and _same_run(
                begin, first, last - first, counts, parallel_levels, classes, until, class_start
            )
        if known:
            continue
        walked[distinct] = core
        distinct += 1
        tally[:] = 0
        ends = _walk(
            first, last, counts, parallel_levels, reduction_level, classes, until, class_start,
            steps, strides, reads, read_storage, slots, maker, costs, dispatch, live, tally, events,
        )  # fmt: skip
        if ends > cycles:
            cycles, at = ends, core
            slowest[:] = tally
    return cycles, at, slowest


@compiled
def record_core(
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
    most: int,
) -> Ints:
    """The first `most` instructions of the core that has parallel tiles [first, last), int64 [most, columns].

    Rows behind the last instruction have NO_EVENT as their step.
    """
    events = np.full((most, EVENT_COLUMNS), NO_EVENT, dtype=np.int64)
    live = np.zeros((0, 0), dtype=np.int64)
    tally = np.zeros(TALLY, dtype=np.int64)
    _walk(
        first, last, counts, parallel_levels, reduction_level, classes, until, class_start,
        steps, strides, reads, read_storage, slots, maker, costs, dispatch, live, tally, events,
    )  # fmt: skip
    return events
