"""TensorProto to constants: sizes are checked when the model is read, elements are decoded when looked at."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.constants import Recipe
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.external import ExternalData, read_stretch
from tilewright.compiler_core.onnx_import.building.node import printable

DTYPES: Mapping[int, DType] = {
    TensorProto.FLOAT: DType.F32,
    TensorProto.DOUBLE: DType.F64,
    TensorProto.FLOAT16: DType.F16,
    TensorProto.BFLOAT16: DType.BF16,
    TensorProto.FLOAT8E4M3FN: DType.F8E4M3FN,
    TensorProto.FLOAT8E4M3FNUZ: DType.F8E4M3FNUZ,
    TensorProto.FLOAT8E5M2: DType.F8E5M2,
    TensorProto.FLOAT8E5M2FNUZ: DType.F8E5M2FNUZ,
    TensorProto.FLOAT8E8M0: DType.F8E8M0FNU,
    TensorProto.FLOAT6E2M3: DType.F6E2M3FN,
    TensorProto.FLOAT6E3M2: DType.F6E3M2FN,
    TensorProto.FLOAT4E2M1: DType.F4E2M1FN,
    TensorProto.INT64: DType.I64,
    TensorProto.INT32: DType.I32,
    TensorProto.INT16: DType.I16,
    TensorProto.INT8: DType.I8,
    TensorProto.INT4: DType.I4,
    TensorProto.INT2: DType.I2,
    TensorProto.UINT64: DType.U64,
    TensorProto.UINT32: DType.U32,
    TensorProto.UINT16: DType.U16,
    TensorProto.UINT8: DType.U8,
    TensorProto.UINT4: DType.U4,
    TensorProto.UINT2: DType.U2,
    TensorProto.BOOL: DType.BOOL,
}
MAX_DENSIFIED_ELEMENTS = 1 << 28

_TYPED_FIELDS: Mapping[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.UINT32: "uint64_data",
}
_BYTE_BY_BYTE = frozenset({DType.I4, DType.U4, DType.I2, DType.U2, DType.F4E2M1FN})
"""Types whose int32_data has an entry a byte, not an element."""


def element_type(data_type: int, what: str) -> DType:
    """The DType of an ONNX element type; ModelError for strings and complex numbers."""
    if data_type not in DTYPES:
        known = data_type in TensorProto.DataType.values()
        shown = TensorProto.DataType.Name(data_type) if known else str(data_type)
        raise ModelError(f"{what} has element type {shown}, which is not supported")
    return DTYPES[data_type]


def constant_from(proto: TensorProto, builder: Builder, external: ExternalData) -> Tensor:
    """The constant a TensorProto holds; ModelError where its type, dims and data do not fit together."""
    dtype, shape, read = reader_of(proto, external)
    count = int(np.prod(shape, dtype=object))
    return builder.lazy_constant(shape, dtype, Recipe(lambda sources, symbols: read(), work=count))


def reader_of(
    proto: TensorProto, external: ExternalData
) -> tuple[DType, tuple[int, ...], Callable[[], Array]]:
    """Type and shape of a TensorProto, checked, and a reader of its elements.

    ModelError where its type, dims and data do not fit together.
    """
    what = f"tensor {printable(proto.name)}"
    dtype = element_type(proto.data_type, what)
    shape = tuple(proto.dims)
    count = 1
    for extent in shape:
        if extent < 0:
            raise ModelError(f"{what} has a negative extent {extent}")
        count *= extent
    nbytes = (count * dtype.bits + 7) // 8
    if proto.data_location == TensorProto.EXTERNAL:
        path, offset = external.stretch(proto, nbytes)
        data_type = proto.data_type

        def read() -> Array:
            data = read_stretch(path, offset, nbytes)
            if dtype.bits < 8:
                packed = TensorProto(data_type=data_type, dims=shape, raw_data=data.tobytes())
                return numpy_helper.to_array(packed)
            return data.view(dtype.numpy).reshape(shape)

    else:
        _check_held(proto, what, count, nbytes, dtype)

        def read() -> Array:
            return numpy_helper.to_array(proto).astype(dtype.numpy, copy=False)

    return dtype, shape, read


def _check_held(proto: TensorProto, what: str, count: int, nbytes: int, dtype: DType) -> None:
    """ModelError where the elements inside the file are not as many as the shape takes."""
    shape = list(proto.dims)
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != nbytes:
            raise ModelError(f"{what} of shape {shape} takes {nbytes} bytes but holds {len(proto.raw_data)}")
        return
    held = len(getattr(proto, _TYPED_FIELDS.get(proto.data_type, "int32_data")))
    if held != (nbytes if dtype in _BYTE_BY_BYTE else count):
        raise ModelError(f"{what} of shape {shape} takes {count} elements but holds {held}")


def dense_from(proto: onnx.SparseTensorProto, builder: Builder, external: ExternalData) -> Tensor:
    """A sparse initializer written out in full."""
    what = f"sparse tensor {printable(proto.values.name)}"
    values = constant_from(proto.values, builder, external)
    indices = constant_from(proto.indices, builder, external)
    shape = tuple(proto.dims)
    count = 1
    for extent in shape:
        if extent < 0:
            raise ModelError(f"{what} has a negative extent {extent}")
        count *= extent
    if count > MAX_DENSIFIED_ELEMENTS:
        raise ModelError(f"{what} has {count} elements, above the limit of {MAX_DENSIFIED_ELEMENTS}")
    places, numbers = builder.content(indices), builder.content(values)
    if places is None or numbers is None or numbers.ndim != 1:
        raise ModelError(f"{what} is too large or its values are not one row")
    if places.ndim == 2 and places.shape == (numbers.size, len(shape)):
        if ((places < 0) | (places >= np.array(shape))).any():
            raise ModelError(f"{what} has an index outside its shape")
        flat = np.ravel_multi_index(tuple(places.T), shape)
    else:
        flat = places
    if flat.shape != numbers.shape or ((flat < 0) | (flat >= count)).any():
        raise ModelError(f"{what} has an index outside its shape")

    def fill(sources: Sequence[Array], symbols: Mapping[str, int]) -> Array:
        full = np.zeros(count, dtype=numbers.dtype)
        full[flat] = numbers
        return full.reshape(shape)

    return builder.lazy_constant(shape, values.dtype, Recipe(fill, work=count))
