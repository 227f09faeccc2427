"""The sizes of a range that a network can have, and those that stand for the others."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import isqrt
from pathlib import Path

import numpy as np

from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.ir.dims import at_sizes, symbols_in
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.tuner.network.session import require_bound

MOST_SIZES = 1 << 20
"""The widest range."""
MOST_TUNED = 5
"""Sizes of a range that are tuned."""
LEAST_STEP = 2
"""Ratio of neighbouring sizes below which a range has fewer of them."""


def sizes_in_range(model: Path, dims: Mapping[str, int], symbol: str, low: int, high: int) -> Sequence[int]:
    """The sizes low..high of `symbol` that a network can have, its other dims as in `dims`.

    All of them are taken to be legal, if both ends are, where a network can only be imported with every dim
    bound. UsageError for a dim that the network has not, or another one without a size.
    """
    try:
        graph = import_model(model, dims).graph
    except ModelError:
        for size in (low, high):
            require_bound(import_model(model, {**dims, symbol: size}))
        return range(low, high + 1)
    if symbol not in graph.symbols:
        raise UsageError(
            f"the model has no dim {symbol!r} to range; it has {', '.join(sorted(graph.symbols)) or 'none'}"
        )
    if others := sorted(graph.symbols - {symbol}):
        raise UsageError(
            f"one dim can be ranged at a time; give {', '.join(others)} a value with --dim NAME=VALUE"
        )
    return legal_sizes(graph, symbol, low, high)


def legal_sizes(graph: Graph, symbol: str, low: int, high: int) -> Sequence[int]:
    """The sizes low..high of the only symbol of `graph` at which its ops agree, ascending.

    A network that halves a height five times and doubles it again takes multiples of 32. UsageError for a
    range that is too wide, or holds no such size.
    """
    if high - low >= MOST_SIZES:
        raise UsageError(
            f"--dim {symbol}={low}..{high} has more than {MOST_SIZES} sizes; give a narrower range"
        )
    sizes = np.arange(low, high + 1, dtype=np.int64)
    legal = np.ones(len(sizes), dtype=np.bool_)
    for left, right in graph.constraints:
        legal &= at_sizes(left, symbol, sizes) == at_sizes(right, symbol, sizes)
    for dim in {dim for value in graph.values for dim in value.shape if symbols_in((dim,))}:
        legal &= at_sizes(dim, symbol, sizes) >= 0
    if legal.all():
        return range(low, high + 1)
    if not legal.any():
        raise UsageError(f"--dim {symbol}={low}..{high} holds no size at which the ops of the model agree")
    return tuple(sizes[legal].tolist())


def representatives(sizes: Sequence[int], most: int = MOST_TUNED) -> tuple[int, ...]:
    """Both ends of `sizes` and some between at equal ratios: 1..2048 -> 1 7 45 304 2048.

    0 has no ratio to anything: it stands beside those from 1 on.
    """
    low, high = sizes[0], sizes[-1]
    if low == 0:
        return (0, *representatives(sizes[1:], most - 1)) if high else (0,)
    steps = 1
    while steps < most - 1 and low * LEAST_STEP ** (steps + 1) <= high:
        steps += 1
    wanted = [round(low * (high / low) ** (at / steps)) for at in range(steps + 1)]
    return tuple(sorted({nearest(sizes, size) for size in wanted}))


def middle_of(sizes: Sequence[int], low: int, high: int) -> int:
    """The one of `sizes` in the middle of low..high by ratio, below `high`; that itself where none is."""
    first, last = bisect_left(sizes, low), bisect_left(sizes, high)
    inside = sizes[first:last]
    return nearest(inside, isqrt(max(low, 1) * high)) if inside else high


def nearest(sizes: Sequence[int], size: int) -> int:
    """The one of `sizes` nearest to `size`, the smaller of two."""
    at = bisect_left(sizes, size)
    return min(sizes[max(at - 1, 0) : at + 1], key=lambda each: (abs(each - size), each))
