"""Rotary embeddings in structured ops: pairs of a head's elements turned by the angle of their position."""

from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import floordiv, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
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
        one, two = (slice_view(builder, x, 3, index, half, 2) for index in range(2))
    else:
        one, two = (slice_view(builder, x, 3, index * half, half) for index in range(2))
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
    if positions is not None:
        cosines, sines = (gather(context.builder, table, positions, 0) for table in (cosines, sines))
    return _turned(context, node, x, cosines, sines)


def _turned(context: Context, node: Node, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """X turned by the angles [b or 1, s, width / 2] of its tokens."""
    builder = context.builder
    width, heads = node.integer("rotary_embedding_dim", 0), node.integer("num_heads", 0)
    if x.rank == 3 and not heads and width == 0:
        heads = known(floordiv(x.shape[2], cosines.shape[-1] * 2), "the number of heads")
    split = split_heads(builder, x, heads)
    size = known(split.shape[3], "the head size")
    width = width or size
    if not 0 < width <= size or width % 2:
        raise ModelError(f"rotary_embedding_dim {width} does not fit a head size of {size}")
    builder.equal(cosines.shape[-1], width // 2, "the width of the tables and half of rotary_embedding_dim")
    y = rotated(builder, split, cosines, sines, width, interleaved=bool(node.integer("interleaved", 0)))
    return join_heads(builder, y) if x.rank == 3 else y


def _rotary_embedding(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, cosines, sines = (required(inputs, index) for index in range(3))
    return rotary_embedding(context, node, x, optional(inputs, 3), cosines, sines)


def _microsoft_rotary_embedding(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Positions before the tables; one position is the first of a row of consecutive ones.

    Attribute scale changes nothing in onnxruntime, nor does it here.
    """
    x, positions, cosines, sines = (required(inputs, index) for index in range(4))
    builder = context.builder
    if positions.rank < 2:
        sequence = x.shape[1] if x.rank == 3 else x.shape[2]
        steps = builder.table((1, sequence), DType.I64, lambda extents: np.arange(extents[1])[None])
        positions = builder.elementwise("add", steps, builder.reshape(positions, (1, 1)))
    return rotary_embedding(context, node, x, positions, cosines, sines)


def _multimodal_rotary_embedding(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """MRotaryEmbedding: each column of the tables is read at the time, the height or the width of a token."""
    x, positions, *tables = (required(inputs, index) for index in range(4))
    builder = context.builder
    sections = node.integers("mrope_section")
    width = known(tables[0].shape[1], "the width of the rotary tables")
    if len(sections) != 3 or min(sections) < 0 or sum(sections) != width or positions.rank != 3:
        raise ModelError(f"mrope_section {sections} does not fit {width} columns of three positions a token")
    stream = _streams(sections, interleaved=node.integer("mrope_layout", 0) == 1)
    chosen = [builder.constant(stream == index) for index in (1, 2)]
    angles = []
    for table in tables:
        rows = [
            gather(
                builder,
                table,
                builder.reshape(slice_view(builder, positions, 0, index, 1), positions.shape[1:]),
                0,
            )
            for index in range(3)
        ]
        spatial = builder.elementwise("where", chosen[0], rows[1], rows[0])
        angles.append(builder.elementwise("where", chosen[1], rows[2], spatial))
    return _turned(context, node, x, angles[0], angles[1])


def _streams(sections: Sequence[int], *, interleaved: bool) -> Array:
    """Which of three positions a column of the tables is read at: in stretches, or every third in turns."""
    if not interleaved:
        return np.repeat(np.arange(3), sections)
    stream = np.zeros(sum(sections), np.int64)
    for index in (1, 2):
        stream[index : 3 * sections[index] : 3] = index
    return stream


ROTARY: Mapping[str, Build] = {"RotaryEmbedding": _rotary_embedding}
ROTARY_MICROSOFT: Mapping[str, Build] = {
    "MRotaryEmbedding": _multimodal_rotary_embedding,
    "RotaryEmbedding": _microsoft_rotary_embedding,
}
