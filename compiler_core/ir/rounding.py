"""Numbers into shorter types, by the standard's Cast and QuantizeLinear."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.ir.dtypes import DType, dtype_of

Array = npt.NDArray[Any]
EIGHT_BITS = frozenset({DType.F8E4M3FN, DType.F8E4M3FNUZ, DType.F8E5M2, DType.F8E5M2FNUZ})
"""Floats whose conversion may saturate: a number that is too large becomes the largest one, not NaN or
infinity.
"""
_LEAST_POWER, _LARGEST_POWER = -127, 127


def converted(x: Array, to: str, *, saturate: bool, rounding: str) -> Array:
    """`x` in the numpy dtype called `to`.

    `saturate` matters for floats of 8 bits, `rounding` ("up", "down", "nearest") for powers of two.
    """
    kind = np.dtype(to)
    dtype = dtype_of(kind)
    if dtype is DType.F8E8M0FNU:
        return _powers_of_two(x, saturate, rounding)
    if saturate and dtype in EIGHT_BITS and dtype_of(x.dtype).is_float:
        # A minimum and not a clip: NaN stays NaN in both, and clip knows no floats of 8 bits.
        wide = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
        x = np.minimum(np.maximum(wide, -dtype.largest), dtype.largest)
    return x.astype(kind)


def _powers_of_two(x: Array, saturate: bool, rounding: str) -> Array:
    """`x` as powers of two between 2**-127 and 2**127; NaN for NaN and for numbers out of range."""
    kind = DType.F8E8M0FNU.numpy
    if x.dtype == kind:
        return x
    wide = x.astype(np.float64)
    fraction, exponent = np.frexp(wide)  # 0.5 <= fraction < 1
    above = {"up": fraction > 0.5, "nearest": fraction >= 0.75, "down": np.zeros(x.shape, np.bool_)}
    power = np.where(wide > 0, exponent - 1 + above[rounding], _LEAST_POWER - 1)
    power = np.where(np.isposinf(wide), _LARGEST_POWER + 1, power)
    outside = (power < _LEAST_POWER) | (power > _LARGEST_POWER)
    made = np.exp2(np.clip(power, _LEAST_POWER, _LARGEST_POWER).astype(np.float64))
    made = np.where(np.isnan(wide) | (outside & (not saturate)), np.nan, made)
    return made.astype(kind)
