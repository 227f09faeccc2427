"""The columns of the simulator's integer tables, for the code that fills them and the code that reads."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

LOAD, MATRIX, VECTOR, STORE, NO_ENGINE = 0, 1, 2, 3, 4
"""Engines of a core. A step without an engine takes no time: it only renames elements."""
ENGINES = 4
ENGINE_NAMES = ("load", "matrix", "vector", "store")
SLOT, DISPATCH = 4, 5
"""Causes of waiting, besides the engine still making an input: no free slot, tile not dispatched yet."""
CAUSES = 6
CAUSE_NAMES = ("load", "matrix", "vector", "store", "slot", "dispatch")
MOST_SLOTS = 4
"""Three that a Config can ask for, and one for a tile more in flight."""

# The step table: the columns of a step.
DEPTH, LATE, ANCHOR, BUFFER, STORAGE, FILLS, FIRST_READ, LAST_READ, ENTRY, ENGINE, LAG = range(11)
STEP_COLUMNS = 11

# The read table: a buffer that a step reads, its storage, and whether its filler is a position ahead.
READ_BUFFER, READ_STORAGE, READ_BEHIND = range(3)
READ_COLUMNS = 3

# The price table: the columns behind the cost of a step.
KIND, NEAR, FAR, HOLDABLE, VALUE, ELEMENT_BYTES, PACKED, LANE_OPS, LANES, BLOCKED, BLOCK = range(11)
FIRST_TERM, LAST_TERM, FIRST_FETCH, LAST_FETCH, FIRST_WAY, LAST_WAY = range(11, 17)
PRICE_COLUMNS = 17
TRANSFER, CONTRACTION, POINTS, RENAMING = range(4)
NO_TABLE = -1

# The cost table: a row for every step and every class of tiles it meets.
BUSY, LATENCY, FIRINGS, SIZE, FAR_SIZE, NEAR_MOVED, FAR_MOVED, L1_SIZE, MACS, LANE_WORK = range(10)
COST_COLUMNS = 10
"""SIZE and FAR_SIZE are the bytes asked for, NEAR_MOVED and FAR_MOVED those in the bursts that they take."""

# The event table: an instruction a row.
EVENT_STEP, EVENT_ENTRY, EVENT_TILE, EVENT_SERIAL, EVENT_START, EVENT_CAUSE, EVENT_STALL = range(7)
EVENT_COLUMNS = 7
NO_EVENT = -1


class Nest(NamedTuple):
    """A kernel's loops, steps and costs in integers, as the timeline walks them.

    `counts` are the tiles of every level of the nest, outermost first: parallel ones, then scans, then the
    reductions from `reduction_level` on. Tile i of level l is of class `classes[class_start[l] + i]`, like
    `until` of the tiles from it on. A step costs row ENTRY + (strides . classes) of `costs`. `slots` and
    `maker`, the engine that fills it, are of each buffer. Positions are `dispatch` cycles apart at least.
    """

    counts: Ints
    parallel_levels: int
    reduction_level: int
    classes: Ints
    until: Ints
    class_start: Ints
    steps: Ints
    strides: Ints
    reads: Ints
    slots: Ints
    maker: Ints
    costs: Ints
    dispatch: int


class Levels(NamedTuple):
    """The loops of a nest, outermost first, the `parallel` ones before the others.

    `counts[l]` tiles at level l, which is dim `dims[l]` of the interval tables. Tile i of it is of class
    `classes[class_start[l] + i]`; the first tile of its class c is `example[example_start[l] + c]`, and
    `members` of the same place are how many tiles the class has.
    """

    counts: Ints
    dims: Ints
    parallel: int
    classes: Ints
    class_start: Ints
    example: Ints
    members: Ints
    example_start: Ints


class Spans(NamedTuple):
    """Interval tables: `widths`, one table after the other, `shapes[table, dim]`, the `places` that the
    intervals of each cover together; `of_term` has the table of every factor of a size.
    """

    widths: Ints
    shapes: Ints
    places: Ints
    of_term: Ints


class Entries(NamedTuple):
    """The entries of a kernel: a row of `costs` for every step and every class of tiles that it meets.

    `strides` [steps, levels]: a step's entry is ENTRY + (strides . classes). `lengths` [entries, terms] are
    the factors of the size of every entry.
    """

    steps: Ints
    strides: Ints
    lengths: Ints
    costs: Ints


class StepPrices(NamedTuple):
    """What decides the costs of steps, whatever their sizes: `prices`, the price table; of every term the
    extent of its dim and its role in a contraction; of fetches from L1 their bytes and terms; the `ways` of a
    matrix unit to take a contraction.
    """

    prices: Ints
    extent_of_term: Ints
    role_of_term: Ints
    fetches: Ints
    ways: Ints


class Chip(NamedTuple):
    """A target in numbers: its memories as rows (memories.py), and its vector unit."""

    memories: Ints
    start_up: int
    vector_contracts: bool


class Around(NamedTuple):
    """What else goes on: `sharers` cores share the ports, `room` bytes of the LLB are left, of value v
    `held[v]` bytes are in it already. Rows a multiple of `conflict_bytes` apart meet in one L1 bank and take
    `conflict_percent` longer.
    """

    sharers: int
    room: int
    held: Ints
    conflict_bytes: int
    conflict_percent: int
