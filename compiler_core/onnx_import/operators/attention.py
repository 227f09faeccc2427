"""The standard's Attention in structured ops: scores, mask, softmax, values."""

import math
from collections.abc import Mapping

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import axis_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.tensor_data import element_type
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
from tilewright.compiler_core.onnx_import.operators.movement import concat


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
    k, v = (split_heads(builder, required(inputs, index), key_heads) for index in (1, 2))
    past_key, past_value = optional(inputs, 4), optional(inputs, 5)
    past: Dim = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        k, v = concat(builder, [past_key, k], 2), concat(builder, [past_value, v], 2)
    scale = node.number("scale", 0.0) or 1 / math.sqrt(known(q.shape[3], "the head size"))
    scores = builder.with_number("mul", head_product(builder, q, k, transposed=True), scale)
    stages = [scores]
    scores = capped(builder, scores, node.number("softcap", 0.0))
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


ATTENTION: Mapping[str, Build] = {"Attention": _attention}
