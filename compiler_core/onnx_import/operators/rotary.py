"""Rotary embeddings in structured ops: pairs of a head's elements turned by the angle of their position."""

from collections.abc import Mapping

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import floordiv, known
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.gathering import gather
from tilewright.compiler_core.onnx_import.operators.heads import join_heads, split_heads
from tilewright.compiler_core.onnx_import.operators.movement import concat
from tilewright.compiler_core.onnx_import.operators.views import slice_view


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


ROTARY: Mapping[str, Build] = {"RotaryEmbedding": _rotary_embedding}
