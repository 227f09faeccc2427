"""Element types and tensor types.

A value has one dtype, the model's. What a Target stores it as is the Target's business: it sets bytes and
timing, never the numbers that the law, the verifier and the comparison with onnxruntime are about.
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
    I64 = "i64"
    I32 = "i32"
    I16 = "i16"
    I8 = "i8"
    U64 = "u64"
    U32 = "u32"
    U16 = "u16"
    U8 = "u8"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The numpy dtype of the same elements."""
        return _NUMPY[self]

    @property
    def bytes(self) -> int:
        """Bytes an element takes in memory."""
        return _NUMPY[self].itemsize

    @property
    def is_float(self) -> bool:
        """Whether elements are rounded reals."""
        return self in _FLOATS

    @property
    def lowest(self) -> float:
        """The least finite number of a float type."""
        # ml_dtypes knows the types of numpy and its own; it has no annotations.
        return float(ml_dtypes.finfo(self.numpy).min)  # type: ignore[no-untyped-call]

    @property
    def accumulator(self) -> "DType":
        """The type sums of this type are kept in: f32 for short floats, i32 for short integers."""
        if self in (DType.F16, DType.BF16):
            return DType.F32
        if self in (DType.I8, DType.U8, DType.I16, DType.U16):
            return DType.I32
        return self


_NUMPY: dict[DType, np.dtype[np.generic]] = {
    DType.F64: np.dtype(np.float64),
    DType.F32: np.dtype(np.float32),
    DType.F32_SUM: np.dtype(np.float32),
    DType.F16: np.dtype(np.float16),
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.I64: np.dtype(np.int64),
    DType.I32: np.dtype(np.int32),
    DType.I16: np.dtype(np.int16),
    DType.I8: np.dtype(np.int8),
    DType.U64: np.dtype(np.uint64),
    DType.U32: np.dtype(np.uint32),
    DType.U16: np.dtype(np.uint16),
    DType.U8: np.dtype(np.uint8),
    DType.BOOL: np.dtype(np.bool_),
}
_FLOATS = frozenset({DType.F64, DType.F32, DType.F32_SUM, DType.F16, DType.BF16})
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
