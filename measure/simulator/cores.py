"""Walks of whole cores: the one that ends last, and the instructions of one for a trace."""

import numpy as np
from numba.extending import register_jitable

from compiler_core.order.compiled import compiled
from measure.simulator.layout import EVENT_COLUMNS, NO_EVENT, Ints
from measure.simulator.steady import live_state
from measure.simulator.timeline import TALLY, walk


@register_jitable
def same_run(
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
        live = live_state(counts, reduction_level, steps, reads, read_storage, slots, costs)
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
            known = same_length and same_run(
                begin, first, last - first, counts, parallel_levels, classes, until, class_start
            )
        if known:
            continue
        walked[distinct] = core
        distinct += 1
        tally[:] = 0
        ends = walk(
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
    walk(
        first, last, counts, parallel_levels, reduction_level, classes, until, class_start,
        steps, strides, reads, read_storage, slots, maker, costs, dispatch, live, tally, events,
    )  # fmt: skip
    return events
