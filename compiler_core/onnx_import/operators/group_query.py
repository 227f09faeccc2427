"""com.microsoft GroupQueryAttention: queries of several heads a key head, beside a cache of keys and values.

The tokens of a row of the batch that are there before the new ones are `before`, with them there are `ends`.
Both are extents where the model tells them, else numbers that the input seqlens_k holds:

    first prompt         before = 0              the new keys are the cache
    told by the model    before = a number       a concat
    told by data         before = ends - queries    place j of the cache is past[j] or new[j - before]
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, SymDim, at_most, known, product_of
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    known_dims,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.gathering import gather
from tilewright.compiler_core.onnx_import.operators.heads import (
    Mask,
    both,
    capped,
    distances,
    head_product,
    join_heads,
    masked_softmax,
    split_heads,
    with_mask,
)
from tilewright.compiler_core.onnx_import.operators.kv_cache import behind, steps, storage
from tilewright.compiler_core.onnx_import.operators.movement import concat, to_length
from tilewright.compiler_core.onnx_import.operators.normalization import rms_normalization
from tilewright.compiler_core.onnx_import.operators.rotary import rotated
from tilewright.compiler_core.onnx_import.operators.views import slice_view

Count: TypeAlias = Dim | Tensor
"""Tokens: as many in every row of the batch, or i64 [batch]."""


@dataclass(frozen=True)
class _Tokens:
    """Lengths of one call: queries, new keys, the whole that the model tells, the cache that comes out.

    `first` says that the queries are the whole sequence so far; None where symbols decide it.
    """

    queries: Dim
    new: Dim
    total: Dim
    cache: Dim
    first: bool | None
    before: Count
    ends: Count


def _group_query_attention(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """Result, keys and values with those of the past before them, and scores where `qk_output` asks."""
    if node.integer("sliding_window_cache", 0):
        raise ModelError("sliding_window_cache is not supported; export with a cache of the whole sequence")
    q, k, v = _parts(context, node, inputs)
    past = [optional(inputs, 3), optional(inputs, 4)]
    if (past[0] is None) != (past[1] is None):
        raise ModelError("past_key and past_value must be given together")
    tokens = _tokens(context, inputs, q, k, past[0])
    q, k = _normed(context, node, inputs, (q, k))
    if node.integer("do_rotary", 0):
        q, k = _turned(context, node, inputs, tokens, (q, k))
    caches, held = [], []
    for index, (old, new) in enumerate(zip(past, (k, v), strict=True)):
        kind = node.text(("k_quant_type", "v_quant_type")[index], "NONE")
        store = storage(
            context, kind, node.integer("kv_cache_bit_width", 8), optional(inputs, 12 + index), new
        )
        caches.append(_cached(context, old, store.stored(new), tokens))
        held.append(store.real(caches[index], q.dtype))
    y, shown = _attended(context, node, inputs, tokens, (q, *held))
    return [y, *caches, slice_view(context.builder, shown, 3, 0, tokens.total)]


def _attended(
    context: Context, node: Node, inputs: Inputs, tokens: _Tokens, parts: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The result [b, s, hidden], and its weights or, where `qk_output` is 1, its scores."""
    builder = context.builder
    q, keys, values = parts
    scale = node.number("scale", 0.0) or 1 / math.sqrt(known(q.shape[3], "the head size"))
    scores = builder.with_number("mul", head_product(builder, q, keys, transposed=True), scale)
    scores = capped(builder, scores, node.number("softcap", 0.0))
    bias = optional(inputs, 10)
    mask = Mask(
        None if bias is None else to_length(builder, bias, bias.rank - 1, tokens.cache),
        _allowed(context, node, tokens),
        may_empty_rows=isinstance(tokens.ends, Tensor) and node.integer("local_window_size", -1) > 0,
    )
    scores = with_mask(context, scores, mask)
    weights = masked_softmax(context, scores, mask, _sink(context, node, inputs, scores))
    y = join_heads(builder, head_product(builder, weights, values, transposed=False))
    if node.integer("qk_output", 0) != 1:
        return y, weights
    if mask.allowed is not None:
        scores = builder.elementwise("where", mask.allowed, scores, builder.scalar(0.0, scores.dtype))
    return y, scores


