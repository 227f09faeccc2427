"""Networks with a size for every dim, and the sizes that a range holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.ir.dims import at_sizes, symbols_in
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.onnx_import.feeds import deciding_inputs, draw_feeds, extents_decided
from tilewright.compiler_core.onnx_import.importer import ImportedModel, dims_there, import_model

MOST_SIZES = 1 << 20
"""The widest range."""
DRAWN = 0
"""The seed of the inputs that decide sizes."""


class OpenDimsError(UsageError):
    """Dims of a network, `names`, have no size."""

    def __init__(self, names: Sequence[str], message: str) -> None:
        super().__init__(message)
        self.names = tuple(names)


def import_bound(
    model: str | Path, dims: Mapping[str, int] | None, inputs: Mapping[str, Given] | None = None
) -> ImportedModel:
    """The network of an ONNX file with a size for every dim, and the values of `inputs` bound.

    Sizes that only data decide and `dims` leaves out are those of a run on inputs that are drawn, always the
    same; what decides them is `presumed`. OpenDimsError names the dims that have no size otherwise.
    """
    imported = import_model(Path(model), dims, inputs)
    if missing := sorted(imported.graph.symbols - imported.decided):
        example = " ".join(f"--dim {name}=1" for name in missing)
        raise OpenDimsError(
            missing, f"model {imported.name} has dims without a value: {', '.join(missing)}; give {example}"
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

    Where a network can only be imported with every dim bound, and where it is refused at an end for a reason
    that its extents do not tell, sizes between two that are imported are taken to be legal. ModelError where
    no size is found that is; UsageError for a dim that the network has not, OpenDimsError for others
    without a size.
    """
    if high - low >= MOST_SIZES:
        raise UsageError(
            f"--dim {symbol}={low}..{high} has more than {MOST_SIZES} sizes; give a narrower range"
        )

    def refusal(size: int) -> ModelError | None:
        return _refusal(model, dims, symbol, size, inputs)

    try:
        imported = import_model(model, dims, inputs)
    except ModelError:
        return _between_imported(range(low, high + 1), refusal)
    dims_open = sorted(imported.graph.symbols - imported.decided)
    if symbol not in dims_open:
        shapes = {name: imported.graph.values[value].shape for name, value in imported.inputs}
        had = dims_there(dims_open or dims.keys(), shapes)
        raise UsageError(f"the model has no dim {symbol!r} to range; it has {had}")
    if others := [name for name in dims_open if name != symbol]:
        raise OpenDimsError(
            others, f"one dim can be ranged at a time; give {', '.join(others)} a value with --dim NAME=VALUE"
        )
    legal = legal_sizes(imported.graph, symbol, low, high)
    if not legal:
        why = refusal(high) or "its ops do not agree"
        raise UsageError(
            f"--dim {symbol}={low}..{high} holds no size that the model can have; at {high}: {why}"
        )
    return _between_imported(legal, refusal)


def _refusal(
    model: Path, dims: Mapping[str, int], symbol: str, size: int, inputs: Mapping[str, Given] | None
) -> ModelError | None:
    """Why the network cannot be imported at one size; None where it can."""
    try:
        import_bound(model, {**dims, symbol: size}, inputs)
    except ModelError as error:
        return error
    return None


def _between_imported(sizes: Sequence[int], refusal: Callable[[int], ModelError | None]) -> Sequence[int]:
    """`sizes` from the least to the largest at which the network is imported, found by halving."""
    last = len(sizes) - 1
    refused = {at: why for at in (0, last) if (why := refusal(sizes[at])) is not None}
    if not refused:
        return sizes
    probes = [last * odd // parts for parts in (1, 2, 4, 8, 16) for odd in range(1, parts + 1, 2)]
    good = next((at for at in (0, *probes) if at not in refused and refusal(sizes[at]) is None), None)
    if good is None:
        raise refused[min(refused)]

    def edge(bad: int, good: int) -> int:
        while abs(good - bad) > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if refusal(sizes[middle]) is None else (good, middle)
        return good

    first = edge(0, good) if 0 in refused else 0
    return sizes[first : (edge(last, good) if last in refused else last) + 1]


def left_out(
    model: Path,
    dims: Mapping[str, int],
    symbol: str,
    ends: tuple[int, int],
    sizes: Sequence[int],
    inputs: Mapping[str, Given] | None = None,
) -> str:
    """The sizes between `ends` that are not in `sizes`, and why, in one line; empty where none is missing.

    height 1..6 left out: node 'c' (MaxPool): spatial dim 0: a window of 3 does not fit an input of 2 ...
    """
    low, high = ends
    holes = sizes[-1] - sizes[0] + 1 - len(sizes)
    outside = [
        text
        for first, last in ((low, sizes[0] - 1), (sizes[-1] + 1, high))
        if (text := f"{first}" if first == last else f"{first}..{last}") and first <= last
    ]
    if holes:
        shown = [*sizes[:2], "..", sizes[-1]] if len(sizes) > 3 else sizes
        text = f"all sizes but {', '.join(map(str, shown)).replace(', ..,', ' ..')}"
        example = next(size for size in range(sizes[0], sizes[-1]) if size not in sizes)
    elif outside:
        text = " and ".join(outside)
        example = sizes[0] - 1 if low < sizes[0] else sizes[-1] + 1
    else:
        return ""
    why = _refusal(model, dims, symbol, example, inputs)
    return f"{symbol} {text} left out: {why or 'the ops of the model do not agree there'}"


def legal_sizes(graph: Graph, symbol: str, low: int, high: int) -> Sequence[int]:
    """The sizes low..high of a symbol of `graph` at which its ops agree and its windows fit, ascending.

    A network that halves a height five times and doubles it again takes multiples of 32.
    """
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
        return ()
    first, last = np.flatnonzero(legal)[[0, -1]].tolist()
    if legal[first : last + 1].all():
        return range(low + first, low + last + 1)
    return tuple(sizes[legal].tolist())
