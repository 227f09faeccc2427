"""Numbers in fewer bits: quantize, dequantize, and products of what is quantized."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.differential.standard.net import Net, NoFormError, Step, Value
from tests.differential.standard.windows import _image, _window

OLD = (TensorProto.UINT8, TensorProto.INT8)
FLOATS = (
    TensorProto.FLOAT8E4M3FN,
    TensorProto.FLOAT8E4M3FNUZ,
    TensorProto.FLOAT8E5M2,
    TensorProto.FLOAT8E5M2FNUZ,
)
LATE = (TensorProto.UINT16, TensorProto.INT16, TensorProto.UINT4, TensorProto.INT4)
LATEST = (TensorProto.FLOAT4E2M1,)


def _type(net: Net) -> int:
    options = [*OLD]
    if net.opset >= 19:
        options += FLOATS
    if net.opset >= 21:
        options += LATE
    if net.opset >= 23:
        options += LATEST
    return net.draw.one_of(options)


def _granularity(net: Net, x: Value) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The shape of a scale, and the attributes that go with it."""
    if not x.rank or net.draw.flag(0.4):
        return (), {}
    if net.opset >= 21 and net.draw.flag(0.4):
        axis, block = net.draw.size(0, x.rank - 1), net.draw.size(1, 3)
        shape = tuple(
            -(-extent // block) if index == axis else extent for index, extent in enumerate(x.shape)
        )
        return shape, {"axis": axis, "block_size": block}
    if net.opset < 13:
        return (), {}
    axis = net.draw.size(0, x.rank - 1)
    return (x.shape[axis],), {"axis": axis}


def _zero(net: Net, kind: int, shape: tuple[int, ...]) -> Value:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if kind in (*FLOATS, *LATEST):
        return net.hold(np.zeros(shape, np.float32).astype(dtype))
    low = 0 if TensorProto.DataType.Name(kind).startswith("U") else -3
    return net.hold(net.draw.integers(low, 3, shape, np.int32).astype(dtype))


def _quantize(net: Net) -> None:
    kinds = [np.float32, np.float32, np.float32, np.float16] if net.opset >= 19 else [np.float32]
    x = net.ranked("QuantizeLinear", 0, 4, kinds)
    shape, attributes = _granularity(net, x)
    kind = _type(net)
    scale = net.either(net.draw.positive(*shape, low=0.1, high=1.0).astype(x.dtype), 0.8)
    zero = _zero(net, kind, shape)
    if kind in FLOATS and net.draw.flag():
        attributes["saturate"] = 0
    if net.draw.flag(0.2) and net.opset >= 21 and kind in (*OLD, *LATE):
        net.add("QuantizeLinear", [x, scale], output_dtype=kind, **attributes)
    else:
        net.add("QuantizeLinear", [x, scale, zero], **attributes)
    net.steps = 1


def _dequantize(net: Net) -> None:
    if net.given is not None:
        raise NoFormError
    kind = net.draw.one_of([_type(net), TensorProto.INT32])
    numbers = net.draw.integers(
        0 if TensorProto.DataType.Name(kind).startswith("U") else -7, 7, net.shape(0, 4)
    )
    x = net.either(numbers.astype(helper.tensor_dtype_to_np_dtype(kind)))
    shape, attributes = _granularity(net, x)
    real = net.draw.one_of([np.float32, np.float32, np.float16]) if net.opset >= 19 else np.float32
    scale = net.either(net.draw.positive(*shape, low=0.1, high=1.0).astype(real), 0.8)
    zero = None if kind == TensorProto.INT32 or net.draw.flag(0.3) else _zero(net, kind, shape)
    net.add("DequantizeLinear", [x, scale, zero], **attributes)


def _there_and_back(net: Net) -> None:
    x = net.ranked("QuantizeLinear", 1, 4, [np.float32])
    kind = net.draw.one_of(OLD)
    scale, zero = net.hold(np.float32(net.draw.one_of([0.05, 0.25]))), _zero(net, kind, ())
    net.add("QuantizeLinear", [x, scale, zero])
    (q,) = net.results()
    net.add("DequantizeLinear", [q, scale, zero])
    net.tolerance = 0.1


def _dynamic(net: Net) -> None:
    x = net.ranked("DynamicQuantizeLinear", 1, 3, [np.float32])
    net.add("DynamicQuantizeLinear", [x], outputs=3)
    net.steps = 1


def _reals(net: Net, *shape: int) -> Value:
    return net.hold(net.draw.positive(*shape, low=0.02, high=0.1))


def _qlinear_matmul(net: Net) -> None:
    x = net.ranked("QLinearMatMul", 2, 3, [np.uint8, np.int8])
    w = net.either(net.numbers((x.shape[-1], net.draw.size(1, 4)), net.draw.one_of([np.uint8, np.int8])), 0.7)
    operands = [x, _reals(net), net.hold(3, x.dtype), w, _reals(net), net.hold(2, w.dtype)]
    net.add("QLinearMatMul", [*operands, _reals(net), net.hold(net.draw.size(0, 9), x.dtype)])
    net.steps = 1


def _qlinear_conv(net: Net) -> None:
    x = _image(net, "QLinearConv", dtypes=[np.uint8, np.int8])
    attributes = _window(net, x)
    filters = net.draw.size(1, 3)
    w = net.either(net.numbers((filters, x.shape[1], *attributes["kernel_shape"]), np.int8), 0.8)
    shape = (filters,) if net.draw.flag() else ()
    bias = net.hold(net.draw.integers(-20, 20, (filters,), np.int32)) if net.draw.flag() else None
    zero = net.hold(np.zeros(shape), np.int8)
    operands = [x, _reals(net), net.hold(2, x.dtype), w, _reals(net, *shape), zero]
    net.add("QLinearConv", [*operands, _reals(net), net.hold(5, x.dtype), bias], **attributes)
    net.steps = 1


QUANTIZING: Mapping[str, Step] = {
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize,
    "ThereAndBack": _there_and_back,
}
