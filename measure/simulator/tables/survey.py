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
    Ints,
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


@compiled
def survey(
    counts: Ints,
    dims: Ints,
    parallel_levels: int,
    cores: int,
    steps: Ints,
    prices: Ints,
    moves: Ints,
    widths: Ints,
    shapes: Ints,
    term_span: Ints,
    classes: Ints,
    class_start: Ints,
    example: Ints,
    members: Ints,
    example_start: Ints,
) -> tuple[Ints, Ints, Ints]:
    """Entries of a kernel and how often each fires; fills DEPTH and ENTRY of `steps`.

    `counts[l]` tiles at level l of the nest, which is dim `dims[l]` of the interval tables; `classes`,
    `example` and `members` are those of all levels, one after the other. Returns

        strides      [steps, levels]    entry = ENTRY + (strides . classes)
        lengths      [entries, terms]   the factors of the size of every entry
        costs        [entries, columns] the cost table with FIRINGS filled in, over all cores
    """
    levels = counts.shape[0]
    span_start, span_stride = _table_strides(shapes)
    strides = np.zeros((steps.shape[0], levels), dtype=np.int64)
    # First pass: number the entries of each step, one per combination of classes of the levels it moves with.
    entries = 0
    most_terms = 1
    for s in range(steps.shape[0]):
        steps[s, ENTRY] = entries
        steps[s, DEPTH] = -1
        own = 1
        for level in range(levels - 1, -1, -1):
            if moves[s, dims[level]] != 0:
                if steps[s, DEPTH] < 0:
                    steps[s, DEPTH] = level
                strides[s, level] = own
                own *= example_start[level + 1] - example_start[level]
        entries += own
        most_terms = max(most_terms, prices[s, LAST_TERM] - prices[s, FIRST_TERM])

    # Second pass: firings and factors of every entry, from one example tile of each class.
    lengths = np.zeros((entries, most_terms), dtype=np.int64)
    costs = np.zeros((entries, COST_COLUMNS), dtype=np.int64)
    index = np.zeros(shapes.shape[1], dtype=np.int64)
    for s in range(steps.shape[0]):
        last = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else entries
        for entry in range(steps[s, ENTRY], last):
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
                span = term_span[term]
                at = span_start[span]
                for dim in range(shapes.shape[1]):
                    at += span_stride[span, dim] * index[dim]
                lengths[entry, term - prices[s, FIRST_TERM]] = widths[at]
            index[:] = 0
    _fire_at_borders(counts, parallel_levels, cores, steps, strides, classes, class_start, costs)
    return strides, lengths, costs


@jitable
def _table_strides(shapes: Ints) -> tuple[Ints, Ints]:
    """Where each interval table starts, and its stride along every dim (0 where it does not move)."""
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
def _fire_at_borders(
    counts: Ints,
    parallel_levels: int,
    cores: int,
    steps: Ints,
    strides: Ints,
    classes: Ints,
    class_start: Ints,
    costs: Ints,
) -> None:
    """Count the loads that a core repeats because the core before it made them for its own tiles."""
    tiles = 1
    for level in range(parallel_levels):
        tiles *= counts[level]
    index = np.zeros(parallel_levels, dtype=np.int64)
    for core in range(1, cores):
        first = core * tiles // cores
        if first == 0 or first == (core + 1) * tiles // cores:
            continue
        rest = first
        changed = -1
        for level in range(parallel_levels - 1, -1, -1):
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
