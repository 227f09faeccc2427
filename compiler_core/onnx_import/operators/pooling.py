"""Pooling: folds over a window, global ones over all spatial dims."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import affine, axis_index
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.window import Window, positive, window_of


def fold_window(context: Context, kind: str, x: Tensor, window: Window, pad: float) -> Tensor:
    """Fold `kind` over a window of the spatial dims of x [N, C, ...]."""
    spatial = len(window.outputs)
    exprs = [axis_index(0), axis_index(1), *window.exprs(2, 2 + spatial)]
    domain = [*x.shape[:2], *window.outputs, *window.kernel]
    return context.builder.op(kind, domain, [(x, exprs, pad)], x.dtype, reduced=spatial)


def _pool_window(context: Context, node: Node, x: Tensor) -> Window:
    if x.rank < 3:
        raise ModelError(f"input of rank {x.rank} has no spatial dims to pool")
    kernel = positive(node, "kernel_shape", x.rank - 2)
    return window_of(context, node, x.shape[2:], kernel, ceil_mode=bool(node.integer("ceil_mode", 0)))


def _max_pool(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    x = required(inputs, 0)
    window = _pool_window(context, node, x)
    y = fold_window(context, "max", x, window, -math.inf)
    if len(node.outputs) < 2 or not node.outputs[1]:
        return [y]
    return [y, _max_positions(context, node, x, y, window)]


MOST_POSITIONS = 1 << 31
"""Elements of an array whose positions count by columns."""


def _max_positions(context: Context, node: Node, x: Tensor, y: Tensor, window: Window) -> Tensor:
    """Flat index of the first maximum of each window: the least position whose element equals it.

    The first is that of rows, also where the index is one of columns: then a position holds both.
    """
    builder = context.builder
    column_major = node.integer("storage_order", 0) == 1
    spatial = len(window.outputs)

    def flat(extents: tuple[int, ...]) -> Array:
        numbers = np.arange(int(np.prod(extents[2:], dtype=np.int64)))
        rows = numbers.reshape(extents[2:])
        columns = numbers.reshape(extents[2:], order="F")
        base = np.arange(extents[0] * extents[1]).reshape(extents[0], extents[1], *[1] * spatial)
        position = base * numbers.size + (columns if column_major else rows)
        return np.asarray(rows * MOST_POSITIONS + position if column_major else position)

    positions = builder.table(x.shape, DType.I64, flat)
    exprs = [axis_index(0), axis_index(1), *window.exprs(2, 2 + spatial)]
    domain = [*x.shape[:2], *window.outputs, *window.kernel]
    read_x = builder.op("move", domain, [(x, exprs, -math.inf)], x.dtype)
    read_position = builder.op("move", domain, [(positions, exprs, math.inf)], DType.I64)
    largest = builder.reshape(y, (*y.shape, *[1] * spatial))
    equal = builder.elementwise("equal", read_x, largest, dtype=DType.BOOL)
    never = builder.scalar(np.iinfo(np.int64).max, DType.I64)
    candidates = builder.elementwise("where", equal, read_position, never)
    first = builder.reduce("min", candidates, range(2 + spatial, 2 + 2 * spatial), keep=False)
    return builder.with_number("mod", first, MOST_POSITIONS) if column_major else first


def _average_pool(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    window = _pool_window(context, node, x)
    builder = context.builder
    total = fold_window(context, "sum", x, window, 0.0)
    plain = all(pad == 0 for pad in (*window.begins, *window.ends)) and not node.integer("ceil_mode", 0)
    if plain:
        return builder.with_number("div", total, math.prod(window.kernel))
    include = bool(node.integer("count_include_pad", 0))
    counts: Tensor | None = None
    for index in range(len(window.outputs)):
        column = _tap_counts(context, x.shape[2 + index], window, index, include, x.dtype)
        column = builder.reshape(column, (*column.shape, *[1] * (len(window.outputs) - index - 1)))
        counts = column if counts is None else builder.elementwise("mul", counts, column)
    return total if counts is None else builder.elementwise("div", total, counts)


def _tap_counts(context: Context, size: Dim, window: Window, at: int, include: bool, dtype: DType) -> Tensor:
    """The number of taps that count, for each window of spatial dim `at`: those inside the input, or the
    padded input.
    """
    builder = context.builder
    stride, dilation, taps = window.strides[at], window.dilations[at], window.kernel[at]
    begin, end = window.begins[at], window.ends[at]
    first: Dim = begin * -1 if include else 0
    last: Dim = size + end if include else size
    limits = builder.extents([first, last, begin], (3,), DType.I64)

    def count(outputs: int, numbers: Array) -> Array:
        low, high, padding = numbers.tolist()
        index = np.arange(outputs)[:, None] * stride + np.arange(taps) * dilation - padding
        return np.asarray(((index >= low) & (index < high)).sum(axis=1))

    return builder.derived_table((window.outputs[at],), dtype, [limits], lambda s, a: count(s[0], a[0]))


def _global(kind: str) -> Build:
    def build(context: Context, node: Node, inputs: Inputs) -> Tensor:
        x, builder = required(inputs, 0), context.builder
        if x.rank < 3:
            raise ModelError(f"input of rank {x.rank} has no spatial dims to pool")
        spatial = range(2, x.rank)
        folded = builder.reduce("max" if kind == "max" else "sum", x, spatial, keep=True)
        if kind == "max":
            return folded
        return builder.elementwise("div", folded, builder.count(x.shape[2:], x.dtype), dtype=x.dtype)

    return build


def _lp_pool(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    power = node.integer("p", 2)
    window = _pool_window(context, node, x)
    raised = _raised(context, x, power)
    return _root(context, fold_window(context, "sum", raised, window, 0.0), power)


def _global_lp_pool(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    power = node.integer("p", 2)
    return _root(
        context, builder.reduce("sum", _raised(context, x, power), range(2, x.rank), keep=True), power
    )


def _raised(context: Context, x: Tensor, power: int) -> Tensor:
    if power == 2:
        return context.builder.elementwise("mul", x, x)
    return context.builder.with_number("pow", context.builder.elementwise("abs", x), power)


def _root(context: Context, x: Tensor, power: int) -> Tensor:
    return (
        context.builder.elementwise("sqrt", x)
        if power == 2
        else context.builder.with_number("pow", x, 1 / power)
    )


def _lrn(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """X / (bias + alpha / size * sum of squares over `size` channels around) ** beta."""
    x, builder = required(inputs, 0), context.builder
    size = node.integer("size")
    if size < 1:
        raise ModelError(f"size {size} must be at least 1")
    squares = builder.elementwise("mul", x, x)
    exprs = [axis_index(dim) for dim in range(x.rank)]
    exprs[1] = affine((1, 1), (x.rank, 1), offset=-((size - 1) // 2))
    total = builder.op("sum", [*x.shape, size], [(squares, exprs, 0.0)], x.dtype, reduced=1)
    scaled = builder.with_number("mul", total, node.number("alpha", 1e-4) / size)
    base = builder.with_number("add", scaled, node.number("bias", 1.0))
    return builder.elementwise("div", x, builder.with_number("pow", base, node.number("beta", 0.75)))


POOLING: Mapping[str, Build] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global("mean"),
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": _global("max"),
    "LRN": _lrn,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
