"""Attention of com.microsoft with as many key heads as query heads, in all forms its exporters write.

Queries, keys and values come projected (MultiHeadAttention, DecoderMaskedMultiHeadAttention), or one weight
projects them here, of reals (Attention) or of integers (QAttention). Padding is a score added to those of
keys that hold nothing: `mask_filter_value`, finite, so that a row without keys is a mean.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, SymDim, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import IndexExpr, axis_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    known_dims,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.contraction import matmul
from tilewright.compiler_core.onnx_import.operators.heads import (
    Mask,
    both,
    distances,
    head_product,
    join_heads,
    masked_softmax,
    projected_bias,
    split_heads,
    with_mask,
)
from tilewright.compiler_core.onnx_import.operators.movement import concat, to_length
from tilewright.compiler_core.onnx_import.operators.quantized import integer_to_float
from tilewright.compiler_core.onnx_import.operators.views import slice_view


@dataclass(frozen=True)
class _Call:
    """One attention: queries, keys and values [b, heads, length, size], the keys of the past among them.

    `past` is how many keys lie before the `new` ones of this call; `bias` is added to the scores; `filled`
    says which places of a longer buffer hold a key, None where all do.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    past: Tensor
    new: Dim
    mask: Tensor | None = None
    bias: Tensor | None = None
    filled: Tensor | None = None


def _attended(context: Context, node: Node, call: _Call) -> tuple[Tensor, Tensor]:
    """The result [b, s, hidden] and the scores before the softmax."""
    builder = context.builder
    scale = node.number("scale", 0.0) or 1 / math.sqrt(known(call.q.shape[3], "the head size"))
    scores = builder.with_number("mul", head_product(builder, call.q, call.k, transposed=True), scale)
    if call.bias is not None:
        scores = builder.elementwise("add", scores, call.bias)
    padding = _padding(context, node, call)
    if padding is not None:
        scores = builder.elementwise("add", scores, padding)
    if node.integer("unidirectional", 0) and call.q.shape[2] != 1:
        lowest = builder.scalar(scores.dtype.lowest, scores.dtype)
        scores = builder.elementwise("where", _not_ahead(context, call), scores, lowest)
    filled = Mask(allowed=call.filled)
    scores = with_mask(context, scores, filled)
    weights = masked_softmax(context, scores, filled)
    return join_heads(builder, head_product(builder, weights, call.v, transposed=False)), scores


def _not_ahead(context: Context, call: _Call) -> Tensor:
    """Keys that lie before a query or at it, by their places.

    Where there are more keys than queries the last query sees all of them: so onnxruntime has it.
    """
    builder = context.builder
    behind = builder.elementwise("add", distances(context, call.q.shape[2], call.k.shape[2]), call.past)
    seen = builder.elementwise("less_equal", builder.scalar(0, DType.I64), behind, dtype=DType.BOOL)
    if call.new == call.q.shape[2]:
        return seen
    last = builder.table(
        (call.q.shape[2], 1), DType.BOOL, lambda extents: np.arange(extents[0])[:, None] == extents[0] - 1
    )
    return builder.elementwise("logical_or", seen, last)


def _padding(context: Context, node: Node, call: _Call) -> Tensor | None:
    """The bias of a mask on scores [b, heads, s, t]: `mask_filter_value` where there is no key.

        [b]                ends: keys from there on are padding          [b, t]      0 for padding
        [2 b]              ends, then starts                             [b, s, t]   0 for padding, a query
        [3 b + 2]          ends, then what packed kernels want           [b, 1, m, m]   the whole sequence's

    [b, 1] and [1, 1] beside more keys than one are masks of nothing.
    """
    builder, mask = context.builder, call.mask
    if mask is None:
        return None
    batch, keys = call.k.shape[0], call.k.shape[2]
    if mask.rank == 1:
        kept = _between(context, mask, batch, keys)
    elif mask.rank == 2:
        if mask.shape[1] == 1 and keys != 1:
            return None
        kept = _given(builder, builder.reshape(mask, (mask.shape[0], 1, 1, mask.shape[1])))
    elif mask.rank == 3:
        kept = _given(builder, builder.reshape(mask, (mask.shape[0], 1, *mask.shape[1:])))
    else:
        kept = _given(builder, _window(context, mask, call))
    if call.filled is not None:
        kept = to_length(builder, kept, 3, keys)
    fill = builder.scalar(node.number("mask_filter_value", -10000.0), call.q.dtype)
    return builder.elementwise("where", kept, builder.scalar(0.0, call.q.dtype), fill)


