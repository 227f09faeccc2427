"""Attention and rotary embeddings in structured ops: scores, mask, softmax, values.

Heads are an axis of the index maps: a query head h reads key head h // (query heads / key heads), so grouped
queries repeat nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, floordiv, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import affine, axis_index
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.tensor_data import element_type
from tilewright.compiler_core.onnx_import.operators.gathering import gather
from tilewright.compiler_core.onnx_import.operators.movement import concat
from tilewright.compiler_core.onnx_import.operators.views import slice_view


@dataclass(frozen=True)
class Mask:
    """What a query may attend: a bias to add, the pairs allowed, and whether a row may have none."""

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


def masked_softmax(context: Context, scores: Tensor, mask: Mask) -> Tensor:
    """Softmax over the last dim; a row without any allowed key gives zeros."""
    builder = context.builder
    last = scores.rank - 1
    largest = builder.reduce("max", scores, [last], keep=True)
    if mask.may_empty_rows:
        nothing = builder.scalar(-math.inf, scores.dtype)
        empty = builder.elementwise("equal", largest, nothing, dtype=DType.BOOL)
        largest = builder.elementwise("where", empty, builder.scalar(0.0, scores.dtype), largest)
    powers = builder.elementwise("exp", builder.elementwise("sub", scores, largest))
    total = builder.reduce("sum", powers, [last], keep=True)
    if mask.may_empty_rows:
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


def both(context: Context, left: Tensor | None, right: Tensor) -> Tensor:
    """Pairs that both masks allow."""
    return right if left is None else context.builder.elementwise("logical_and", left, right)


def _mask(
    context: Context, node: Node, inputs: Inputs, queries: Dim, keys: Dim, past: Dim, dtype: DType
) -> Mask:
    builder = context.builder
    given, lengths = optional(inputs, 3), optional(inputs, 6)
    bias: Tensor | None = None
    allowed: Tensor | None = None
    if given is not None:
        given = _widened(builder, given, keys)
        if given.dtype is DType.BOOL:
            allowed = given
        else:
            bias = given
    limits = [("left_window_size", 1), ("right_window_size", -1)]
    windows = [(node.integer(name, -1), sign) for name, sign in limits]
    causal = bool(node.integer("is_causal", 0))
    if causal or any(size >= 0 for size, _ in windows):
        distance = distances(context, queries, keys)
        if lengths is not None:
            ahead = builder.elementwise("sub", lengths, builder.count([queries], DType.I64))
            offset = builder.reshape(ahead, (lengths.shape[0], 1, 1, 1))
        else:
            offset = builder.count([past], DType.I64)
        distance = builder.elementwise("add", distance, offset)
        if causal:
            allowed = both(context, allowed, _not_below(builder, distance, 0))
        for size, sign in windows:
            if size >= 0:
                signed = distance if sign < 0 else builder.elementwise("neg", distance)
                allowed = both(context, allowed, _not_below(builder, signed, -size))
    if lengths is not None:
        columns = builder.table((keys,), DType.I64, lambda extents: np.arange(extents[0]))
        ends = builder.reshape(lengths, (lengths.shape[0], 1, 1, 1))
        allowed = both(context, allowed, builder.elementwise("less", columns, ends, dtype=DType.BOOL))
    return Mask(bias, allowed, given is not None or lengths is not None)


def _not_below(builder: Builder, distance: Tensor, least: int) -> Tensor:
    return builder.elementwise("less_equal", builder.scalar(least, DType.I64), distance, dtype=DType.BOOL)


def _widened(builder: Builder, mask: Tensor, keys: Dim) -> Tensor:
    """A mask for fewer keys than there are: the rest is not attended."""
    missing = keys - mask.shape[-1]
    if not isinstance(missing, int) or missing <= 0 or mask.shape[-1] == 1:
        return mask
    shape = (*mask.shape[:-1], keys)
    fill = 0.0 if mask.dtype is DType.BOOL else -math.inf
    return builder.op(
        "move", shape, [(mask, [axis_index(dim) for dim in range(mask.rank)], fill)], mask.dtype
    )


def _attention(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """ONNX Attention: keys and values behind their past, scaled scores, softcap, mask, softmax, values."""
    builder = context.builder
    flat = required(inputs, 0).rank == 3
    query_heads = node.integer("q_num_heads", 0)
    q = split_heads(builder, required(inputs, 0), query_heads)
    key_heads = node.integer("kv_num_heads", 0)
    k, v = (split_heads(builder, required(inputs, at), key_heads) for at in (1, 2))
    past_key, past_value = optional(inputs, 4), optional(inputs, 5)
    past: Dim = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        k, v = concat(builder, [past_key, k], 2), concat(builder, [past_value, v], 2)
    scale = node.number("scale", 0.0) or 1 / math.sqrt(known(q.shape[3], "the head size"))
    scores = builder.with_number("mul", head_product(builder, q, k, transposed=True), scale)
    stages = [scores]
    cap = node.number("softcap", 0.0)
    if cap > 0:
        squashed = builder.elementwise("tanh", builder.with_number("div", scores, cap))
        scores = builder.with_number("mul", squashed, cap)
    stages.append(scores)
    mask = _mask(context, node, inputs, q.shape[2], k.shape[2], past, q.dtype)
    scores = with_mask(context, scores, mask)
    stages.append(scores)
    precision = node.integer("softmax_precision", 0)
    wide = builder.cast(scores, element_type(precision, "the softmax")) if precision else scores
    weights = builder.cast(masked_softmax(context, wide, mask), q.dtype)
    stages.append(weights)
    mode = node.integer("qk_matmul_output_mode", 0)
    if not 0 <= mode < len(stages):
        raise ModelError(f"qk_matmul_output_mode {mode} is not one of 0, 1, 2, 3")
    y = head_product(builder, weights, v, transposed=False)
    return [join_heads(builder, y) if flat else y, k, v, stages[mode]]


def rotated(
    builder: Builder, x: Tensor, cosines: Tensor, sines: Tensor, width: int, *, interleaved: bool
) -> Tensor:
    """The first `width` of the last dim of x [b, h, s, d] rotated by angles [b or 1, s, width / 2]."""
    half = width // 2
    if interleaved:
        one, two = (slice_view(builder, x, 3, at, half, 2) for at in range(2))
    else:
        one, two = (slice_view(builder, x, 3, at * half, half) for at in range(2))
    cosines, sines = (builder.reshape(t, (t.shape[0], 1, *t.shape[1:])) for t in (cosines, sines))
    real = builder.elementwise(
        "sub", builder.elementwise("mul", cosines, one), builder.elementwise("mul", sines, two)
    )
    imaginary = builder.elementwise(
        "add", builder.elementwise("mul", sines, one), builder.elementwise("mul", cosines, two)
    )
    if interleaved:
        pairs = [builder.reshape(part, (*part.shape, 1)) for part in (real, imaginary)]
        parts = [builder.reshape(concat(builder, pairs, 4), (*x.shape[:3], width))]
    else:
        parts = [real, imaginary]
    size = x.shape[3]
    if size != width:
        parts.append(slice_view(builder, x, 3, width, size - width))
    return concat(builder, parts, 3)


def rotary_embedding(
    context: Context, node: Node, x: Tensor, positions: Tensor | None, cosines: Tensor, sines: Tensor
) -> Tensor:
    """RotaryEmbedding of x [b, s, hidden] or [b, h, s, d]; without positions tables hold a row a position."""
    builder = context.builder
    width = node.integer("rotary_embedding_dim", 0)
    heads = node.integer("num_heads", 0)
    if x.rank == 3 and not heads and width == 0:
        heads = known(floordiv(x.shape[2], cosines.shape[-1] * 2), "the number of heads")
    split = split_heads(builder, x, heads)
    size = known(split.shape[3], "the head size")
    width = width or size
    if not 0 < width <= size or width % 2:
        raise ModelError(f"rotary_embedding_dim {width} does not fit a head size of {size}")
    builder.equal(cosines.shape[-1], width // 2, "the width of the tables and half of rotary_embedding_dim")
    if positions is not None:
        cosines, sines = (gather(builder, table, positions, 0) for table in (cosines, sines))
    y = rotated(builder, split, cosines, sines, width, interleaved=bool(node.integer("interleaved", 0)))
    return join_heads(builder, y) if x.rank == 3 else y


def _rotary_embedding(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, cosines, sines = (required(inputs, at) for at in range(3))
    return rotary_embedding(context, node, x, optional(inputs, 3), cosines, sines)


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


ATTENTION: Mapping[str, Build] = {"Attention": _attention, "RotaryEmbedding": _rotary_embedding}
