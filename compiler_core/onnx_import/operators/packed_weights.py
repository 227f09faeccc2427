"""Weights that lie several to a byte, as language models are shipped: products, and rows gathered."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, Shape, ceildiv, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import affine, axis_index
from tilewright.compiler_core.ir.ops import Array
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
from tilewright.compiler_core.onnx_import.operators.contraction import matmul
from tilewright.compiler_core.onnx_import.operators.gathering import gather
from tilewright.compiler_core.onnx_import.operators.quantized import dequantize


def _matmul_n_bits(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """A product with w [N, K] of `bits` bits, transposed: a scale and a zero point for each block along K.

    g_idx [K] gives the block of each column where the columns were reordered.
    """
    builder = context.builder
    bits, block = node.integer("bits", 4), node.integer("block_size")
    depth, width = node.integer("K"), node.integer("N")
    if bits not in (2, 4, 8) or block <= 0 or depth <= 0 or width <= 0:
        raise ModelError(f"{bits} bits, blocks of {block}, [{width}, {depth}] weights are not supported")
    if node.integer("weight_prepacked", 0):
        raise ModelError(
            "weights packed for one device (weight_prepacked) are not supported; export them plain"
        )
    a, packed, scales = (required(inputs, index) for index in range(3))
    blocks = (width, ceildiv(depth, block))
    weights = unpacked(context, packed, (width, depth), bits)
    zeros = optional(inputs, 3)
    if zeros is None:
        zeros = builder.expand(builder.scalar(1 << (bits - 1), DType.U8), blocks)
    elif zeros.dtype is DType.U8:
        zeros = unpacked(context, zeros, blocks, bits)
    parts = [builder.reshape(part, blocks) for part in (scales, zeros)]
    order = optional(inputs, 4)
    along = [
        builder.view(part, (width, depth), [axis_index(0), affine((1, 1), divisor=block)])
        if order is None
        else gather(builder, part, order, 1)
        for part in parts
    ]
    product = matmul(builder, a, _real(context, weights, along[0], along[1]), transpose_right=True)
    bias = optional(inputs, 5)
    return product if bias is None else builder.elementwise("add", product, bias)


def _real(context: Context, weights: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """(weights - zeros) * scales, zero points of integers or of reals."""
    builder = context.builder
    if zeros.dtype is weights.dtype:
        return builder.elementwise("dequantize", weights, scales, zeros, dtype=scales.dtype)
    centred = builder.elementwise("sub", builder.cast(weights, scales.dtype), zeros)
    return builder.elementwise("mul", centred, scales)


def unpacked(context: Context, packed: Tensor, shape: Shape, bits: int) -> Tensor:
    """A constant of bytes as numbers of `bits` bits, the low bits of a byte first.

    Every row of `shape`, its last dim, begins with a byte of its own.
    """
    extents = [known(extent, "an extent of packed weights") for extent in shape]
    rows = math.prod(extents[:-1])
    size = math.prod(known(extent, "an extent of packed weights") for extent in packed.shape)
    if packed.dtype is not DType.U8 or size * 8 < rows * extents[-1] * bits or size % max(rows, 1):
        raise ModelError(f"{size} bytes do not hold {extents} numbers of {bits} bits")

    def unpack(made: tuple[int, ...], sources: Sequence[Array]) -> Array:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        parts = sources[0].reshape(rows, -1, 1) >> shifts & ((1 << bits) - 1)
        return parts.reshape(rows, -1)[:, : extents[-1]]

    return context.builder.derived_table(shape, DType.U8, [packed], unpack)


FP4 = (0.0, 0.0052083333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25)
"""Magnitudes of the four-bit floats of bitsandbytes; the eighth bit is the sign."""
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip
"""The sixteen numbers of NormalFloat (Dettmers et al., arXiv 2305.14314, appendix E)."""


def _matmul_bnb4(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """A product with w [N, K], transposed by default: sixteen levels, one scale per flat block."""
    block, kind = node.integer("block_size"), node.integer("quant_type")
    depth, width = node.integer("K"), node.integer("N")
    if block <= 0 or depth <= 0 or width <= 0 or kind not in (0, 1):
        raise ModelError(
            f"quant_type {kind}, blocks of {block}, [{width}, {depth}] weights are not supported"
        )
    a, packed, largest = (required(inputs, index) for index in range(3))
    size = width * depth
    held, scales = (known(part.shape[0], "the size of packed weights") for part in (packed, largest))
    if packed.dtype is not DType.U8 or held < (size + 1) // 2 or scales < -(-size // block):
        raise ModelError(f"{held} bytes and {scales} magnitudes do not hold [{width}, {depth}] numbers")
    table = np.array(NF4 if kind else (*FP4, *(-number for number in FP4)), np.float32)

    def unpack(made: tuple[int, ...], sources: Sequence[Array]) -> Array:
        # The first of two numbers is the high half of a byte.
        halves = np.stack([sources[0] >> 4, sources[0] & 15], axis=1).ravel()[:size]
        return np.asarray(table[halves] * np.repeat(sources[1], block)[:size])

    real = context.builder.derived_table((width, depth), a.dtype, [packed, largest], unpack)
    return matmul(context.builder, a, real, transpose_right=bool(node.integer("transB", 1)))


def _gather_block_quantized(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Rows of quantized data, dequantized once they are gathered; an index outside gives zeros."""
    builder = context.builder
    data, indices, scales = (required(inputs, index) for index in range(3))
    zeros = optional(inputs, 3)
    axis = checked_axis(node.integer("gather_axis", 0), data.rank)
    along = checked_axis(node.integer("quantize_axis", 1), data.rank)
    block = node.integer("block_size", 128)
    if block <= 0:
        raise ModelError(f"blocks of {block} are not supported")
    if data.dtype is DType.U8:
        bits = node.integer("bits", 4)
        if bits not in (2, 4, 8) or axis == data.rank - 1:
            raise ModelError(f"{bits} bits of which rows along axis {axis} are gathered are not supported")
        data = unpacked(context, data, (*data.shape[:-1], data.shape[-1] * (8 // bits)), bits)
        if zeros is None:
            zeros = builder.scalar(1 << (bits - 1), DType.U8)
        else:
            zeros = unpacked(context, zeros, scales.shape, bits)
    rows = gather(builder, data, indices, axis, outside=0)
    within = indices
    if axis == along:
        within = _blocks_of(context, indices, data.shape[axis], block)
    scales = gather(builder, scales, within, axis, outside=0)
    if zeros is not None and zeros.rank:
        zeros = gather(builder, zeros, within, axis, outside=0)
    if axis == along:
        zero = builder.scalar(0, data.dtype) if zeros is None else zeros
        return builder.elementwise("dequantize", rows, scales, zero, dtype=scales.dtype)
    moved = along + indices.rank - 1 if along > axis else along
    return dequantize(context, rows, scales, zeros, moved, block)


def _blocks_of(context: Context, indices: Tensor, extent: Dim, block: int) -> Tensor:
    """The blocks that indices along the blocked axis fall into; outside stays outside."""
    builder = context.builder
    zero, size = builder.scalar(0, indices.dtype), builder.count([extent], indices.dtype)
    below = builder.elementwise("less", indices, zero, dtype=DType.BOOL)
    counted = builder.elementwise("where", below, builder.elementwise("add", indices, size), indices)
    still = builder.elementwise("less", counted, zero, dtype=DType.BOOL)
    counted = builder.elementwise("where", still, size, counted)
    beyond = builder.elementwise("less_equal", size, counted, dtype=DType.BOOL)
    blocks = builder.with_number("div", counted, block)
    outside = builder.count([ceildiv(extent, block)], indices.dtype)
    return builder.elementwise("where", beyond, outside, blocks)


PACKED: Mapping[str, Build] = {
    "GatherBlockQuantized": _gather_block_quantized,
    "MatMulBnb4": _matmul_bnb4,
    "MatMulNBits": _matmul_n_bits,
}
