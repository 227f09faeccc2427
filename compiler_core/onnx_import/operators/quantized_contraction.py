"""Products of quantized tensors kept in integers.

    Q = (x - zx) * sx,  W = (w - zw) * sw,  v = w - zw
    sum of Q * W  =  sx * sw * (sum of x * v  -  zx * sum of v)

The contraction runs on the stored integers (weights centred when the model is read), reads zx outside the
input, and one dequantize with the i32 zero point zx * sum(w) - bias gives the real result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.constants import Recipe
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Context


@dataclass(frozen=True)
class QuantizedPair:
    """Two integer tensors to contract: the left per tensor with a known zero point, the right constant.

    `right` is centred; `sums` is the sum of its elements an output channel, i32; `scale` is left scale times
    right scale, of rank 0 or 1 (an output channel).
    """

    left: Tensor
    left_zero: float
    right: Tensor
    sums: Tensor
    scale: Tensor


def quantized_pair(context: Context, left: Tensor, right: Tensor, output_dim: int) -> QuantizedPair | None:
    """The pair behind two dequantized tensors, or None where they are not of that form.

    `output_dim` is the dim of `right` that counts output channels; every other dim is summed over.
    """
    builder = context.builder
    a, b = left.quantized, right.quantized
    if a is None or b is None or b.integers.recipe is None or a.scale.rank or b.scale.rank > 1:
        return None
    zero = builder.content(a.zero_point)
    if zero is None or a.scale.recipe is None or b.scale.recipe is None or a.scale.dtype is not b.scale.dtype:
        return None
    if b.scale.rank == 1 and b.axis != output_dim:
        return None
    weights = centred(context, b.integers, b.zero_point, b.axis)
    return QuantizedPair(
        a.integers,
        float(zero.ravel()[0]),
        weights,
        channel_sums(context, weights, output_dim),
        builder.elementwise("mul", a.scale, b.scale),
    )


def centred(context: Context, integers: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    """Constant integers minus their zero point: as they are where it is zero, else one type wider."""
    builder = context.builder
    zeros = builder.content(zero_point)
    if zeros is not None and not zeros.any():
        return integers
    wide = builder.cast(integers, DType.I16)
    offset = builder.cast(zero_point, DType.I16)
    if offset.rank == 1:
        offset = builder.reshape(offset, (offset.shape[0], *[1] * (integers.rank - axis - 1)))
    return builder.elementwise("sub", wide, offset)


def channel_sums(context: Context, weights: Tensor, output_dim: int) -> Tensor:
    """The i32 sum of constant weights over all dims but `output_dim`."""
    dims = tuple(dim for dim in range(weights.rank) if dim != output_dim)

    def compute(sources: Sequence[Array], symbols: Mapping[str, int]) -> Array:
        return np.asarray(sources[0].astype(np.int32).sum(axis=dims, dtype=np.int32))

    sources = () if weights.recipe is None else (weights.recipe,)
    return context.builder.lazy_constant((weights.shape[output_dim],), DType.I32, Recipe(compute, sources))


def dequantized(
    context: Context, pair: QuantizedPair, sums: Tensor, bias: Tensor | None, channel_dim: int
) -> Tensor:
    """The real result of i32 `sums`, bias added; `channel_dim` of the result counts output channels.

    A bias that is itself i32 at the product's scale goes into the zero point and stays exact.
    """
    builder = context.builder
    zero = builder.with_number("mul", pair.sums, pair.left_zero)
    exact = bias is not None and bias.quantized is not None and _fits(context, bias, pair)
    if exact and bias is not None and bias.quantized is not None:
        zero = builder.elementwise("sub", zero, bias.quantized.integers)
    shape = (pair.sums.shape[0], *[1] * (sums.rank - channel_dim - 1))
    scale = pair.scale if not pair.scale.rank else builder.reshape(pair.scale, shape)
    real = builder.elementwise(
        "dequantize", sums, scale, builder.reshape(zero, shape), dtype=pair.scale.dtype
    )
    if bias is None or exact:
        return real
    return builder.elementwise("add", real, builder.reshape(bias, shape))


def _fits(context: Context, bias: Tensor, pair: QuantizedPair) -> bool:
    """Whether a quantized bias is i32, zero at zero, and scaled like the product (to one part in 10**4)."""
    quantized = bias.quantized
    if quantized is None or quantized.integers.dtype is not DType.I32:
        return False
    zeros = context.builder.content(quantized.zero_point)
    have, want = context.builder.content(quantized.scale), context.builder.content(pair.scale)
    if zeros is None or zeros.any() or have is None or want is None:
        return False
    return bool(np.allclose(have.astype(np.float64), want.astype(np.float64), rtol=1e-4, atol=0))
