"""Parts of every attention: heads of a hidden dim, products of heads, masks, the softmax of masked scores.

Heads are an axis of the index maps: a query head h reads key head h // (query heads / key heads), so grouped
queries repeat nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import affine, axis_index
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import Context
from tilewright.compiler_core.onnx_import.operators.views import slice_view


@dataclass(frozen=True)
class Mask:
    """The mask of an attention: a bias to add, the pairs allowed, and whether a row may have none."""

    bias: Tensor | None = None
    allowed: Tensor | None = None
    may_empty_rows: bool = False


def split_heads(builder: Builder, x: Tensor, heads: int) -> Tensor:
    """[batch, sequence, heads * size] as [batch, heads, sequence, size]; rank 4 is taken as that already."""
    if x.rank == 4:
        return x
    if x.rank != 3 or heads < 1:
        raise ModelError(f"rank {x.rank} with {heads} heads; give rank 4, or rank 3 and the number of heads")
    width = known(x.shape[2], "the hidden size")
    if width % heads:
        raise ModelError(f"{heads} heads do not divide a hidden size of {width}")
    split = builder.reshape(x, (x.shape[0], x.shape[1], heads, width // heads))
    return builder.transpose(split, (0, 2, 1, 3))


def join_heads(builder: Builder, x: Tensor) -> Tensor:
    """[batch, heads, sequence, size] as [batch, sequence, heads * size]."""
    batch, heads, sequence, size = x.shape
    return builder.reshape(builder.transpose(x, (0, 2, 1, 3)), (batch, sequence, heads * size))


def head_product(builder: Builder, left: Tensor, right: Tensor, *, transposed: bool) -> Tensor:
    """[b, h, i, k] times [b, g, k, j] ([b, g, j, k] transposed); head h meets head h // (heads / groups)."""
    builder.equal(left.shape[0], right.shape[0], "batch extents of an attention")
    heads, groups = known(left.shape[1], "heads"), known(right.shape[1], "heads")
    if not groups or heads % groups:
        raise ModelError(f"{groups} key heads do not divide {heads} query heads")
    group = axis_index(1) if heads == groups else affine((1, 1), divisor=heads // groups)
    inner = builder.equal(left.shape[3], right.shape[3 if transposed else 2], "inner extents of an attention")
    columns = right.shape[2 if transposed else 3]
    tail = [axis_index(3), axis_index(4)] if transposed else [axis_index(4), axis_index(3)]
    return builder.op(
        "contract",
        [left.shape[0], heads, left.shape[2], columns, inner],
        [
            (left, [axis_index(0), axis_index(1), axis_index(2), axis_index(4)]),
            (right, [axis_index(0), group, *tail]),
        ],
        left.dtype,
        reduced=1,
    )


def masked_softmax(context: Context, scores: Tensor, mask: Mask, sink: Tensor | None = None) -> Tensor:
    """Softmax over the last dim; a row without any allowed key gives zeros.

    `sink` is a score beside those of the keys: it takes its share of the whole and gives nothing for it.
    """
    builder = context.builder
    last = scores.rank - 1
    largest = builder.reduce("max", scores, [last], keep=True)
    may_empty_rows = mask.may_empty_rows and sink is None
    if sink is not None:
        largest = builder.elementwise("maximum", largest, sink)
    if may_empty_rows:
        nothing = builder.scalar(-math.inf, scores.dtype)
        empty = builder.elementwise("equal", largest, nothing, dtype=DType.BOOL)
        largest = builder.elementwise("where", empty, builder.scalar(0.0, scores.dtype), largest)
    powers = builder.elementwise("exp", builder.elementwise("sub", scores, largest))
    total = builder.reduce("sum", powers, [last], keep=True)
    if sink is not None:
        total = builder.elementwise(
            "add", total, builder.elementwise("exp", builder.elementwise("sub", sink, largest))
        )
    if may_empty_rows:
        zero = builder.elementwise("equal", total, builder.scalar(0.0, scores.dtype), dtype=DType.BOOL)
        total = builder.elementwise("where", zero, builder.scalar(1.0, scores.dtype), total)
    return builder.elementwise("div", powers, total)


def with_mask(context: Context, scores: Tensor, mask: Mask) -> Tensor:
    """Scores plus the bias, minus infinity where the pair is not allowed."""
    builder = context.builder
    if mask.bias is not None:
        scores = builder.elementwise("add", scores, mask.bias)
    if mask.allowed is not None:
        scores = builder.elementwise("where", mask.allowed, scores, builder.scalar(-math.inf, scores.dtype))
    return scores


def distances(context: Context, queries: Dim, keys: Dim) -> Tensor:
    """The constant [queries, keys] of i - j."""

    def table(extents: tuple[int, ...]) -> Array:
        return np.asarray(np.arange(extents[0])[:, None] - np.arange(extents[1])[None, :])

    return context.builder.table((queries, keys), DType.I64, table)


def capped(builder: Builder, scores: Tensor, cap: float) -> Tensor:
    """Scores squashed into (-cap, cap) by a hyperbolic tangent; as they are where `cap` is 0."""
    if cap <= 0:
        return scores
    squashed = builder.elementwise("tanh", builder.with_number("div", scores, cap))
    return builder.with_number("mul", squashed, cap)


def both(context: Context, left: Tensor | None, right: Tensor) -> Tensor:
    """Pairs that both masks allow."""
    return right if left is None else context.builder.elementwise("logical_and", left, right)


def projected_bias(builder: Builder, parts: Sequence[Tensor], bias: Tensor | None) -> list[Tensor]:
    """Query, key and value with their stretch of one common bias added."""
    if bias is None:
        return list(parts)
    results: list[Tensor] = []
    start: Dim = 0
    for part in parts:
        stretch = slice_view(builder, bias, 0, start, part.shape[-1])
        results.append(builder.elementwise("add", part, stretch))
        start = start + part.shape[-1]
    return results
