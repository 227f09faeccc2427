"""Element types and tensor types.

A value has one dtype, the model's. The type in which a Target stores it is a matter of the Target: it sets
bytes and timing, and has no part in the law, the verifier and the comparison with onnxruntime.
"""

from dataclasses import dataclass
from enum import StrEnum

import ml_dtypes
import numpy as np

from tilewright.compiler_core.ir.dims import Shape


class DType(StrEnum):
    """Element types that a Graph may hold."""

    F64 = "f64"
    F32 = "f32"
    F32_SUM = "f32sum"
    """Partial sums between two kernels: f32 that no target stores as anything shorter."""
    F16 = "f16"
    BF16 = "bf16"
    F8E4M3FN = "f8e4m3fn"
    F8E4M3FNUZ = "f8e4m3fnuz"
    F8E5M2 = "f8e5m2"
    F8E5M2FNUZ = "f8e5m2fnuz"
    F8E8M0FNU = "f8e8m0fnu"
    """Powers of two, for scales: no sign and no zero."""
    F6E2M3FN = "f6e2m3fn"
    F6E3M2FN = "f6e3m2fn"
    F4E2M1FN = "f4e2m1fn"
    I64 = "i64"
    I32 = "i32"
    I16 = "i16"
    I8 = "i8"
    I4 = "i4"
    I2 = "i2"
    U64 = "u64"
    U32 = "u32"
    U16 = "u16"
    U8 = "u8"
    U4 = "u4"
    U2 = "u2"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The numpy dtype of the same elements."""
        return _NUMPY[self]

    @property
    def bytes(self) -> int:
        """Bytes an element takes in memory; of less than 8 bits a whole one (see `bits`)."""
        return _NUMPY[self].itemsize

    @property
    def bits(self) -> int:
        """Bits of an element: several of less than 8 share a byte in a file."""
        return _SHORTER.get(self, 8 * _NUMPY[self].itemsize)

    @property
    def is_float(self) -> bool:
        """Whether elements are rounded reals."""
        return self in _LARGEST

    @property
    def limits(self) -> tuple[int, int]:
        """Least and largest number of an integer type; ValueError for others."""
        if self.is_float or self is DType.BOOL:
            raise ValueError(f"{self} is no integer type")
        if self.startswith("u"):
            return 0, (1 << self.bits) - 1
        return -(1 << self.bits - 1), (1 << self.bits - 1) - 1

    @property
    def largest(self) -> float:
        """The largest finite number of a float type; KeyError for others."""
        return _LARGEST[self]

    @property
    def lowest(self) -> float:
        """The least finite number of a float type."""
        # ml_dtypes covers the types of numpy and its own; it has no annotations.
        return float(ml_dtypes.finfo(self.numpy).min)  # type: ignore[no-untyped-call]

    @property
    def accumulator(self) -> "DType":
        """The type sums of this type are kept in: f32 for short floats, i32 for short integers."""
        if self.is_float:
            return DType.F32 if self.bits < 32 else self
        return DType.I32 if self.bits < 32 and self is not DType.BOOL else self


_NUMPY: dict[DType, np.dtype[np.generic]] = {
    DType.F64: np.dtype(np.float64),
    DType.F32: np.dtype(np.float32),
    DType.F32_SUM: np.dtype(np.float32),
    DType.F16: np.dtype(np.float16),
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.F8E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    DType.F8E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz),
    DType.F8E5M2: np.dtype(ml_dtypes.float8_e5m2),
    DType.F8E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz),
    DType.F8E8M0FNU: np.dtype(ml_dtypes.float8_e8m0fnu),
    DType.F6E2M3FN: np.dtype(ml_dtypes.float6_e2m3fn),
    DType.F6E3M2FN: np.dtype(ml_dtypes.float6_e3m2fn),
    DType.F4E2M1FN: np.dtype(ml_dtypes.float4_e2m1fn),
    DType.I64: np.dtype(np.int64),
    DType.I32: np.dtype(np.int32),
    DType.I16: np.dtype(np.int16),
    DType.I8: np.dtype(np.int8),
    DType.I4: np.dtype(ml_dtypes.int4),
    DType.I2: np.dtype(ml_dtypes.int2),
    DType.U64: np.dtype(np.uint64),
    DType.U32: np.dtype(np.uint32),
    DType.U16: np.dtype(np.uint16),
    DType.U8: np.dtype(np.uint8),
    DType.U4: np.dtype(ml_dtypes.uint4),
    DType.U2: np.dtype(ml_dtypes.uint2),
    DType.BOOL: np.dtype(np.bool_),
}
_LARGEST = {
    DType.F64: 1.7976931348623157e308,
    DType.F32: 3.4028234663852886e38,
    DType.F32_SUM: 3.4028234663852886e38,
    DType.F16: 65504.0,
    DType.BF16: 3.3895313892515355e38,
    DType.F8E4M3FN: 448.0,
    DType.F8E4M3FNUZ: 240.0,
    DType.F8E5M2: 57344.0,
    DType.F8E5M2FNUZ: 57344.0,
    DType.F8E8M0FNU: 2.0**127,
    DType.F6E2M3FN: 7.5,
    DType.F6E3M2FN: 28.0,
    DType.F4E2M1FN: 6.0,
}
_SHORTER = {
    DType.F6E2M3FN: 6,
    DType.F6E3M2FN: 6,
    DType.F4E2M1FN: 4,
    DType.I4: 4,
    DType.U4: 4,
    DType.I2: 2,
    DType.U2: 2,
}
_BY_NUMPY = {numpy: dtype for dtype, numpy in _NUMPY.items() if dtype is not DType.F32_SUM}


def dtype_of(numpy: np.dtype[np.generic]) -> DType:
    """The DType of a numpy dtype; KeyError where a Graph has none."""
    return _BY_NUMPY[np.dtype(numpy)]


@dataclass(frozen=True)
class TensorType:
    """Shape and element type of a value."""

    shape: Shape
    dtype: DType

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"
