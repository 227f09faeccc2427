"""Operators that work element by element."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.differential.standard.net import Net, NoFormError, Step, Value, allowed, broadcasting

PLAIN = [
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseNot",
    "Ceil",
    "Cos",
    "Cosh",
    "Exp",
    "Floor",
    "HardSwish",
    "Identity",
    "IsNaN",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tan",
    "Tanh",
]
WITH_NUMBERS = {
    "Celu": ("alpha",),
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Selu": ("alpha", "gamma"),
    "Shrink": ("lambd", "bias"),
    "Swish": ("alpha",),
    "ThresholdedRelu": ("alpha",),
}
BINARY = [
    "Add",
    "And",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Mul",
    "Or",
    "Sub",
    "Xor",
]
VARIADIC = ("Max", "Min", "Mean", "Sum")
CASTS = (
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT64,
    TensorProto.INT32, TensorProto.INT16, TensorProto.INT8, TensorProto.UINT8, TensorProto.UINT32,
    TensorProto.BOOL,
)  # fmt: skip
SHORT = (
    TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ,
)  # fmt: skip


def _plain(op_type: str) -> Step:
    return lambda net: net.add(op_type, [net.first(op_type)])


def _with_numbers(op_type: str) -> Step:
    def step(net: Net) -> None:
        x = net.first(op_type)
        chosen = [name for name in WITH_NUMBERS[op_type] if net.draw.flag(0.7)]
        net.add(op_type, [x], **{name: float(net.draw.chance.uniform(0.1, 2)) for name in chosen})

    return step


def second(net: Net, x: Value, low: float = -5, high: float = 9, shape: Any = None) -> Value:
    """Another operand of the same type, that broadcasts with the first."""
    return net.either(net.numbers(broadcasting(net, x.shape) if shape is None else shape, x.dtype, low, high))


def _binary(op_type: str) -> Step:
    def step(net: Net) -> None:
        x = net.first(op_type)
        operands = [x, second(net, x)]
        net.add(op_type, operands if net.draw.flag(0.7) else operands[::-1])

    return step


def _variadic(op_type: str) -> Step:
    def step(net: Net) -> None:
        x = net.first(op_type)
        net.add(op_type, [x, *(second(net, x) for _ in range(net.draw.size(0, 3)))])

    return step


def _div(net: Net) -> None:
    x = net.first("Div")
    divisor = np.abs(net.numbers(broadcasting(net, x.shape), x.dtype, 1, 5).astype(np.float64)) + 0.5
    if x.dtype.kind in "iu":
        divisor = np.maximum(np.rint(divisor), 1) * (
            np.where(net.draw.flag(), -1, 1) if x.dtype.kind == "i" else 1
        )
    net.add("Div", [x, net.either(divisor.astype(x.dtype))])


def _mod(net: Net) -> None:
    x = net.first("Mod")
    divisor = net.numbers(broadcasting(net, x.shape), x.dtype, 1, 5)
    whole = not x.is_real
    if whole and x.dtype.kind == "i":
        divisor = divisor * net.draw.one_of([1, -1])
    if not whole:
        divisor = (np.abs(divisor.astype(np.float64)) + 0.5).astype(x.dtype)
    net.add("Mod", [x, net.either(divisor.astype(x.dtype))], fmod=0 if whole and net.draw.flag() else 1)


def _pow(net: Net) -> None:
    x = net.first("Pow", least=0, most=4)
    kinds: list[Any] = [x.dtype, np.float32, np.int64, np.int32] if net.opset >= 12 else [x.dtype]
    kind = np.dtype(net.draw.one_of(kinds))
    exponent = net.draw.integers(0, 3, broadcasting(net, x.shape), np.int64)
    if net.draw.flag(0.2) and kind.kind == "f" and x.is_real:
        net.add("Pow", [x, net.hold(net.draw.one_of([0.5, 2.0, -1.0, 1.5]), kind)])
    else:
        net.add("Pow", [x, net.either(exponent.astype(kind))])


def _clip(net: Net) -> None:
    x = net.first("Clip")
    low, high = np.asarray(-1 if x.dtype.kind != "u" else 1, x.dtype), np.asarray(3, x.dtype)
    if net.opset < 12 and not x.is_real:
        raise NoFormError
    limits = [net.either(limit) if net.draw.flag(0.7) else None for limit in (low, high)]
    net.add("Clip", [x, *limits])


def _prelu(net: Net) -> None:
    x = net.first("PRelu")
    shape = x.shape if net.draw.flag() else ((x.shape[1], *[1] * (x.rank - 2)) if x.rank > 1 else (1,))
    net.add("PRelu", [x, second(net, x, shape=shape)])


def _erf(net: Net) -> None:
    net.add("Erf", [net.first("Erf", dtypes=[np.float32, np.float32, np.float64, np.float16])])


def _gelu(net: Net) -> None:
    net.add("Gelu", [net.first("Gelu")], approximate=net.draw.one_of(["none", "tanh"]))


def _is_inf(net: Net) -> None:
    x = net.first("IsInf", dtypes=[np.float32, np.float64])
    positive, negative = int(net.draw.flag(0.7)), int(net.draw.flag(0.7))
    zero = net.hold(np.zeros((), x.dtype))
    net.add("Div", [x, zero])
    (quotient,) = net.results()
    net.add("IsInf", [quotient], detect_positive=positive, detect_negative=negative)


def _bit_shift(net: Net) -> None:
    x = net.first("BitShift")
    net.add("BitShift", [x, second(net, x, 0, 6)], direction=net.draw.one_of(["LEFT", "RIGHT"]))


def _where(net: Net) -> None:
    x = net.first("Where", dtypes=allowed("Where", net.opset, 1))
    condition = net.either(net.draw.chance.random(broadcasting(net, x.shape)) < 0.5)
    operands = [x, second(net, x)]
    net.add("Where", [condition, *(operands if net.draw.flag() else operands[::-1])])


def _cast(net: Net) -> None:
    x = net.first("Cast")
    options = [*CASTS, *(SHORT if net.opset >= 19 and x.is_real else ())]
    to = net.draw.one_of(options)
    unsigned = helper.tensor_dtype_to_np_dtype(to).kind == "u"
    if unsigned and (x.is_real or x.dtype.kind == "i"):
        raise NoFormError  # what is below zero is undefined
    attributes: dict[str, Any] = {"saturate": int(net.draw.flag())} if to in SHORT else {}
    if net.draw.flag(0.2) and net.opset >= 15:
        like = net.hold(np.zeros(1, helper.tensor_dtype_to_np_dtype(to)))
        net.add("CastLike", [x, like], **attributes)
    else:
        net.add("Cast", [x], to=to, **attributes)


def _dropout(net: Net) -> None:
    chained = net.given is not None
    x = net.first("Dropout")
    if net.opset < 12:
        # onnxruntime's mask of what was dropped says nothing there.
        net.add("Dropout", [x], outputs=1 if chained else net.draw.size(1, 2), ratio=0.3)
        return
    ratio = net.hold(np.float32(0.3)) if net.draw.flag() else None
    trains = net.hold(np.array(False)) if net.draw.flag() else None
    net.add("Dropout", [x, ratio, trains], outputs=net.draw.size(1, 2))


def _bit_cast(net: Net) -> None:
    if net.opset < 26:
        raise NoFormError
    x = net.first("BitCast", dtypes=[np.float32, np.int32, np.uint32, np.int64, np.float64])
    to = (TensorProto.INT64, TensorProto.UINT64) if x.dtype.itemsize == 8 else (TensorProto.INT32,)
    net.add("BitCast", [x], to=net.draw.one_of(to))


ELEMENTWISE: Mapping[str, Step] = {
    **{op_type: _plain(op_type) for op_type in PLAIN},
    **{op_type: _with_numbers(op_type) for op_type in WITH_NUMBERS},
    **{op_type: _binary(op_type) for op_type in BINARY},
    **{op_type: _variadic(op_type) for op_type in VARIADIC},
    "BitCast": _bit_cast,
    "BitShift": _bit_shift,
    "Cast": _cast,
    "Clip": _clip,
    "Div": _div,
    "Dropout": _dropout,
    "Erf": _erf,
    "Gelu": _gelu,
    "IsInf": _is_inf,
    "Mod": _mod,
    "PRelu": _prelu,
    "Pow": _pow,
    "Where": _where,
}
