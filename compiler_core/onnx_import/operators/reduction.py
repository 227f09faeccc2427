"""Reductions, ArgMax and ArgMin, softmax, prefix sums: folds over whole axes."""

from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import affine, axis_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axes,
    checked_axis,
    known_integers,
    known_number,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node


def mean(context: Context, x: Tensor, dims: Sequence[int], *, keep: bool) -> Tensor:
    """Arithmetic mean over `dims`; of nothing, which the standard leaves open, 0 as in onnxruntime."""
    builder = context.builder
    total = builder.reduce("sum", x, dims, keep=keep)
    extents = [x.shape[d] for d in dims]
    return builder.elementwise(
        "div", total, builder.count([] if 0 in extents else extents, x.dtype), dtype=x.dtype
    )


def _reduced_dims(context: Context, node: Node, inputs: Inputs, x: Tensor) -> list[int] | None:
    """The dims to fold; None means that the op does nothing (no axes, and noop_with_empty_axes)."""
    axes = known_integers(context, node, inputs, 1, "axes")
    if not axes:
        return None if node.integer("noop_with_empty_axes", 0) else list(range(x.rank))
    return checked_axes(axes, x.rank)


def _reduce(kind: str, before: str = "", after: str = "") -> Build:
    """Fold `kind`, with an elementwise `before` on the way in and `after` on the way out."""

    def build(context: Context, node: Node, inputs: Inputs) -> Tensor:
        x, builder = required(inputs, 0), context.builder
        dims = _reduced_dims(context, node, inputs, x)
        if before == "square":
            x = builder.elementwise("mul", x, x)
        elif before:
            x = builder.elementwise(before, x)
        if dims is not None:
            keep = bool(node.integer("keepdims", 1))
            x = (
                mean(context, x, dims, keep=keep)
                if kind == "mean"
                else builder.reduce(kind, x, dims, keep=keep)
            )
        return builder.elementwise(after, x) if after else x

    return build


def _log_sum_exp(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    dims = _reduced_dims(context, node, inputs, x)
    if dims is None:
        return x
    keep = bool(node.integer("keepdims", 1))
    largest = builder.reduce("max", x, dims, keep=True)
    shifted = builder.elementwise("exp", builder.elementwise("sub", x, largest))
    logs = builder.elementwise("log", builder.reduce("sum", shifted, dims, keep=True))
    result = builder.elementwise("add", logs, largest)
    if keep:
        return result
    return builder.reshape(result, [extent for dim, extent in enumerate(x.shape) if dim not in dims])


def position_of(builder: Builder, kind: str, x: Tensor, axis: int, *, last: bool, keep: bool) -> Tensor:
    """Position of the extreme: the least (or last) position whose element equals it; NaN is more than any."""
    extreme = builder.reduce(kind, x, [axis], keep=True)
    equal = builder.elementwise("equal", x, extreme, dtype=DType.BOOL)
    if x.dtype.is_float:
        undefined = builder.elementwise("is_nan", x, dtype=DType.BOOL)
        equal = builder.elementwise("logical_or", equal, undefined)
    positions = builder.table(
        (x.shape[axis], *[1] * (x.rank - axis - 1)), DType.I64, lambda extents: np.arange(extents[0])
    )
    never = builder.scalar(-1 if last else np.iinfo(np.int64).max, DType.I64)
    candidates = builder.elementwise("where", equal, positions, never)
    return builder.reduce("max" if last else "min", candidates, [axis], keep=keep)


def _arg(kind: str) -> Build:
    def build(context: Context, node: Node, inputs: Inputs) -> Tensor:
        x = required(inputs, 0)
        axis = checked_axis(node.integer("axis", 0), x.rank)
        last, keep = bool(node.integer("select_last_index", 0)), bool(node.integer("keepdims", 1))
        return position_of(context.builder, kind, x, axis, last=last, keep=keep)

    return build


def softmax(context: Context, x: Tensor, dims: Sequence[int], *, log: bool = False) -> Tensor:
    """Softmax over `dims` together, shifted by the maximum; its logarithm with `log`."""
    builder = context.builder
    largest = builder.reduce("max", x, dims, keep=True)
    shifted = builder.elementwise("sub", x, largest)
    powers = builder.elementwise("exp", shifted)
    total = builder.reduce("sum", powers, dims, keep=True)
    if log:
        return builder.elementwise("sub", shifted, builder.elementwise("log", total))
    return builder.elementwise("div", powers, total)


def _rows(node: Node, x: Tensor) -> list[int]:
    """The dims that a softmax or hardmax is over: one, before opset 13 all from `axis` on together."""
    if node.version >= 13:
        return [checked_axis(node.integer("axis", -1), x.rank)]
    axis = node.integer("axis", 1)
    return list(range(x.rank if axis == x.rank else checked_axis(axis, x.rank), x.rank))


def _softmax(*, log: bool) -> Build:
    def build(context: Context, node: Node, inputs: Inputs) -> Tensor:
        x = required(inputs, 0)
        return softmax(context, x, _rows(node, x), log=log)

    return build


def _hardmax(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    dims = _rows(node, x)
    largest = builder.reduce("max", x, dims, keep=True)
    beaten = builder.elementwise("less", x, largest, dtype=DType.BOOL)
    shape = [x.shape[dim] if dim in dims else 1 for dim in range(dims[0], x.rank)]
    positions = builder.table(shape, DType.I64, lambda extents: np.arange(np.prod(extents)).reshape(extents))
    never = builder.scalar(np.iinfo(np.int64).max, DType.I64)
    first = builder.reduce("min", builder.elementwise("where", beaten, never, positions), dims, keep=True)
    return builder.cast(builder.elementwise("equal", positions, first, dtype=DType.BOOL), x.dtype)


def _cum_sum(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """A sum with a scan axis; reverse reads the axis from its end, exclusive reads one place behind."""
    x, builder = required(inputs, 0), context.builder
    axis = checked_axis(int(known_number(context, required(inputs, 1), "axis")), x.rank)
    exclusive, reverse = node.integer("exclusive", 0), node.integer("reverse", 0)
    exprs = [axis_index(dim) for dim in range(x.rank)]
    mirrored = affine((axis, -1), offset=x.shape[axis] - 1)
    exprs[axis] = mirrored if reverse else axis_index(axis)
    mirror = list(exprs)
    if exclusive:
        exprs[axis] = affine((axis, -1), offset=x.shape[axis]) if reverse else affine((axis, 1), offset=-1)
    sums = builder.op("sum", x.shape, [(x, exprs, 0.0)], x.dtype, scan=[axis])
    return builder.view(sums, x.shape, mirror) if reverse else sums


REDUCTIONS: Mapping[str, Build] = {
    "ArgMax": _arg("max"),
    "ArgMin": _arg("min"),
    "CumSum": _cum_sum,
    "Hardmax": _hardmax,
    "LogSoftmax": _softmax(log=True),
    "ReduceL1": _reduce("sum", before="abs"),
    "ReduceL2": _reduce("sum", before="square", after="sqrt"),
    "ReduceLogSum": _reduce("sum", after="log"),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("mean"),
    "ReduceMin": _reduce("min"),
    "ReduceProd": _reduce("prod"),
    "ReduceSum": _reduce("sum"),
    "ReduceSumSquare": _reduce("sum", before="square"),
    "Softmax": _softmax(log=False),
}
