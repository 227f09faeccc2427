"""Caches of keys and values: their growth, and their storage types.

reals          as they are
8 bits         i8 = round(x / scale)
4 bits         two to a byte of the last dim, the first in the low half, each round(x / scale) + 8
"""

from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, floordiv
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import IndexExpr, axis_index, constant_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Operand, Tensor
from tilewright.compiler_core.onnx_import.building.context import Context
from tilewright.compiler_core.onnx_import.operators.movement import concat
from tilewright.compiler_core.onnx_import.operators.views import slice_view


@dataclass(frozen=True)
class Stored:
    """Stored keys [b, groups, length, size]; `scale` is None for reals."""

    builder: Builder
    bits: int = 0
    scale: Tensor | None = None

    def stored(self, x: Tensor) -> Tensor:
        """Reals as the cache has them."""
        builder = self.builder
        if self.scale is None:
            return x
        if self.bits == 8:
            return builder.elementwise(
                "quantize", x, self.scale, builder.scalar(0, DType.I8), dtype=DType.I8, to="int8"
            )
        wide = builder.cast(x, self.scale.dtype)
        scaled = builder.elementwise("round", builder.elementwise("div", wide, self.scale))
        steps = builder.with_number("add", builder.elementwise("clip", scaled, low=-8.0, high=7.0), 8.0)
        halves = builder.cast(steps, DType.U8)
        low, high = (slice_view(builder, halves, 3, index, floordiv(x.shape[3], 2), 2) for index in (0, 1))
        return builder.elementwise("bit_or", low, builder.with_number("shift_left", high, 4))

    def real(self, cache: Tensor, dtype: DType) -> Tensor:
        """The values of a cache, in `dtype`."""
        builder = self.builder
        if self.scale is None:
            return cache
        if self.bits == 8:
            zero = builder.scalar(0, DType.I8)
            real = builder.elementwise("dequantize", cache, self.scale, zero, dtype=self.scale.dtype)
            return builder.cast(real, dtype)
        halves = [builder.with_number("bit_and", cache, 15), builder.with_number("shift_right", cache, 4)]
        beside = concat(builder, [builder.reshape(half, (*half.shape, 1)) for half in halves], 4)
        numbers = builder.reshape(beside, (*cache.shape[:3], cache.shape[3] * 2))
        eight = builder.scalar(8, DType.U8)
        real = builder.elementwise("dequantize", numbers, self.scale, eight, dtype=self.scale.dtype)
        return builder.cast(real, dtype)


def storage(context: Context, kind: str, bits: int, scale: Tensor | None, x: Tensor) -> Stored:
    """The storage of keys or values x, by attribute k_quant_type or v_quant_type and its scale."""
    builder = context.builder
    if scale is None or kind == "NONE":
        return Stored(builder)
    if kind not in ("PER_TENSOR", "PER_CHANNEL") or bits not in (4, 8):
        raise ModelError(f"a cache of {bits} bits quantized {kind!r} is not supported")
    if kind == "PER_TENSOR":
        return Stored(builder, bits, builder.reshape(scale, ()))
    return Stored(builder, bits, builder.reshape(scale, (1, x.shape[1], 1, x.shape[3])))


def steps(context: Context, count: Dim) -> Tensor:
    """[1, count] of 0, 1, 2..."""
    return context.builder.table((1, count), DType.I64, lambda extents: np.arange(extents[1])[None])


def behind(context: Context, past: Tensor, new: Tensor, before: Tensor, length: Dim) -> Tensor:
    """The new rows behind the first `before` of the past, a number for each row of the batch, then zeros."""
    builder = context.builder
    shape = (*past.shape[:2], length, past.shape[3])
    starts = builder.reshape(before, (before.shape[0], 1))
    ahead = builder.elementwise("sub", steps(context, length), starts)
    zero, nothing = builder.scalar(0, DType.I64), builder.scalar(0, past.dtype)
    along = [axis_index(0), axis_index(2)]
    identity = [axis_index(dim) for dim in range(4)]
    rest: Operand = (nothing, [])
    if new.shape[2] == 1:
        here = builder.elementwise("equal", ahead, zero, dtype=DType.BOOL)
        row = [axis_index(0), axis_index(1), constant_index(0), axis_index(3)]
        moved = builder.op("where", shape, [(here, along), (new, row), rest], new.dtype)
        rest = (moved, identity)
    elif new.shape[2] != 0:
        # A place behind the last new row lies outside and reads zero.
        most = builder.count([new.shape[2]], DType.I64)
        place = builder.elementwise("maximum", builder.elementwise("minimum", ahead, most), zero)
        chosen = [axis_index(0), axis_index(1), IndexExpr(source=1), axis_index(3)]
        moved = builder.op("gather", shape, [(new, chosen, 0.0), (place, along)], new.dtype)
        rest = (moved, identity)
    old = builder.elementwise("less", ahead, zero, dtype=DType.BOOL)
    return builder.op("where", shape, [(old, along), (past, identity, 0.0), rest], past.dtype)
