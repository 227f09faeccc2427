"""Classes of a kernel's tiles, and how often each step meets each class. Two tiles of a loop are in one class
when every interval has the same width in both. A step then has one cost for each combination of classes of
the loops it moves with, its *entries*. How often an entry fires needs no timeline: a step fires once for
every position of the loops down to the innermost one it moves with, and once more where a core's run of tiles
starts in the middle of such a position.
"""

import numpy as np

from tilewright.compiler_core.compiled import compiled, jitable
from tilewright.measure.simulator.tables.layout import (
    COST_COLUMNS,
    DEPTH,
    ENTRY,
    FIRINGS,
    FIRST_TERM,
    LAST_TERM,
    Entries,
    Ints,
    Levels,
    Spans,
    StepPrices,
)


@compiled
def classify(dim: int, widths: Ints, shapes: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """The classes of the tiles of one loop, dim `dim` of the interval tables that move with it.

    The tables' widths lie one after the other in `widths`, with the shapes `shapes[table, dim]`. Returns

        classes   [tiles]    class of every tile, numbered in order of appearance
        until     [tiles]    how many tiles of the same class follow in a row, itself included
        example   [classes]  the first tile of a class
        members   [classes]  how many tiles it has
    """
    tiles = 1
    for table in range(shapes.shape[0]):
        tiles = max(tiles, shapes[table, dim])
    start, stride = _table_strides(shapes)
    classes = np.zeros(tiles, dtype=np.int64)
    until = np.ones(tiles, dtype=np.int64)
    example = np.zeros(tiles, dtype=np.int64)
    members = np.zeros(tiles, dtype=np.int64)
    found = count = 0
    for i in range(tiles):
        if i == 0 or not _alike(i, example[found], dim, widths, shapes, start, stride):
            found = 0
            while found < count and not _alike(i, example[found], dim, widths, shapes, start, stride):
                found += 1
            if found == count:
                example[found] = i
                count += 1
        classes[i] = found
        members[found] += 1
    for i in range(tiles - 2, -1, -1):
        if classes[i] == classes[i + 1]:
            until[i] = until[i + 1] + 1
    return classes, until, example[:count].copy(), members[:count].copy()


@jitable
def survey(cores: int, levels: Levels, spans: Spans, plan: StepPrices, steps: Ints, moves: Ints) -> Entries:
    """Entries of a kernel and how often each fires over all `cores`; fills DEPTH and ENTRY of `steps`.

    `moves[s, d]` says whether step s moves with dim d of the interval tables.
    """
    counts, dims, prices = levels.counts, levels.dims, plan.prices
    example, members, example_start = levels.example, levels.members, levels.example_start
    strides, entries = _entries(levels, steps, moves)
    most_terms = 1
    for s in range(steps.shape[0]):
        most_terms = max(most_terms, prices[s, LAST_TERM] - prices[s, FIRST_TERM])
    # Firings and factors of every entry, from one example tile of each class.
    lengths = np.zeros((entries, most_terms), dtype=np.int64)
    costs = np.zeros((entries, COST_COLUMNS), dtype=np.int64)
    shapes, widths, of_term = spans.shapes, spans.widths, spans.of_term
    span_start, span_stride = _table_strides(shapes)
    index = np.zeros(shapes.shape[1], dtype=np.int64)
    for s in range(steps.shape[0]):
        end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else entries
        for entry in range(steps[s, ENTRY], end):
            firings = 1
            for level in range(steps[s, DEPTH] + 1):
                if strides[s, level] > 0:
                    kinds = example_start[level + 1] - example_start[level]
                    at = (entry - steps[s, ENTRY]) // strides[s, level] % kinds
                    index[dims[level]] = example[example_start[level] + at]
                    firings *= members[example_start[level] + at]
                else:
                    firings *= counts[level]
            costs[entry, FIRINGS] = firings
            for term in range(prices[s, FIRST_TERM], prices[s, LAST_TERM]):
                span = of_term[term]
                at = span_start[span]
                for dim in range(shapes.shape[1]):
                    at += span_stride[span, dim] * index[dim]
                lengths[entry, term - prices[s, FIRST_TERM]] = widths[at]
            index[:] = 0
    _fire_at_borders(cores, levels, steps, strides, costs)
    return Entries(steps, strides, lengths, costs)


@jitable
def _entries(levels: Levels, steps: Ints, moves: Ints) -> tuple[Ints, int]:
    """The strides of every step over the classes of the levels that it moves with, and how many entries there
    are; fills DEPTH and ENTRY of `steps`.
    """
    dims, example_start = levels.dims, levels.example_start
    strides = np.zeros((steps.shape[0], dims.shape[0]), dtype=np.int64)
    # One entry for each combination of classes of the levels that a step moves with.
    entries = 0
    for s in range(steps.shape[0]):
        steps[s, ENTRY] = entries
        steps[s, DEPTH] = -1
        own = 1
        for level in range(dims.shape[0] - 1, -1, -1):
            if moves[s, dims[level]] != 0:
                if steps[s, DEPTH] < 0:
                    steps[s, DEPTH] = level
                strides[s, level] = own
                own *= example_start[level + 1] - example_start[level]
        entries += own
    return strides, entries


@jitable
def _table_strides(shapes: Ints) -> tuple[Ints, Ints]:
    """The start of each interval table, and its stride along every dim (0 if it does not move)."""
    start = np.zeros(shapes.shape[0] + 1, dtype=np.int64)
    stride = np.zeros(shapes.shape, dtype=np.int64)
    for span in range(shapes.shape[0]):
        size = 1
        for dim in range(shapes.shape[1] - 1, -1, -1):
            if shapes[span, dim] > 1:
                stride[span, dim] = size
                size *= shapes[span, dim]
        start[span + 1] = start[span] + size
    return start, stride


@jitable
def _alike(i: int, j: int, dim: int, widths: Ints, shapes: Ints, span_start: Ints, span_stride: Ints) -> bool:
    """Whether every interval that moves with a loop has the same widths at its tiles i and j."""
    for span in range(shapes.shape[0]):
        tiles = shapes[span, dim]
        if tiles == 1:
            continue
        stride = span_stride[span, dim]
        for outer in range(span_start[span], span_start[span + 1], tiles * stride):
            for inside in range(stride):
                if widths[outer + i * stride + inside] != widths[outer + j * stride + inside]:
                    return False
    return True


@jitable
def _fire_at_borders(cores: int, levels: Levels, steps: Ints, strides: Ints, costs: Ints) -> None:
    """Count again what a core has to do again because the core before it did it for its own tiles."""
    counts, parallel = levels.counts, levels.parallel
    classes, class_start = levels.classes, levels.class_start
    tiles = 1
    for level in range(parallel):
        tiles *= counts[level]
    index = np.zeros(parallel, dtype=np.int64)
    for core in range(1, cores):
        first = core * tiles // cores
        if first == 0 or first == (core + 1) * tiles // cores:
            continue
        rest = first
        changed = -1
        for level in range(parallel - 1, -1, -1):
            index[level] = rest % counts[level]
            rest //= counts[level]
            if index[level] > 0 and changed < 0:
                changed = level
        for s in range(steps.shape[0]):
            if steps[s, DEPTH] < changed:
                entry = steps[s, ENTRY]
                for level in range(steps[s, DEPTH] + 1):
                    entry += strides[s, level] * classes[class_start[level] + index[level]]
                costs[entry, FIRINGS] += 1