def _given(builder: Builder, mask: Tensor) -> Tensor:
    return builder.elementwise("less", builder.scalar(0, mask.dtype), mask, dtype=DType.BOOL)


def _between(context: Context, mask: Tensor, batch: Dim, keys: Dim) -> Tensor:
    """Keys between the starts and the ends of their rows."""
    builder = context.builder
    if mask.shape[0] not in (batch, batch * 2, batch * 3 + 2):
        raise ModelError(f"a mask of shape {list(mask.shape)} does not fit a batch of {batch}")
    places = builder.table((keys,), DType.I32, lambda extents: np.arange(extents[0]))
    ends = builder.reshape(slice_view(builder, mask, 0, 0, batch), (batch, 1, 1, 1))
    kept = builder.elementwise("less", places, ends, dtype=DType.BOOL)
    if mask.shape[0] != batch * 2:
        return kept
    starts = builder.reshape(slice_view(builder, mask, 0, batch, batch), (batch, 1, 1, 1))
    return both(context, kept, builder.elementwise("less_equal", starts, places, dtype=DType.BOOL))


def _window(context: Context, mask: Tensor, call: _Call) -> Tensor:
    """The queries' rows and the keys' columns of a mask for the longest sequence."""
    builder = context.builder
    content = builder.content(call.past)
    if mask.rank != 4 or content is None:
        raise ModelError(f"a mask of rank {mask.rank} is not supported with this past")
    past: int | SymDim = content.ravel().tolist()[0]
    rows = slice_view(builder, mask, 2, past, call.q.shape[2])
    return slice_view(builder, rows, 3, 0, call.k.shape[2])