def _normed(
    context: Context, node: Node, inputs: Inputs, parts: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Queries and keys, each head normalized where the model gives factors for it."""
    factors = [optional(inputs, index) for index in (14, 15)]
    epsilon = node.number("qk_norm_epsilon", 1e-6)
    q, k = (
        part if factor is None else rms_normalization(context, part, 3, epsilon, factor)[0]
        for part, factor in zip(parts, factors, strict=True)
    )
    return q, k


def _parts(context: Context, node: Node, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [b, heads, s, d], keys and values [b, groups, new, d], from three inputs or packed in one."""
    builder = context.builder
    heads, groups = node.integer("num_heads"), node.integer("kv_num_heads")
    if heads < 1 or groups < 1 or heads % groups:
        raise ModelError(f"{groups} key heads do not divide {heads} query heads")
    query, key, value = required(inputs, 0), optional(inputs, 1), optional(inputs, 2)
    if query.rank != 3 or (key is None) != (value is None):
        raise ModelError("query must have rank 3, key and value be given together or packed behind it")
    if key is not None and value is not None:
        parts = (split_heads(builder, query, heads), *(split_heads(builder, t, groups) for t in (key, value)))
        return parts[0], parts[1], parts[2]
    packed = split_heads(builder, query, heads + 2 * groups)
    starts = ((0, heads), (heads, groups), (heads + groups, groups))
    q, k, v = (slice_view(builder, packed, 1, start, count) for start, count in starts)
    return q, k, v


def _tokens(context: Context, inputs: Inputs, q: Tensor, k: Tensor, past: Tensor | None) -> _Tokens:
    """The lengths, by the rule that a cache grows by what is new unless the whole fits into it.

    Where an input holds the whole length, a run is taken to give it that of the past and the new, and every
    row of the batch all of it.
    """
    builder = context.builder
    lengths, whole = required(inputs, 5), required(inputs, 6)
    length: Dim = 0 if past is None else past.shape[2]
    total = _told(context, whole, length + k.shape[2])
    fits = past is not None and at_most(total, length)
    cache = length if fits else builder.equal(length + k.shape[2], total, "old and new keys, and the whole")
    first = True if q.shape[2] == total else None
    if isinstance(total, int) and isinstance(q.shape[2], int):
        first = total == q.shape[2]
    context.presume(whole, builder.expand(builder.count([total], whole.dtype), whole.shape))
    context.presume(lengths, builder.expand(builder.count([total - 1], lengths.dtype), lengths.shape))
    last = [] if builder.content(lengths) is None else known_dims(context, lengths, "seqlens_k")
    if len(set(last)) == 1:
        ends: Count = last[0] + 1
    else:
        flat = builder.reshape(builder.cast(lengths, DType.I64), (q.shape[0],))
        ends = builder.with_number("add", flat, 1)
    before = _before(context, first, ends, (q.shape[2], total))
    if isinstance(before, int) and isinstance(length, int) and not 0 <= before <= length:
        raise ModelError(f"seqlens_k tells of {before} tokens in the past, the cache holds {length}")
    return _Tokens(q.shape[2], k.shape[2], total, cache, first, before, ends)


def _told(context: Context, total: Tensor, otherwise: Dim) -> Dim:
    """The one element of `total` as an extent; `otherwise` where only the data hold it."""
    content = context.builder.content(total)
    if content is None:
        return otherwise
    if content.size != 1:
        raise ModelError("total_sequence_length must have one element")
    element = content.ravel()[0]
    return element if isinstance(element, SymDim) else int(element)


def _before(context: Context, first: bool | None, ends: Count, lengths: tuple[Dim, Dim]) -> Count:
    """Tokens before those of this call, from the lengths of the queries and of the whole."""
    builder = context.builder
    if first:
        return 0
    if not isinstance(ends, Tensor):
        return ends - lengths[0]
    behind = builder.elementwise("sub", ends, builder.count([lengths[0]], DType.I64))
    rest = builder.elementwise("maximum", behind, builder.scalar(0, DType.I64))
    if first is False:
        return rest
    return builder.elementwise("where", _is_later(context, lengths), rest, builder.scalar(0, DType.I64))


def _is_later(context: Context, lengths: tuple[Dim, Dim]) -> Tensor:
    """A constant: whether the queries are not the whole sequence, known once the dims are."""
    pair = context.builder.extents(lengths, (2,))
    return context.builder.derived_table(
        (), DType.BOOL, [pair], lambda extents, sources: np.asarray(sources[0][0] != sources[0][1])
    )


def _turned(
    context: Context, node: Node, inputs: Inputs, tokens: _Tokens, parts: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Queries and keys turned by the angles of their positions: those given, else those behind the past."""
    builder = context.builder
    tables = [required(inputs, index) for index in (7, 8)]
    positions = _positions(context, optional(inputs, 9), tokens)
    if isinstance(positions, Tensor):
        cosines, sines = (gather(builder, table, positions, 0) for table in tables)
    else:
        rows_of = [slice_view(builder, table, 0, positions, tokens.queries) for table in tables]
        cosines, sines = (builder.reshape(rows, (1, *rows.shape)) for rows in rows_of)
    width = 2 * known(tables[0].shape[1], "the width of the rotary tables")
    interleaved = bool(node.integer("rotary_interleaved", 0))
    q, k = (rotated(builder, part, cosines, sines, width, interleaved=interleaved) for part in parts)
    return q, k


def _positions(context: Context, given: Tensor | None, tokens: _Tokens) -> Dim | Tensor:
    """The positions [batch or 1, queries] of the queries; of a row without gaps its first one."""
    builder = context.builder
    if given is None:
        if not isinstance(tokens.before, Tensor):
            return tokens.before
        starts = builder.reshape(tokens.before, (tokens.before.shape[0], 1))
        return builder.elementwise("add", steps(context, tokens.queries), starts)
    if tokens.first is False:
        return given
    # Of a first prompt the one position given is that of the first token.
    flat = builder.reshape(given, (product_of(given.shape),))
    start = builder.reshape(slice_view(builder, flat, 0, 0, 1), (1, 1))
    counted = builder.elementwise("add", steps(context, tokens.queries), start)
    if tokens.first:
        return counted
    later = _is_later(context, (tokens.queries, tokens.total))
    return builder.elementwise("where", later, given, counted)


def _cached(context: Context, past: Tensor | None, new: Tensor, tokens: _Tokens) -> Tensor:
    """The cache [b, groups, cache, d] after this call: the past, the new rows, zeros."""
    builder = context.builder
    # Without keys of its own a layer looks at those of another, the newest among them.
    kept = tokens.ends if tokens.new == 0 else tokens.before
    if past is None:
        return new
    if isinstance(kept, Tensor):
        return behind(context, past, new, kept, tokens.cache)
    held = concat(builder, [slice_view(builder, past, 2, 0, kept), new], 2)
    return to_length(builder, held, 2, tokens.cache)


def _allowed(context: Context, node: Node, tokens: _Tokens) -> Tensor | None:
    """The places of the cache that each query attends: none ahead, none outside a window, none unused."""
    causal = node.integer("causal", 1)
    window = node.integer("local_window_size", -1)
    if causal not in (0, 1) or (window > 0 and not causal):
        raise ModelError(f"causal is {causal} and local_window_size {window}; a window needs causal 1")
    last: Tensor | None = None
    if not causal or tokens.first is not False or tokens.new == 0:
        last = _within(context, tokens)
    if not causal:
        return last
    distance = _distance(context, tokens)
    zero = context.builder.scalar(0, DType.I64)
    allowed = both(context, last, context.builder.elementwise("less_equal", zero, distance, dtype=DType.BOOL))
    if window > 0:
        limit = context.builder.scalar(window, DType.I64)
        near = context.builder.elementwise("less", distance, limit, dtype=DType.BOOL)
        allowed = both(context, allowed, near)
    return allowed


def _distance(context: Context, tokens: _Tokens) -> Tensor:
    """The distance of a cache place behind a query: [queries, cache], or [batch, 1, queries, cache]."""
    builder = context.builder
    apart = distances(context, tokens.queries, tokens.cache)
    if not isinstance(tokens.before, Tensor):
        return builder.elementwise("add", apart, builder.count([tokens.before], DType.I64))
    starts = builder.reshape(tokens.before, (tokens.before.shape[0], 1, 1, 1))
    return builder.elementwise("add", apart, starts)


def _within(context: Context, tokens: _Tokens) -> Tensor | None:
    """The places of the cache that hold a token; None where all do."""
    builder = context.builder
    if tokens.ends == tokens.cache:
        return None
    ends = (
        builder.reshape(tokens.ends, (tokens.ends.shape[0], 1, 1, 1))
        if isinstance(tokens.ends, Tensor)
        else builder.count([tokens.ends], DType.I64)
    )
    return builder.elementwise("less", steps(context, tokens.cache), ends, dtype=DType.BOOL)


def _sink(context: Context, node: Node, inputs: Inputs, scores: Tensor) -> Tensor | None:
    """The score a head gives to nothing: an input [heads], or 0 with smooth_softmax."""
    builder = context.builder
    given = optional(inputs, 11)
    if given is not None:
        return builder.reshape(given, (scores.shape[1], 1, 1))
    return builder.scalar(0.0, scores.dtype) if node.integer("smooth_softmax", 0) == 1 else None


GROUP_QUERY: Mapping[str, Build] = {"GroupQueryAttention": _group_query_attention}
