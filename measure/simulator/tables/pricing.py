"""The cost of every instruction: cycles, bytes at each level, work; by the closed forms of units.py."""

import numpy as np

from tilewright.compiler_core.compiled import compiled, jitable
from tilewright.compiler_core.target_model import units
from tilewright.measure.simulator.tables.layout import (
    BLOCK,
    BLOCKED,
    BUSY,
    CONTRACTION,
    ELEMENT_BYTES,
    ENGINE,
    ENTRY,
    FAR,
    FAR_MOVED,
    FAR_SIZE,
    FIRINGS,
    FIRST_FETCH,
    FIRST_TERM,
    FIRST_WAY,
    HOLDABLE,
    KIND,
    L1_SIZE,
    LANE_OPS,
    LANE_WORK,
    LANES,
    LAST_FETCH,
    LAST_TERM,
    LAST_WAY,
    LATENCY,
    MACS,
    MATRIX,
    NEAR,
    NEAR_MOVED,
    NO_TABLE,
    PACKED,
    POINTS,
    SIZE,
    TRANSFER,
    VALUE,
    VECTOR,
    Ints,
)

_ROLES = 6
_SETUP, _LATENCY = units.SETUP, units.LATENCY
_matrix_cycles = jitable(units.matrix_cycles)
_vector_cycles = jitable(units.vector_cycles)
_moved_bytes = jitable(units.moved_bytes)
_stream_cycles = jitable(units.stream_cycles)


