"""Operators that run on the host: types and shapes of results; meanings are in runtime.host."""

from collections.abc import Mapping
from typing import Any

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, symbols_in
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axis,
    known_dims,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node


def _top_k(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x = required(inputs, 0)
    axis = checked_axis(node.integer("axis", -1), x.rank)
    given = optional(inputs, 1)
    attributes: dict[str, Any] = {"axis": axis, "largest": node.integer("largest", 1)}
    asked = [node.integer("k")] if given is None else known_dims(context, given, "k")
    if len(asked) != 1:
        raise ModelError("k must be one number")
    (k,), extent, operands = asked, x.shape[axis], [x]
    if isinstance(k, int):
        if k < 0 or (isinstance(extent, int) and k > extent):
            raise ModelError(f"k = {k} lies outside an extent of {extent}")
        attributes["k"] = k
    elif given is not None:
        if symbols_in(asked) & context.decided:
            raise ModelError(f"k = {k} follows from an extent that data decide; bind it with --dim")
        operands.append(given)
    shape = tuple(k if dim == axis else size for dim, size in enumerate(x.shape))
    return context.host(node, "top_k", operands, [(shape, x.dtype), (shape, DType.I64)], **attributes)


def _scatter_nd(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x = required(inputs, 0)
    operands = [x, required(inputs, 1), required(inputs, 2)]
    return context.host(
        node, "scatter_nd", operands, [(x.shape, x.dtype)], reduction=node.text("reduction", "none")
    )


def _scatter_elements(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x = required(inputs, 0)
    operands = [x, required(inputs, 1), required(inputs, 2)]
    axis = checked_axis(node.integer("axis", 0), x.rank)
    return context.host(
        node,
        "scatter_elements",
        operands,
        [(x.shape, x.dtype)],
        axis=axis,
        reduction=node.text("reduction", "none"),
    )


def _non_max_suppression(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    return context.host(
        node,
        "non_max_suppression",
        inputs,
        [((context.fresh(node, "count"), 3), DType.I64)],
        center_point_box=node.integer("center_point_box", 0),
    )


def _compress(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x = required(inputs, 0)
    count = context.fresh(node, "count")
    attributes: dict[str, Any] = {}
    shape: tuple[Dim, ...] = (count,)
    if node.has("axis"):
        attributes["axis"] = axis = checked_axis(node.integer("axis"), x.rank)
        shape = tuple(count if dim == axis else size for dim, size in enumerate(x.shape))
    return context.host(node, "compress", [x, required(inputs, 1)], [(shape, x.dtype)], **attributes)


def _unique(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x = required(inputs, 0)
    count = context.fresh(node, "count")
    attributes: dict[str, Any] = {"sorted": node.integer("sorted", 1)}
    shape: tuple[Dim, ...] = (count,)
    rows: Dim = 1
    for extent in x.shape:
        rows = rows * extent
    if node.has("axis"):
        attributes["axis"] = axis = checked_axis(node.integer("axis"), x.rank)
        shape = tuple(count if dim == axis else size for dim, size in enumerate(x.shape))
        rows = x.shape[axis]
    results = [(shape, x.dtype), ((count,), DType.I64), ((rows,), DType.I64), ((count,), DType.I64)]
    return context.host(node, "unique", [x], results[: len(node.outputs)], **attributes)


def _reverse_sequence(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x = required(inputs, 0)
    return context.host(
        node,
        "reverse_sequence",
        [x, required(inputs, 1)],
        [(x.shape, x.dtype)],
        batch_axis=checked_axis(node.integer("batch_axis", 1), x.rank),
        time_axis=checked_axis(node.integer("time_axis", 0), x.rank),
    )


def _determinant(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x = required(inputs, 0)
    if x.rank < 2:
        raise ModelError("the input must be a matrix or a stack of them")
    return context.host(node, "determinant", [x], [(x.shape[:-2], x.dtype)])


def _max_roi_pool(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x, regions = required(inputs, 0), required(inputs, 1)
    sizes = node.integers("pooled_shape")
    if x.rank != 4 or regions.rank != 2 or regions.shape[1] != 5 or len(sizes) != 2 or min(sizes) < 1:
        raise ModelError("images of rank 4, regions of 5 numbers and a pooled_shape of 2 are needed")
    shape = (regions.shape[0], x.shape[1], *sizes)
    scale = node.number("spatial_scale", 1.0)
    rows, columns = sizes
    return context.host(
        node,
        "max_roi_pool",
        [x, regions],
        [(shape, x.dtype)],
        rows=rows,
        columns=columns,
        scale=scale,
    )


HOST: Mapping[str, Build] = {
    "Compress": _compress,
    "Det": _determinant,
    "MaxRoiPool": _max_roi_pool,
    "NonMaxSuppression": _non_max_suppression,
    "ReverseSequence": _reverse_sequence,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
    "Unique": _unique,
}
