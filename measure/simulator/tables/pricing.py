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
    Around,
    Chip,
    Entries,
    Ints,
    Levels,
    Spans,
    StepPrices,
)
from tilewright.measure.simulator.tables.survey import survey

_ROLES = 6
_SETUP, _LATENCY = units.SETUP, units.LATENCY
_matrix_cycles = jitable(units.matrix_cycles)
_vector_cycles = jitable(units.vector_cycles)
_moved_bytes = jitable(units.moved_bytes)
_stream_cycles = jitable(units.stream_cycles)


@compiled
def costs_of(
    cores: int,
    levels: Levels,
    spans: Spans,
    plan: StepPrices,
    steps: Ints,
    moves: Ints,
    chip: Chip,
    around: Around,
) -> tuple[Ints, Ints, Ints, int]:
    """The entries of a kernel, their numbers of firings (survey.py) and their costs.

    Returns `strides`, `lengths` and `costs` as `Entries` has them, and the bytes of the LLB that are taken.
    Fills DEPTH, ENTRY and ENGINE of `steps`. One call for both: passing the tables takes as long as they do.
    """
    entries = survey(cores, levels, spans, plan, steps, moves)
    taken = price(entries, plan, spans, chip, around)
    return entries.strides, entries.lengths, entries.costs, taken


@jitable
def price(entries: Entries, plan: StepPrices, spans: Spans, chip: Chip, around: Around) -> int:
    """Fill the cost table of `entries`, and the ENGINE of contractions in its steps.

    Returns the bytes of the LLB that are taken.
    """
    on_vector = _price_work(entries, plan, chip)
    _choose_units(entries, plan, chip, on_vector)
    # Only now are the sizes of all loads known, which decide what stays in the LLB.
    total, distinct, taken = _residency(entries, plan.prices, spans, around)
    _price_transfers(entries, plan, chip, around.sharers, total, distinct)
    if around.conflict_percent > 0:
        _meet_in_banks(entries, plan, around)
    return taken


# Each of these unpacks its tables before it loops: a field of a tuple of arrays costs time at every use.


@jitable
def _price_work(entries: Entries, plan: StepPrices, chip: Chip) -> Ints:
    """The bytes or operations of every entry; returns the cycles of contractions on the vector unit."""
    steps, lengths, costs = entries.steps, entries.lengths, entries.costs
    prices, role_of_term, fetches, ways = plan.prices, plan.role_of_term, plan.fetches, plan.ways
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
                lane_ops, lanes = prices[s, LANE_OPS], prices[s, LANES]
                costs[entry, LANE_WORK] = points * lane_ops
                costs[entry, BUSY] = _vector_cycles(points, lane_ops, lanes, chip.start_up)
            elif prices[s, KIND] == CONTRACTION:
                role = np.ones(_ROLES, dtype=np.int64)
                for term in range(first, last):
                    role[role_of_term[term]] *= length[term - first]
                costs[entry, MACS] = points
                on_vector[entry] = _vector_cycles(points, 1, prices[s, LANES], chip.start_up)
                if prices[s, LAST_WAY] > prices[s, FIRST_WAY]:
                    table = ways[prices[s, FIRST_WAY] : prices[s, LAST_WAY]]
                    costs[entry, BUSY] = _matrix_cycles(
                        role[0], role[1], role[2], role[3], role[4], role[5], table
                    )
    return on_vector


@jitable
def _choose_units(entries: Entries, plan: StepPrices, chip: Chip, on_vector: Ints) -> None:
    """The unit of every contraction, one for all its entries: the faster one over all its firings."""
    steps, costs, prices = entries.steps, entries.costs, plan.prices
    for s in range(steps.shape[0]):
        if prices[s, KIND] != CONTRACTION:
            continue
        end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
        gain = 0
        for entry in range(steps[s, ENTRY], end):
            gain += costs[entry, FIRINGS] * (costs[entry, BUSY] - on_vector[entry])
        steps[s, ENGINE] = MATRIX
        has_ways = prices[s, LAST_WAY] > prices[s, FIRST_WAY]
        if not has_ways or (chip.vector_contracts and gain > 0):
            steps[s, ENGINE] = VECTOR
            for entry in range(steps[s, ENTRY], end):
                costs[entry, BUSY] = on_vector[entry]
                costs[entry, LANE_WORK] = costs[entry, MACS]
                costs[entry, MACS] = 0