@compiled
def price(
    steps: Ints,
    prices: Ints,
    lengths: Ints,
    costs: Ints,
    term_span: Ints,
    term_extent: Ints,
    term_role: Ints,
    fetches: Ints,
    ways: Ints,
    tables: Ints,
    spans: Ints,
    start_up: int,
    vector_contracts: bool,
    sharers: int,
    room: int,
    held: Ints,
    conflict_bytes: int,
    conflict_percent: int,
) -> int:
    """Fill the cost table, and the ENGINE of contractions in `steps` (the faster of matrix and vector).

    `spans[t]` is the number of distinct places interval t covers over all tiles. `sharers` cores share the
    ports. Operands behind the LLB that are read again stay in it while `room` bytes of it are left, smallest
    first: then each load costs its share of the distinct bytes at the far port. Of value v, `held[v]` bytes
    are in the LLB already, beside `room`. Tiles whose rows lie a multiple of `conflict_bytes` apart meet in
    one L1 bank and take `conflict_percent` longer. Returns the bytes of `room` that are taken.
    """
    on_vector = np.zeros(costs.shape[0], dtype=np.int64)
    for s in range(steps.shape[0]):
        first, last = prices[s, FIRST_TERM], prices[s, LAST_TERM]
        end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
        for entry in range(steps[s, ENTRY], end):
            length = lengths[entry]
            points = 1
            for term in range(last - first):
                points *= length[term]
            for fetch in range(prices[s, FIRST_FETCH], prices[s, LAST_FETCH]):
                costs[entry, L1_SIZE] += fetches[fetch, 1] * _masked(length, fetches[fetch, 0])
            if prices[s, KIND] == TRANSFER:
                costs[entry, SIZE] = points * prices[s, ELEMENT_BYTES]
            elif prices[s, KIND] == POINTS:
                costs[entry, LANE_WORK] = points * prices[s, LANE_OPS]
                costs[entry, BUSY] = _vector_cycles(points, prices[s, LANE_OPS], prices[s, LANES], start_up)
            elif prices[s, KIND] == CONTRACTION:
                role = np.ones(_ROLES, dtype=np.int64)
                for term in range(first, last):
                    role[term_role[term]] *= length[term - first]
                costs[entry, MACS] = points
                on_vector[entry] = _vector_cycles(points, 1, prices[s, LANES], start_up)
                if prices[s, LAST_WAY] > prices[s, FIRST_WAY]:
                    table = ways[prices[s, FIRST_WAY] : prices[s, LAST_WAY]]
                    costs[entry, BUSY] = _matrix_cycles(
                        role[0], role[1], role[2], role[3], role[4], role[5], table
                    )
        if prices[s, KIND] == CONTRACTION:
            has_ways = prices[s, LAST_WAY] > prices[s, FIRST_WAY]
            gain = 0
            for entry in range(steps[s, ENTRY], end):
                gain += costs[entry, FIRINGS] * (costs[entry, BUSY] - on_vector[entry])
            steps[s, ENGINE] = MATRIX
            if not has_ways or (vector_contracts and gain > 0):
                steps[s, ENGINE] = VECTOR
                for entry in range(steps[s, ENTRY], end):
                    costs[entry, BUSY] = on_vector[entry]
                    costs[entry, LANE_WORK] = costs[entry, MACS]
                    costs[entry, MACS] = 0
    total, distinct, taken = _residency(steps, prices, costs, term_span, spans, room, held)
    for s in range(steps.shape[0]):
        first, last = prices[s, FIRST_TERM], prices[s, LAST_TERM]
        end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
        for entry in range(steps[s, ENTRY], end):
            if prices[s, KIND] == TRANSFER and costs[entry, SIZE] > 0:
                run = costs[entry, SIZE]
                if prices[s, PACKED] == 0:
                    run = prices[s, ELEMENT_BYTES] * _run(
                        lengths[entry], term_extent[first:last], prices[s, BLOCKED], prices[s, BLOCK]
                    )
                far_size = costs[entry, SIZE]
                value = prices[s, VALUE]
                if prices[s, FAR] == NO_TABLE:
                    far_size = 0
                elif prices[s, HOLDABLE] != 0 and distinct[value] < total[value]:
                    far_size = -(-far_size * distinct[value] // total[value])
                costs[entry, FAR_SIZE] = far_size
                crossing, setup, latency = 0, 0, 0
                if prices[s, NEAR] != NO_TABLE:
                    table = tables[prices[s, NEAR]]
                    moved = _moved_bytes(costs[entry, SIZE], run, table)
                    costs[entry, NEAR_MOVED] = moved
                    crossing = _stream_cycles(moved, sharers, table)
                    setup, latency = table[_SETUP], table[_LATENCY]
                if far_size > 0:
                    table = tables[prices[s, FAR]]
                    moved = _moved_bytes(costs[entry, SIZE], run, table)
                    moved = -(-moved * far_size // costs[entry, SIZE])
                    costs[entry, FAR_MOVED] = moved
                    crossing = max(crossing, _stream_cycles(moved, sharers, table))
                    setup, latency = table[_SETUP], max(latency, table[_LATENCY])
                costs[entry, BUSY] = setup + crossing
                costs[entry, LATENCY] = latency
            if conflict_percent > 0 and prices[s, LAST_FETCH] > prices[s, FIRST_FETCH]:
                fetch = fetches[prices[s, LAST_FETCH] - 1]
                pitch = fetch[1] * _innermost(lengths[entry], fetch[0])
                if pitch > 0 and pitch % conflict_bytes == 0:
                    costs[entry, BUSY] += costs[entry, BUSY] * conflict_percent // 100
    return taken


@jitable
def _masked(length: Ints, mask: int) -> int:
    """The product of the terms in a bit mask."""
    product = 1
    for term in range(length.shape[0]):
        if mask >> term & 1:
            product *= length[term]
    return product


@jitable
def _innermost(length: Ints, mask: int) -> int:
    """The last term of a bit mask; 1 for none."""
    innermost = 1
    for term in range(length.shape[0]):
        if mask >> term & 1:
            innermost = length[term]
    return innermost


@jitable
def _run(length: Ints, extent: Ints, blocked: int, block: int) -> int:
    """Elements that lie together in a value of which a box of `length` is cut out of `extent`.

    Terms lie from the outermost to the innermost, and inside them blocks of `block` along the term `blocked`.
    """
    run = 1
    if block > 1:
        run = length[blocked]
        if run < block:
            return int(run)
        run = block
    for term in range(extent.shape[0] - 1, -1, -1):
        if extent[term] < 0:
            break
        run *= length[term] // block if block > 1 and term == blocked else length[term]
        if length[term] != extent[term]:
            break
    return run


@jitable
def _residency(
    steps: Ints, prices: Ints, costs: Ints, term_span: Ints, spans: Ints, room: int, held: Ints
) -> tuple[Ints, Ints, int]:
    """Bytes loaded of every value, how many of them come over the far port, and the room taken.

    The first two are the same for what is read once or does not stay; else the latter are the distinct bytes
    that are not held yet.
    """
    total = np.zeros(held.shape[0], dtype=np.int64)
    distinct = np.zeros(held.shape[0], dtype=np.int64)
    for s in range(steps.shape[0]):
        if prices[s, KIND] == TRANSFER and prices[s, HOLDABLE] != 0:
            end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
            for entry in range(steps[s, ENTRY], end):
                total[prices[s, VALUE]] += costs[entry, FIRINGS] * costs[entry, SIZE]
            own = prices[s, ELEMENT_BYTES]
            for term in range(prices[s, FIRST_TERM], prices[s, LAST_TERM]):
                own *= spans[term_span[term]]
            distinct[prices[s, VALUE]] = max(distinct[prices[s, VALUE]], own)
    stays = held > 0
    taken = 0
    while True:
        smallest = -1
        for value in range(held.shape[0]):
            again = not stays[value] and distinct[value] < total[value]
            if again and (smallest < 0 or distinct[value] < distinct[smallest]):
                smallest = value
        if smallest < 0 or taken + distinct[smallest] > room:
            break
        stays[smallest] = True
        taken += distinct[smallest]
    for value in range(held.shape[0]):
        distinct[value] = max(0, distinct[value] - held[value]) if stays[value] else total[value]
    return total, distinct, taken


@compiled
def covered(lows: Ints, widths: Ints) -> int:
    """How many distinct places the intervals [low, low + width) cover.

    Exact where they ascend, as tiles do in all but reversed maps; there the hull.
    """
    places = 0
    reached, least, most = 0, 1 << 62, 0
    ascending, before = True, 0
    for i in range(lows.shape[0]):
        if widths[i] > 0:
            ascending = ascending and lows[i] >= before
            before = lows[i]
            end = lows[i] + widths[i]
            places += max(0, end - max(reached, lows[i]))
            reached = max(reached, end)
            least, most = min(least, lows[i]), max(most, end)
    return places if ascending else most - least
