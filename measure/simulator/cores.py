"""Walks of whole cores: the one that ends last, and the instructions of one for a trace."""

import numpy as np

from tilewright.compiler_core.compiled import compiled, jitable
from tilewright.measure.simulator.steady import live_state
from tilewright.measure.simulator.tables.layout import EVENT_COLUMNS, NO_EVENT, Ints, Nest
from tilewright.measure.simulator.timeline import TALLY, walk


@jitable
def same_run(one: int, other: int, tiles: int, nest: Nest) -> bool:
    """Whether `tiles` parallel tiles from `one` on are of the same classes as those from `other` on."""
    inner = 1
    for level in range(nest.parallel_levels):
        inner *= nest.counts[level]
    for level in range(nest.parallel_levels):
        inner //= nest.counts[level]
        at, to = one // inner % nest.counts[level], other // inner % nest.counts[level]
        # How many tiles of this level the runs pass through.
        steps = (one % inner + tiles - 1) // inner + 1
        if steps != (other % inner + tiles - 1) // inner + 1:
            return False
        if steps > 1 and one % inner != other % inner:
            return False
        passed = 0
        while passed < steps:
            here, there = nest.class_start[level] + at + passed, nest.class_start[level] + to + passed
            if nest.classes[here] != nest.classes[there]:
                return False
            passed += min(nest.until[here], nest.until[there])
        if steps > 1:
            return True
    return True


@compiled
def slowest_core(cores: int, nest: Nest, compress: bool) -> tuple[int, int, Ints]:
    """Cycles, number and tally of the core that ends last; the first of equals.

    The parallel tiles are cut into contiguous runs, one a core. With `compress`, runs of the same classes are
    walked once, and each skips its steady state.
    """
    tiles = 1
    for level in range(nest.parallel_levels):
        tiles *= nest.counts[level]
    live = np.zeros((0, 0), dtype=np.int64)
    if compress:
        live = live_state(nest)
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
            known = same_length and same_run(begin, first, last - first, nest)
        if known:
            continue
        walked[distinct] = core
        distinct += 1
        tally[:] = 0
        ends = walk(first, last, nest, live, tally, events)
        if ends > cycles:
            cycles, at = ends, core
            slowest[:] = tally
    return cycles, at, slowest


@compiled
def record_core(first: int, last: int, nest: Nest, most: int) -> Ints:
    """The first `most` instructions of the core that has parallel tiles [first, last), int64 [most, columns].

    Rows behind the last instruction have NO_EVENT as their step.
    """
    events = np.full((most, EVENT_COLUMNS), NO_EVENT, dtype=np.int64)
    live = np.zeros((0, 0), dtype=np.int64)
    walk(first, last, nest, live, np.zeros(TALLY, dtype=np.int64), events)
    return events
