"""TensorProto to constants: sizes are checked when the model is read, elements are decoded when looked at."""

from collections.abc import Mapping, Sequence

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
    TensorProto.INT64: DType.I64,
    TensorProto.INT32: DType.I32,
    TensorProto.INT16: DType.I16,
    TensorProto.INT8: DType.I8,
    TensorProto.UINT64: DType.U64,
    TensorProto.UINT32: DType.U32,
    TensorProto.UINT16: DType.U16,
    TensorProto.UINT8: DType.U8,
    TensorProto.BOOL: DType.BOOL,
}
FOUR_BITS: Mapping[int, DType] = {TensorProto.INT4: DType.I8, TensorProto.UINT4: DType.U8}
"""Types of constants that lie two to a byte in the file, and one to a byte here."""
MAX_DENSIFIED_ELEMENTS = 1 << 28

_TYPED_FIELDS: Mapping[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.UINT32: "uint64_data",
}


def element_type(data_type: int, what: str) -> DType:
    """The DType of an ONNX element type; ModelError for strings, complex numbers, sub-byte types and fp8."""
    if data_type not in DTYPES:
        known = data_type in TensorProto.DataType.values()
        shown = TensorProto.DataType.Name(data_type) if known else str(data_type)
        raise ModelError(f"{what} has element type {shown}, which is not supported")
    return DTYPES[data_type]


def constant_from(proto: TensorProto, builder: Builder, external: ExternalData) -> Tensor:
    """The constant a TensorProto holds; ModelError where its type, dims and data do not fit together."""
    what = f"tensor {printable(proto.name)}"
    packed = FOUR_BITS.get(proto.data_type)
    dtype = packed or element_type(proto.data_type, what)
    shape = tuple(proto.dims)
    count = 1
    for extent in shape:
        if extent < 0:
            raise ModelError(f"{what} has a negative extent {extent}")
        count *= extent
    nbytes = (count + 1) // 2 if packed else count * dtype.bytes
    if proto.data_location == TensorProto.EXTERNAL:
        path, offset = external.stretch(proto, nbytes)

        def compute(sources: Sequence[Array], symbols: Mapping[str, int]) -> Array:
            data = read_stretch(path, offset, nbytes)
            elements = _unpacked(data, count, dtype) if packed else np.frombuffer(data, dtype=dtype.numpy)
            return elements.reshape(shape)

    else:
        _check_held(proto, what, count, nbytes, packed=packed is not None)

        def compute(sources: Sequence[Array], symbols: Mapping[str, int]) -> Array:
            return numpy_helper.to_array(proto).astype(dtype.numpy, copy=False)

    tensor = builder.lazy_constant(shape, dtype, Recipe(compute, work=count))
    tensor.four_bits = packed is not None
    return tensor


def _check_held(proto: TensorProto, what: str, count: int, nbytes: int, *, packed: bool) -> None:
    """ModelError where the elements inside the file are not as many as the shape takes."""
    shape = list(proto.dims)
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != nbytes:
            raise ModelError(f"{what} of shape {shape} takes {nbytes} bytes but holds {len(proto.raw_data)}")
        return
    held = len(getattr(proto, _TYPED_FIELDS.get(proto.data_type, "int32_data")))
    if held != (nbytes if packed else count):
        raise ModelError(f"{what} of shape {shape} takes {count} elements but holds {held}")


def _unpacked(data: bytes, count: int, dtype: DType) -> Array:
    """Elements of four bits, the low half of a byte first."""
    halves = np.frombuffer(data, dtype=np.uint8)[:, None] >> np.array([0, 4], np.uint8) & 15
    elements = halves.ravel()[:count].astype(dtype.numpy)
    if dtype is DType.I8:
        elements[elements > 7] -= 16
    return elements


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
