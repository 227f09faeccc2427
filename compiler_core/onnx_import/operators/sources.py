"""Operators that make values from nothing or from shapes: constants, ranges, extents."""

from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, SymDim, ceildiv, product_of
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    known_dims,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.tensor_data import constant_from, element_type

MAX_RANGE_ELEMENTS = 1 << 32


def _constant(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    for name in ("value_int", "value_ints"):
        if node.has(name):
            numbers = [node.integer(name)] if name == "value_int" else node.integers(name)
            shape = () if name == "value_int" else (len(numbers),)
            return builder.constant(np.array(numbers, dtype=np.int64).reshape(shape))
    for name in ("value_float", "value_floats"):
        if node.has(name):
            reals = [node.number(name)] if name == "value_float" else node.numbers(name)
            shape = () if name == "value_float" else (len(reals),)
            return builder.constant(np.array(reals, dtype=np.float32).reshape(shape))
    if not node.has("value"):
        raise ModelError("a constant must be a dense tensor, a number or a list of numbers")
    return constant_from(node.tensor("value"), builder, context.external)


def _constant_of_shape(context: Context, node: Node, inputs: Inputs) -> Tensor:
    shape = known_dims(context, required(inputs, 0), "the shape")
    builder = context.builder
    if node.has("value"):
        proto = constant_from(node.tensor("value"), builder, context.external)
        content = builder.content(proto)
        if content is None or content.size != 1:
            raise ModelError("value must have one element")
        number = content.ravel()[0]
        dtype = proto.dtype
    else:
        number, dtype = np.float32(0), DType.F32
    tensor = builder.table(shape, dtype, lambda extents: np.full(extents, number))
    tensor.fill = float(number)
    return tensor


def _shape(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    chosen = list(x.shape)[slice(node.integer("start", 0), node.integer("end", x.rank))]
    return context.builder.extents(chosen, (len(chosen),))


def _size(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return context.builder.extents([product_of(required(inputs, 0).shape)], ())


def _range(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    ends = [required(inputs, index) for index in range(3)]
    contents = [builder.content(end) for end in ends]
    if any(content is None or content.size != 1 for content in contents):
        raise ModelError("start, limit and delta must be constants or shapes")
    start, limit, delta = (content.ravel()[0] for content in contents if content is not None)
    if not isinstance(delta, SymDim) and delta == 0:
        raise ModelError("delta is 0")
    count: Dim
    if any(isinstance(number, SymDim) for number in (start, limit, delta)):
        if isinstance(delta, SymDim) or delta <= 0:
            raise ModelError("a range over symbolic extents needs a positive constant delta")
        count = ceildiv(limit - start, int(delta))
    else:
        count = max(0, int(np.ceil((limit - start) / delta)))
    if isinstance(count, int) and count > MAX_RANGE_ELEMENTS:
        raise ModelError(f"a range of {count} elements is above the limit of {MAX_RANGE_ELEMENTS}")
    return builder.derived_table(
        (count,),
        ends[0].dtype,
        [ends[0], ends[2]],
        lambda extents, sources: sources[0].ravel()[0] + np.arange(extents[0]) * sources[1].ravel()[0],
    )


def _eye_like(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    k = node.integer("k", 0)
    dtype = element_type(node.integer("dtype"), "the result") if node.has("dtype") else x.dtype
    return context.builder.table(x.shape, dtype, lambda extents: np.eye(extents[0], extents[1], k))


def _non_zero(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Indices of non-zero elements. Known for constants; otherwise a host op with an extent of its own."""
    x, builder = required(inputs, 0), context.builder
    if x.fill is not None and x.fill != 0.0 and x.rank:
        count = product_of(x.shape)

        def every(extents: tuple[int, ...], sources: Sequence[Array]) -> Array:
            return np.array(np.unravel_index(np.arange(extents[1]), tuple(sources[0].tolist())))

        return builder.derived_table((x.rank, count), DType.I64, [builder.extents(x.shape, (x.rank,))], every)
    content = builder.content(x)
    if content is not None and content.dtype != object:
        return builder.constant(np.array(np.nonzero(content), dtype=np.int64).reshape(content.ndim, -1))
    return context.host(node, "non_zero", [x], [((x.rank, context.fresh(node, "count")), DType.I64)])[0]


SOURCES: Mapping[str, Build] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "EyeLike": _eye_like,
    "NonZero": _non_zero,
    "Range": _range,
    "Shape": _shape,
    "Size": _size,
}
