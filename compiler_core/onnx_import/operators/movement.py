"""Operators that move elements: concat and pad."""

from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import IndexExpr, affine, axis_index
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axes,
    checked_axis,
    known_dims,
    known_integers,
    known_number,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node


def _concat(context: Context, node: Node, inputs: Inputs) -> Tensor:
    tensors = [required(inputs, index) for index in range(len(inputs))]
    axis = checked_axis(node.integer("axis", 1), tensors[0].rank)
    return concat(context.builder, tensors, axis)


def concat(builder: Builder, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors one after the other along `axis`; every operand reads zero outside its own stretch."""
    tensors = [t for t in tensors if t.shape[axis] != 0] or list(tensors[:1])
    if len(tensors) == 1:
        return tensors[0]
    shape = list(tensors[0].shape)
    offset: Dim = 0
    operands: list[tuple[Tensor, Sequence[IndexExpr], float]] = []
    for tensor in tensors:
        if tensor.rank != len(shape) or tensor.dtype is not tensors[0].dtype:
            raise ModelError("the parts of a concat differ in rank or type")
        for dim, extent in enumerate(tensor.shape):
            if dim != axis:
                shape[dim] = builder.equal(shape[dim], extent, f"extents of dim {dim} of a concat")
        exprs = [axis_index(dim) for dim in range(len(shape))]
        exprs[axis] = affine((axis, 1), offset=offset * -1)
        operands.append((tensor, exprs, 0.0))
        offset = offset + tensor.shape[axis]
    shape[axis] = offset
    return builder.op("concat", shape, operands, tensors[0].dtype)


def to_length(builder: Builder, x: Tensor, dim: int, length: Dim) -> Tensor:
    """Zeros behind the last element of a dim until it has `length`."""
    if x.shape[dim] == length:
        return x
    shape = [length if index == dim else extent for index, extent in enumerate(x.shape)]
    return builder.op("move", shape, [(x, [axis_index(index) for index in range(x.rank)], 0.0)], x.dtype)


def _pad(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    mode = node.text("mode", "constant")
    tensor = optional(inputs, 1)
    pads: list[Dim]
    if tensor is not None:
        pads = known_dims(context, tensor, "pads")
    else:
        pads = list(node.integers("pads", node.integers("paddings", [])))
    axes = known_integers(context, node, inputs, 3, "axes") if len(inputs) > 3 else None
    dims = list(range(x.rank)) if axes is None else checked_axes(axes, x.rank)
    if len(pads) != 2 * len(dims):
        raise ModelError(f"{len(pads)} pads for {len(dims)} dims")
    value = node.number("value", 0.0)
    given = optional(inputs, 2)
    if given is not None:
        value = known_number(context, given, "the padding value")
    before = dict(zip(dims, pads[: len(dims)], strict=True))
    after = dict(zip(dims, pads[len(dims) :], strict=True))
    if mode == "constant":
        shape = [extent + before.get(dim, 0) + after.get(dim, 0) for dim, extent in enumerate(x.shape)]
        exprs = [affine((dim, 1), offset=before.get(dim, 0) * -1) for dim in range(x.rank)]
        return builder.op("move", shape, [(x, exprs, value)], x.dtype)
    if mode not in ("reflect", "edge", "wrap"):
        raise ModelError(f"mode {mode!r} is not one of constant, reflect, edge, wrap")
    for dim in dims:
        if before[dim] != 0 or after[dim] != 0:
            x = _pad_dim(context, x, dim, before[dim], after[dim], mode)
    return x


def _pad_dim(context: Context, x: Tensor, dim: int, before: Dim, after: Dim, mode: str) -> Tensor:
    """One dim padded from its own elements: a gather by a constant row of indices."""
    builder = context.builder
    extent = x.shape[dim]
    facts = builder.extents([extent, before], (2,))

    def index(extents: tuple[int, ...], sources: Sequence[Array]) -> Array:
        size, first = sources[0].tolist()
        at = np.arange(extents[0]) - first
        if mode == "edge" or size == 1:
            return np.asarray(np.clip(at, 0, size - 1))
        if mode == "wrap":
            return np.asarray(np.mod(at, size))
        period = 2 * (size - 1)
        folded = np.mod(at, period)
        return np.asarray(np.minimum(folded, period - folded))

    indices = builder.derived_table((extent + before + after,), DType.I64, [facts], index)
    shape = [indices.shape[0] if position == dim else size for position, size in enumerate(x.shape)]
    exprs = [IndexExpr(source=1) if position == dim else axis_index(position) for position in range(x.rank)]
    return builder.op("gather", shape, [(x, exprs), (indices, [axis_index(dim)])], x.dtype)


MOVEMENT: Mapping[str, Build] = {
    "Concat": _concat,
    "Pad": _pad,
}
