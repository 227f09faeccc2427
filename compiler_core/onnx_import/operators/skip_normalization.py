"""Normalizations as onnxruntime fuses them: of a sum, of embeddings, by the root of the mean square."""

from collections.abc import Mapping, Sequence

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axis,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.gathering import gather
from tilewright.compiler_core.onnx_import.operators.normalization import (
    layer_normalization,
    rms_normalization,
    widened,
)
from tilewright.compiler_core.onnx_import.operators.quantized import dequantize
from tilewright.compiler_core.onnx_import.operators.views import slice_view


def _total(context: Context, inputs: Inputs, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Input + skip (+ bias) in the input's shape: widened, and in its type."""
    builder = context.builder
    x = required(inputs, 0)
    total = widened(builder, x)
    for other in (required(inputs, 1), bias):
        if other is not None:
            total = builder.elementwise("add", total, widened(builder, other), dtype=total.dtype)
    return total, builder.cast(total, x.dtype)


def _skip_layer_normalization(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """LayerNormalization of a sum; its statistics; the sum."""
    wide, total = _total(context, inputs, optional(inputs, 4))
    epsilon = node.number("epsilon", 1e-12)
    gamma, beta = required(inputs, 2), optional(inputs, 3)
    return [*layer_normalization(context, wide, wide.rank - 1, epsilon, gamma, beta), total]


def _skip_simplified(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """RMSNormalization of a sum; a mean that onnxruntime takes for 0, and the reciprocal root; the sum."""
    wide, total = _total(context, inputs, optional(inputs, 3))
    epsilon = node.number("epsilon", 1e-12)
    y, inverse = rms_normalization(context, wide, wide.rank - 1, epsilon, required(inputs, 2))
    none = context.builder.expand(context.builder.scalar(0.0, DType.F32), inverse.shape)
    return [y, none, inverse, total]


def simplified_layer_normalization(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """RMSNormalization by its name in onnxruntime, and the reciprocal root."""
    x = required(inputs, 0)
    axis = checked_axis(node.integer("axis", -1), x.rank)
    return rms_normalization(context, x, axis, node.number("epsilon", 1e-5), required(inputs, 1))


def _embed_layer_normalization(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """LayerNormalization of a word's, a position's and a segment's row, the words unmasked, and the sum."""
    tables = [required(inputs, 2), required(inputs, 3), optional(inputs, 4)]
    vectors = [required(inputs, 5), required(inputs, 6)]
    return _embedded(context, node, inputs, tables, vectors)


def _quantized_embed(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """The same of quantized tables and vectors, a scale and a zero point each."""
    parts: list[Tensor | None] = []
    for index in range(5):
        stored = optional(inputs, 2 + index)
        scale, zero = optional(inputs, 8 + index), optional(inputs, 13 + index)
        real = None if stored is None or scale is None else dequantize(context, stored, scale, zero, 0)
        parts.append(real)
    vectors = [required(parts, 3), required(parts, 4)]
    return _embedded(context, node, inputs[:8], parts[:3], vectors)


def _embedded(
    context: Context,
    node: Node,
    inputs: Inputs,
    tables: Sequence[Tensor | None],
    vectors: Sequence[Tensor],
) -> list[Tensor]:
    """From the ids of `inputs`, the tables of words, positions and segments, and gamma and beta."""
    builder = context.builder
    words, positions, segments = required(tables, 0), required(tables, 1), optional(tables, 2)
    ids, segment_ids, mask = required(inputs, 0), optional(inputs, 1), optional(inputs, 7)
    places = optional(inputs, 8)
    if ids.rank != 2:
        raise ModelError(f"ids of rank {ids.rank} are not [batch, sequence]")
    total = gather(builder, words, ids, 0)
    rows = (
        slice_view(builder, positions, 0, 0, ids.shape[1])
        if places is None
        else gather(builder, positions, places, 0)
    )
    total = builder.elementwise("add", total, rows)
    if segments is not None and segment_ids is not None:
        total = builder.elementwise("add", total, gather(builder, segments, segment_ids, 0))
    epsilon = node.number("epsilon", 1e-12)
    y = layer_normalization(context, total, 2, epsilon, vectors[0], vectors[1])[0]
    return [y, _unmasked(context, ids, mask), total]


def _unmasked(context: Context, ids: Tensor, mask: Tensor | None) -> Tensor:
    """The number of words of each row that a mask keeps, [batch]; zeros without a mask."""
    builder = context.builder
    if mask is None:
        return builder.view(builder.scalar(0, DType.I32), (ids.shape[0],), [])
    one = builder.scalar(1, mask.dtype)
    kept = builder.cast(builder.elementwise("equal", mask, one, dtype=DType.BOOL), DType.I32)
    return builder.reduce("sum", kept, [1], keep=False)


SKIP_NORMALIZATIONS: Mapping[str, Build] = {
    "EmbedLayerNormalization": _embed_layer_normalization,
    "QEmbedLayerNormalization": _quantized_embed,
    "SimplifiedLayerNormalization": simplified_layer_normalization,
    "SkipLayerNormalization": _skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": _skip_simplified,
}
