"""Operators that pick elements by index or position: gathers, one-hot rows, triangles."""

from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import IndexExpr, axis_index, constant_index
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Builder, Operand, Tensor, integers
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axis,
    known_dims,
    known_number,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.views import slice_view


def gather(builder: Builder, x: Tensor, indices: Tensor, axis: int, outside: float | None = None) -> Tensor:
    """x[..., indices, ...] along `axis`; `outside` is read where an index lies outside, if one may."""
    content = builder.content(indices)
    if content is not None and content.dtype != object and outside is None:
        flat = integers(content, "indices")
        _check_indices(flat, x.shape[axis])
        if content.ndim == 0:
            return _picked(builder, x, axis, flat[0])
        if content.ndim == 1 and len(flat) and all(index >= 0 for index in flat):
            step = flat[1] - flat[0] if len(flat) > 1 else 1
            if step and flat == [flat[0] + step * index for index in range(len(flat))]:
                return slice_view(builder, x, axis, flat[0], len(flat), step)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    exprs = [axis_index(dim) for dim in range(axis)]
    exprs.append(IndexExpr(source=1))
    exprs += [axis_index(dim - 1 + indices.rank) for dim in range(axis + 1, x.rank)]
    index_exprs = [axis_index(axis + index) for index in range(indices.rank)]
    rows: Operand = (x, exprs) if outside is None else (x, exprs, outside)
    return builder.op("gather", shape, [rows, (indices, index_exprs)], x.dtype)


def _picked(builder: Builder, x: Tensor, axis: int, index: int) -> Tensor:
    exprs = [axis_index(dim if dim < axis else dim - 1) for dim in range(x.rank)]
    exprs[axis] = constant_index(index if index >= 0 else x.shape[axis] + index)
    return builder.view(x, (*x.shape[:axis], *x.shape[axis + 1 :]), exprs)


def _check_indices(indices: Sequence[int], extent: Dim) -> None:
    if isinstance(extent, int):
        for index in indices:
            if not -extent <= index < extent:
                raise ModelError(f"index {index} lies outside an extent of {extent}")


def _gather(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, indices = required(inputs, 0), required(inputs, 1)
    return gather(context.builder, x, indices, checked_axis(node.integer("axis", 0), x.rank))


def _gather_elements(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, indices = required(inputs, 0), required(inputs, 1)
    axis = checked_axis(node.integer("axis", 0), x.rank)
    if indices.rank != x.rank:
        raise ModelError(f"indices of rank {indices.rank} for data of rank {x.rank}")
    exprs = [IndexExpr(source=1) if dim == axis else axis_index(dim) for dim in range(x.rank)]
    identity = [axis_index(dim) for dim in range(x.rank)]
    return context.builder.op("gather", indices.shape, [(x, exprs), (indices, identity)], x.dtype)


def _gather_nd(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """One operand a coordinate: coordinate k of every index tuple is the indices read at [..., k]."""
    x, indices = required(inputs, 0), required(inputs, 1)
    batch = node.integer("batch_dims", 0)
    if not indices.rank or not 0 <= batch < min(x.rank, indices.rank):
        raise ModelError(f"batch_dims {batch} does not fit ranks {x.rank} and {indices.rank}")
    depth = indices.shape[-1]
    if not isinstance(depth, int) or not 1 <= depth <= x.rank - batch:
        raise ModelError(f"index tuples of {depth} for data of rank {x.rank}")
    outer = indices.rank - 1
    shape = (*indices.shape[:-1], *x.shape[batch + depth :])
    exprs = [axis_index(dim) for dim in range(batch)]
    exprs += [IndexExpr(source=1 + index) for index in range(depth)]
    exprs += [axis_index(outer + index) for index in range(x.rank - batch - depth)]
    coordinates = [
        (indices, [*[axis_index(dim) for dim in range(outer)], constant_index(index)])
        for index in range(depth)
    ]
    return context.builder.op("gather", shape, [(x, exprs), *coordinates], x.dtype)


def _trilu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    if x.rank < 2:
        raise ModelError("the input must be a matrix or a stack of them")
    shift = optional(inputs, 1)
    k = 0 if shift is None else int(known_number(context, shift, "k"))
    upper = bool(node.integer("upper", 1))

    def mask(extents: tuple[int, ...]) -> Array:
        distance = np.arange(extents[1])[None, :] - np.arange(extents[0])[:, None]
        return np.asarray(distance >= k if upper else distance <= k)

    kept = builder.table(x.shape[-2:], DType.BOOL, mask)
    return builder.elementwise("where", kept, x, builder.scalar(0.0, x.dtype))


def _one_hot(context: Context, node: Node, inputs: Inputs) -> Tensor:
    indices, depth, values = required(inputs, 0), required(inputs, 1), required(inputs, 2)
    builder = context.builder
    (count,) = known_dims(context, depth, "depth")
    axis = checked_axis(node.integer("axis", -1), indices.rank + 1)
    whole = builder.cast(indices, DType.I64)
    wrapped = builder.elementwise(
        "where",
        builder.elementwise("less", whole, builder.scalar(0, DType.I64), dtype=DType.BOOL),
        builder.elementwise("add", whole, builder.count([count], DType.I64), dtype=DType.I64),
        whole,
    )
    spread = builder.reshape(wrapped, (*indices.shape[:axis], 1, *indices.shape[axis:]))
    positions = builder.table(
        (count, *[1] * (indices.rank - axis)), DType.I64, lambda extents: np.arange(extents[0])
    )
    hot = builder.elementwise("equal", spread, positions, dtype=DType.BOOL)
    off, on = (slice_view(builder, values, 0, index, 1) for index in range(2))
    return builder.elementwise("where", hot, builder.reshape(on, ()), builder.reshape(off, ()))


GATHERING: Mapping[str, Build] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "Trilu": _trilu,
}
