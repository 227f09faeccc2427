"""When the state of a core repeats but for a shift in time, and for how long: a timeline may skip that.

The state is one integer array: when each engine is free, when the last store is done, when each buffer is
complete, and when each slot of each storage is free, the newest last.
"""

import numpy as np

from tilewright.compiler_core.compiled import jitable
from tilewright.measure.simulator.tables.layout import (
    ANCHOR,
    BUFFER,
    BUSY,
    DEPTH,
    ENGINE,
    ENGINES,
    ENTRY,
    FILLS,
    FIRST_READ,
    LAST_READ,
    LATE,
    MOST_SLOTS,
    NO_ENGINE,
    READ_BUFFER,
    READ_STORAGE,
    STORAGE,
    Ints,
    Nest,
)

FINISH = ENGINES
"""Place of the time of the last store."""
READY = ENGINES + 1
"""First place of the times of buffers; slots come behind them."""


@jitable
def state_size(slots: Ints, steps: Ints) -> int:
    """The number of values in the state."""
    storages = 0
    for s in range(steps.shape[0]):
        storages = max(storages, steps[s, STORAGE] + 1)
    return int(READY + slots.shape[0] + MOST_SLOTS * storages)


@jitable
def shift_of(state: Ints, before: Ints, live: Ints, issue: int, issue_before: int) -> int:
    """By how much everything that an iteration touches has moved, or -1 where it did not move as one.

    A value that an iteration only reads has no effect once it is older than every engine that could wait for
    it; so does the dispatch of tiles, as long as it does not gain on the engines.
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


@jitable
def repeats(classes: Ints, until: Ints, at: int, left: int, period: int) -> int:
    """The number of the next `left` tiles from `at` that have the class of the tile one period before."""
    if until[at - period] > period:
        return min(left, int(until[at]))
    same = 0
    while same < left and classes[at + same] == classes[at + same - period]:
        same += 1
    return same


@jitable
def live_state(nest: Nest) -> Ints:
    """For every level, what the steps that fire in each of its iterations write (1) and only read (2).

    The late steps of a reduction loop fire in its last iteration only, which is never skipped; and later
    reduction steps fill no new slot. The slot that a step one position behind reads is one of those that its
    filler moves on, or the newest.
    """
    levels = nest.counts.shape[0]
    steps, reads, slots, costs = nest.steps, nest.reads, nest.slots, nest.costs
    ring = READY + slots.shape[0]
    live = np.zeros((levels, state_size(slots, steps)), dtype=np.int64)
    for level in range(levels):
        for s in range(steps.shape[0]):
            if steps[s, DEPTH] < level or (steps[s, LATE] != 0 and level >= nest.reduction_level):
                continue
            newest = ring + MOST_SLOTS * steps[s, STORAGE] + MOST_SLOTS - 1
            buffer = steps[s, BUFFER]
            if steps[s, FILLS] != 0:
                live[level, READY + buffer] = 1
                adds = steps[s, ANCHOR] != 0 and level >= nest.reduction_level
                for slot in range(newest if adds else newest + 1 - slots[buffer], newest + 1):
                    live[level, slot] = 1
            else:
                live[level, FINISH] = 1
            for r in range(steps[s, FIRST_READ], steps[s, LAST_READ]):
                read = READY + reads[r, READ_BUFFER]
                if live[level, read] == 0:
                    live[level, read] = 2
                live[level, ring + MOST_SLOTS * reads[r, READ_STORAGE] + MOST_SLOTS - 1] = 1
            end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
            for entry in range(steps[s, ENTRY], end):
                if steps[s, ENGINE] != NO_ENGINE and costs[entry, BUSY] > 0:
                    live[level, steps[s, ENGINE]] = 1
    return live