def _multi_head_attention(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """MultiHeadAttention: result, keys, values, scores."""
    builder = context.builder
    q, k, v = _separate(context, node, inputs)
    past = optional(inputs, 6), optional(inputs, 7)
    if (past[0] is None) != (past[1] is None):
        raise ModelError("past_key and past_value must be given together")
    offset, new = builder.scalar(0, DType.I64), k.shape[2]
    filled: Tensor | None = None
    if past[0] is not None and past[1] is not None:
        lengths = optional(inputs, 8)
        offset = builder.count([past[0].shape[2]], DType.I64)
        if lengths is not None:
            offset = builder.reshape(builder.cast(lengths, DType.I64), ())
            filled = _filled(context, past[0].shape[2], new, offset)
        k, v = (
            _with_past(context, old, part, None if lengths is None else offset)
            for old, part in zip(past, (k, v), strict=True)
            if old is not None
        )
    bias, beams = optional(inputs, 5), optional(inputs, 9)
    if bias is not None and filled is not None:
        bias = to_length(builder, bias, bias.rank - 1, k.shape[2])
    keys, values = (part if beams is None else _of_beams(context, part, beams, offset) for part in (k, v))
    call = _Call(q, keys, values, offset, new, optional(inputs, 4), bias, filled)
    y, scores = _attended(context, node, call)
    if filled is None or len(node.outputs) < 4:
        return [y, k, v, scores]
    before = known_dims(context, offset, "past_sequence_length, which shapes the scores that go out,")
    return [y, k, v, slice_view(builder, scores, 3, 0, before[0] + new)]


def _of_beams(context: Context, buffer: Tensor, beams: Tensor, offset: Tensor) -> Tensor:
    """Of each row of a buffer [batch * width, heads, length, size] the keys of the beams that it grew from.

    `beams` [batch, width, length] names them, a beam of the same batch for each of the first `offset` places.
    """
    builder = context.builder
    rows, length = buffer.shape[0], buffer.shape[2]
    if beams.rank != 3:
        raise ModelError(f"cache_indirection has rank {beams.rank}, not 3")
    width = beams.shape[1]
    builder.equal(beams.shape[0] * width, rows, "rows of cache_indirection and of the cache")
    places = builder.table((1, length), DType.I64, lambda extents: np.arange(extents[1])[None])
    row = builder.table((rows, 1), DType.I64, lambda extents: np.arange(extents[0])[:, None])
    size = builder.count([width], DType.I64)
    first = builder.elementwise("sub", row, builder.elementwise("mod", row, size))
    flat = builder.reshape(builder.cast(beams, DType.I64), (rows, beams.shape[2]))
    grown = builder.elementwise("add", first, slice_view(builder, flat, 1, 0, length))
    old = builder.elementwise("less", places, offset, dtype=DType.BOOL)
    source = builder.elementwise("where", old, grown, row)
    exprs = [IndexExpr(source=1), axis_index(1), axis_index(2), axis_index(3)]
    along = [axis_index(0), axis_index(2)]
    return builder.op("gather", buffer.shape, [(buffer, exprs), (source, along)], buffer.dtype)


def _separate(context: Context, node: Node, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of one call, apart or packed, their stretches of the bias added.

    query          key                 value               rank
    [b, s, q]      [b, t, q]           [b, t, v]           3
    [b, s, q]      [b, heads, t, d]    [b, heads, t, d]    4: projected already, as they lie in a cache
    [b, s, q]      [b, t, heads, 2, d] absent              5
    [b, s, heads, 3, d]  absent        absent              5
    """
    builder = context.builder
    heads = node.integer("num_heads")
    query, key, value, bias = (
        required(inputs, 0),
        optional(inputs, 1),
        optional(inputs, 2),
        optional(inputs, 3),
    )
    if query.rank == 5 or (key is not None and key.rank == 5):
        parts = _unpacked(builder, query, key)
    elif key is None or value is None:
        parts = _thirds(builder, query)
    else:
        parts = [query, key, value]
    if any(part.rank not in (3, 4) for part in parts) or parts[0].rank == 4:
        raise ModelError(f"query, key and value of ranks {[part.rank for part in parts]} are not supported")
    if bias is not None and parts[1].rank == 4:
        parts[0] = builder.elementwise("add", parts[0], slice_view(builder, bias, 0, 0, parts[0].shape[2]))
    else:
        parts = projected_bias(builder, parts, bias)
    q, k, v = (split_heads(builder, part, heads) for part in parts)
    return q, k, v


def _unpacked(builder: Builder, query: Tensor, key: Tensor | None) -> list[Tensor]:
    """Parts that lie beside each other a head, each as [b, length, hidden]."""
    packed = query if key is None else key
    count = 3 if key is None else 2
    if packed.rank != 5 or packed.shape[3] != count:
        raise ModelError(f"packed queries, keys and values have shape {list(packed.shape)}")
    batch, length, heads, _, size = packed.shape
    parts = [
        builder.reshape(slice_view(builder, packed, 3, index, 1), (batch, length, heads * size))
        for index in range(count)
    ]
    return parts if key is None else [query, *parts]


def _thirds(builder: Builder, packed: Tensor) -> list[Tensor]:
    width = known(packed.shape[2], "the hidden size")
    if packed.rank != 3 or width % 3:
        raise ModelError(f"a packed query of shape {list(packed.shape)} is not three equal parts")
    return [slice_view(builder, packed, 2, index * (width // 3), width // 3) for index in range(3)]


def _filled(context: Context, longest: Dim, new: Dim, offset: Tensor) -> Tensor:
    """Which places of a buffer hold a key once the new ones lie behind `offset` others."""
    builder = context.builder
    places = builder.table((longest,), DType.I64, lambda extents: np.arange(extents[0]))
    end = builder.elementwise("add", offset, builder.count([new], DType.I64))
    return builder.elementwise("less", places, end, dtype=DType.BOOL)


def _with_past(context: Context, past: Tensor, new: Tensor, offset: Tensor | None) -> Tensor:
    """The new behind the past; at `offset` of a buffer where one is given."""
    builder = context.builder
    if offset is None:
        return concat(builder, [past, new], 2)
    if new.shape[2] != 1:
        raise ModelError("a buffer takes one new key a call; export with a growing past")
    places = builder.table((past.shape[2], 1), DType.I64, lambda extents: np.arange(extents[0])[:, None])
    here = builder.elementwise("equal", places, offset, dtype=DType.BOOL)
    return builder.elementwise("where", here, new, past)


def _decoder_masked(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """DecoderMaskedMultiHeadAttention: the same for one token, inputs in another order."""
    if required(inputs, 0).shape[1] != 1:
        raise ModelError("this operator takes one token a call")
    order = (0, 1, 2, 10, 3, 4, 5, 6, 7, 9)
    return _multi_head_attention(context, node, [optional(inputs, index) for index in order])


def _projected(context: Context, node: Node, projected: Tensor, inputs: Inputs) -> list[Tensor]:
    """Attention over one projected input [b, s, q + k + v], with a mask, a past, a bias: result, present."""
    builder = context.builder
    if node.integer("do_rotary", 0):
        raise ModelError("do_rotary is not supported; export RotaryEmbedding and MultiHeadAttention")
    if node.integer("past_present_share_buffer", 0):
        raise ModelError("past_present_share_buffer is not supported; export with a growing past")
    width = known(projected.shape[2], "the hidden size")
    sizes = node.integers("qkv_hidden_sizes", []) or [width // 3] * 3
    if len(sizes) != 3 or sum(sizes) != width:
        raise ModelError(f"qkv_hidden_sizes {sizes} do not sum to {width}")
    starts = (0, sizes[0], sizes[0] + sizes[1])
    heads = node.integer("num_heads")
    q, k, v = (
        split_heads(builder, slice_view(builder, projected, 2, start, size), heads)
        for start, size in zip(starts, sizes, strict=True)
    )
    mask, past, bias = inputs
    offset = builder.scalar(0, DType.I64)
    if past is not None:
        if past.rank != 5:
            raise ModelError(f"past has rank {past.rank}, not 5: keys and values of all heads")
        offset = builder.count([past.shape[3]], DType.I64)
        old = [builder.reshape(slice_view(builder, past, 0, index, 1), past.shape[1:]) for index in (0, 1)]
        k, v = concat(builder, [old[0], k], 2), concat(builder, [old[1], v], 2)
    y, _ = _attended(context, node, _Call(q, k, v, offset, q.shape[2], mask, bias))
    if len(node.outputs) < 2 or not node.outputs[1]:
        return [y]
    return [y, concat(builder, [builder.reshape(part, (1, *part.shape)) for part in (k, v)], 0)]


def _attention(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """Attention: one weight projects the input to queries, keys and values."""
    builder = context.builder
    projected = matmul(builder, required(inputs, 0), required(inputs, 1))
    bias = optional(inputs, 2)
    if bias is not None:
        projected = builder.elementwise("add", projected, bias)
    return _projected(context, node, projected, [optional(inputs, index) for index in (3, 4, 5)])


def _quantized_attention(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """QAttention: the projection is a product of integers."""
    x, weights, bias, x_scale, w_scale = (required(inputs, index) for index in range(5))
    operands = [x, weights, x_scale, w_scale, optional(inputs, 6), optional(inputs, 7), bias]
    projected = integer_to_float(context, operands)
    return _projected(context, node, projected, [optional(inputs, 5), optional(inputs, 8), None])


MULTI_HEAD: Mapping[str, Build] = {
    "Attention": _attention,
    "DecoderMaskedMultiHeadAttention": _decoder_masked,
    "MultiHeadAttention": _multi_head_attention,
    "QAttention": _quantized_attention,
}