@jitable
def _price_transfers(
    entries: Entries, plan: StepPrices, chip: Chip, sharers: int, total: Ints, distinct: Ints
) -> None:
    """The time of every load and store: the slower of the near and the far port.

    Over the near port (the LLB) go all its bytes; over the far one (DRAM), where the value stays in the LLB,
    its share of the distinct ones.
    """
    steps, lengths, costs = entries.steps, entries.lengths, entries.costs
    prices, extent, memories = plan.prices, plan.extent_of_term, chip.memories
    for s in range(steps.shape[0]):
        if prices[s, KIND] != TRANSFER:
            continue
        first, last, value = prices[s, FIRST_TERM], prices[s, LAST_TERM], prices[s, VALUE]
        end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
        for entry in range(steps[s, ENTRY], end):
            size = costs[entry, SIZE]
            if size <= 0:
                continue
            run = size
            if prices[s, PACKED] == 0:
                run = prices[s, ELEMENT_BYTES] * _run(
                    lengths[entry], extent[first:last], prices[s, BLOCKED], prices[s, BLOCK]
                )
            far_size = size
            if prices[s, FAR] == NO_TABLE:
                far_size = 0
            elif prices[s, HOLDABLE] != 0 and distinct[value] < total[value]:
                far_size = -(-far_size * distinct[value] // total[value])
            costs[entry, FAR_SIZE] = far_size
            crossing, setup, latency = 0, 0, 0
            if prices[s, NEAR] != NO_TABLE:
                table = memories[prices[s, NEAR]]
                moved = _moved_bytes(size, run, table)
                costs[entry, NEAR_MOVED] = moved
                crossing = _stream_cycles(moved, sharers, table)
                setup, latency = table[_SETUP], table[_LATENCY]
            if far_size > 0:
                table = memories[prices[s, FAR]]
                moved = _moved_bytes(size, run, table)
                moved = -(-moved * far_size // size)
                costs[entry, FAR_MOVED] = moved
                crossing = max(crossing, _stream_cycles(moved, sharers, table))
                setup, latency = table[_SETUP], max(latency, table[_LATENCY])
            costs[entry, BUSY] = setup + crossing
            costs[entry, LATENCY] = latency


@jitable
def _meet_in_banks(entries: Entries, plan: StepPrices, around: Around) -> None:
    """Tiles take longer where their rows lie a multiple of `conflict_bytes` apart: they meet in one bank."""
    steps, costs, prices = entries.steps, entries.costs, plan.prices
    for s in range(steps.shape[0]):
        if prices[s, LAST_FETCH] <= prices[s, FIRST_FETCH]:
            continue
        fetch = plan.fetches[prices[s, LAST_FETCH] - 1]
        end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
        for entry in range(steps[s, ENTRY], end):
            pitch = fetch[1] * _innermost(entries.lengths[entry], fetch[0])
            if pitch > 0 and pitch % around.conflict_bytes == 0:
                costs[entry, BUSY] += costs[entry, BUSY] * around.conflict_percent // 100


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
def _residency(entries: Entries, prices: Ints, spans: Spans, around: Around) -> tuple[Ints, Ints, int]:
    """Bytes loaded of every value, how many of them come over the far port, and the room taken.

    What is read again stays while there is room, smallest first. The first two are the same for what is read
    once or does not stay; else the latter are the distinct bytes
    that are not held yet.
    """
    steps, costs, held, room = entries.steps, entries.costs, around.held, around.room
    places, of_term = spans.places, spans.of_term
    total = np.zeros(held.shape[0], dtype=np.int64)
    distinct = np.zeros(held.shape[0], dtype=np.int64)
    for s in range(steps.shape[0]):
        if prices[s, KIND] == TRANSFER and prices[s, HOLDABLE] != 0:
            end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
            for entry in range(steps[s, ENTRY], end):
                total[prices[s, VALUE]] += costs[entry, FIRINGS] * costs[entry, SIZE]
            own = prices[s, ELEMENT_BYTES]
            for term in range(prices[s, FIRST_TERM], prices[s, LAST_TERM]):
                own *= places[of_term[term]]
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
    """The number of distinct places that the intervals [low, low + width) cover.

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
