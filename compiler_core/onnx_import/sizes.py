"""Networks with a size for every dim, and the sizes that a range holds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.ir.dims import at_sizes, symbols_in
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.onnx_import.feeds import deciding_inputs, draw_feeds, extents_decided
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model

MOST_SIZES = 1 << 20
"""The widest range."""
DRAWN = 0
"""The seed of the inputs that decide sizes."""


def import_bound(
    model: str | Path, dims: Mapping[str, int] | None, inputs: Mapping[str, Given] | None = None
) -> ImportedModel:
    """The network of an ONNX file with a size for every dim, and the values of `inputs` bound.

    Sizes that only data decide and `dims` leaves out are those of a run on inputs that are drawn, always the
    same; what decides them is `presumed`. UsageError names the dims that have no size otherwise.
    """
    imported = import_model(Path(model), dims, inputs)
    if missing := sorted(imported.graph.symbols - imported.decided):
        example = " ".join(f"--dim {name}=1" for name in missing)
        raise UsageError(
            f"model {imported.name} has dims without a value: {', '.join(missing)}; give {example}"
        )
    if not imported.decided:
        return imported
    feeds = draw_feeds(imported, DRAWN)
    drawn = extents_decided(imported, feeds)
    bound = import_model(Path(model), {**(dims or {}), **drawn}, inputs)
    held = {name: feeds[name] for name in deciding_inputs(imported)}
    return replace(bound, drawn=drawn, presumed={**held, **bound.presumed})


def sizes_in_range(
    model: Path,
    dims: Mapping[str, int],
    symbol: str,
    low: int,
    high: int,
    *,
    inputs: Mapping[str, Given] | None = None,
) -> Sequence[int]:
    """The sizes low..high of `symbol` that a network can have, its other dims as in `dims`.

    All of them are taken to be legal, if both ends are, where a network can only be imported with every dim
    bound. UsageError for a dim that the network has not, or another one without a size.
    """
    try:
        imported = import_model(model, dims, inputs)
    except ModelError:
        for size in (low, high):
            import_bound(model, {**dims, symbol: size}, inputs)
        return range(low, high + 1)
    dims_open = sorted(imported.graph.symbols - imported.decided)
    if symbol not in dims_open:
        raise UsageError(f"the model has no dim {symbol!r} to range; it has {', '.join(dims_open) or 'none'}")
    if others := [name for name in dims_open if name != symbol]:
        raise UsageError(
            f"one dim can be ranged at a time; give {', '.join(others)} a value with --dim NAME=VALUE"
        )
    return legal_sizes(imported.graph, symbol, low, high)


def legal_sizes(graph: Graph, symbol: str, low: int, high: int) -> Sequence[int]:
    """The sizes low..high of a symbol of `graph` at which its ops agree, ascending.

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
        if symbols_in((left, right)) != {symbol}:  # data decide too
            continue
        legal &= at_sizes(left, symbol, sizes) == at_sizes(right, symbol, sizes)
    for dim in {dim for value in graph.values for dim in value.shape if symbols_in((dim,)) == {symbol}}:
        legal &= at_sizes(dim, symbol, sizes) >= 0
    if legal.all():
        return range(low, high + 1)
    if not legal.any():
        raise UsageError(f"--dim {symbol}={low}..{high} holds no size at which the ops of the model agree")
    return tuple(sizes[legal].tolist())
