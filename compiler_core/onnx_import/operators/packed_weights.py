"""Products with weights that lie several to a byte, as language models are shipped."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Shape, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.contraction import matmul
from tilewright.compiler_core.onnx_import.operators.quantized import dequantize


def _matmul_n_bits(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """A product with w [N, K] of `bits` bits, transposed: a scale and a zero point for each block along K."""
    builder = context.builder
    bits, block = node.integer("bits", 4), node.integer("block_size")
    depth, width = node.integer("K"), node.integer("N")
    if bits not in (2, 4, 8) or block <= 0 or depth <= 0 or width <= 0:
        raise ModelError(f"{bits} bits, blocks of {block}, [{width}, {depth}] weights are not supported")
    if optional(inputs, 4) is not None:
        raise ModelError("an order of groups (g_idx) is not supported")
    a, packed, scales = (required(inputs, at) for at in range(3))
    blocks = -(-depth // block)
    weights = unpacked(context, packed, (width, depth), bits)
    zeros = optional(inputs, 3)
    if zeros is None:
        middle = builder.scalar(1 << (bits - 1), DType.U8)
        zeros = builder.expand(middle, (width, blocks))
    elif zeros.dtype is DType.U8:
        zeros = unpacked(context, zeros, (width, blocks), bits)
    else:
        raise ModelError(f"zero points of type {zeros.dtype} are not supported; only packed ones are")
    real = dequantize(context, weights, builder.reshape(scales, (width, blocks)), zeros, 1, block)
    product = matmul(builder, a, real, transpose_right=True)
    bias = optional(inputs, 5)
    return product if bias is None else builder.elementwise("add", product, bias)


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


PACKED: Mapping[str, Build] = {"MatMulNBits": _matmul_n_bits}
