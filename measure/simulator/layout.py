"""The columns of the simulator's integer tables, for the code that fills them and the code that reads."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

LOAD, MATRIX, VECTOR, STORE, NO_ENGINE = 0, 1, 2, 3, 4
"""Engines of a core. What runs on no engine takes no time: it only renames elements."""
ENGINES = 4
ENGINE_NAMES = ("load", "matrix", "vector", "store")
SLOT, DISPATCH = 4, 5
"""Causes of waiting, besides the engine still making an input: no free slot, tile not dispatched yet."""
CAUSES = 6
CAUSE_NAMES = ("load", "matrix", "vector", "store", "slot", "dispatch")
MOST_SLOTS = 3

# The step table: what the timeline asks of a step.
DEPTH, LATE, ANCHOR, BUFFER, STORAGE, FILLS, FIRST_READ, LAST_READ, ENTRY, ENGINE = range(10)
STEP_COLUMNS = 10

# The price table: what decides the cost of a step.
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
