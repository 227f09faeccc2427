"""Operators that work element by element, numpy broadcasting included."""

import math
from collections.abc import Mapping
from typing import Any

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import AttributeValue
from tilewright.compiler_core.ir.rounding import EIGHT_BITS
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axis,
    known_number,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.tensor_data import element_type


def _row(kind: str, **defaults: float) -> Build:
    """One operand, one row; `defaults` are FLOAT attributes that the row takes by the same name."""

    def build(context: Context, node: Node, inputs: Inputs) -> Tensor:
        attributes: dict[str, Any] = {name: node.number(name, default) for name, default in defaults.items()}
        return context.builder.elementwise(kind, required(inputs, 0), **attributes)

    return build


def _binary(kind: str, dtype: DType | None = None, *, swapped: bool = False) -> Build:
    """Two operands of one dtype; `dtype` is the result's where it differs; `swapped` exchanges them."""

    def build(context: Context, node: Node, inputs: Inputs) -> Tensor:
        left, right = required(inputs, 0), required(inputs, 1)
        if left.dtype is not right.dtype:
            raise ModelError(f"operand types {left.dtype} and {right.dtype} differ")
        right = _old_broadcast(context, node, left, right)
        return context.builder.elementwise(kind, *((right, left) if swapped else (left, right)), dtype=dtype)

    return build


def _old_broadcast(context: Context, node: Node, left: Tensor, right: Tensor) -> Tensor:
    """Before opset 7 attribute `axis` said which dim of the left operand the right one starts at."""
    if node.domain == "" and node.version < 7 and node.has("axis") and right.rank:
        start = checked_axis(node.integer("axis"), left.rank)
        trailing = left.rank - start - right.rank
        if trailing < 0:
            raise ModelError(f"axis {start} leaves no room for {right.rank} dims")
        return context.builder.reshape(right, (*right.shape, *[1] * trailing))
    return right


def _chain(kind: str, *, mean: bool = False) -> Build:
    """Any number of operands folded from the left."""

    def build(context: Context, node: Node, inputs: Inputs) -> Tensor:
        total = required(inputs, 0)
        for index in range(1, len(inputs)):
            total = context.builder.elementwise(kind, total, required(inputs, index))
        return context.builder.with_number("div", total, len(inputs)) if mean else total

    return build


def _dropout(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    training, ratio = optional(inputs, 2), optional(inputs, 1)
    trains = training is not None and known_number(context, training, "training_mode")
    if trains and (0.5 if ratio is None else known_number(context, ratio, "ratio")) != 0.0:
        raise ModelError("Dropout in training mode draws random numbers; export the model for inference")
    x = required(inputs, 0)
    results = [x]
    if len(node.outputs) > 1:
        mask = context.builder.scalar(True, DType.BOOL)
        results.append(context.builder.expand(mask, x.shape))
    return results


def _cast(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return _converted(context, node, required(inputs, 0), element_type(node.integer("to"), "the result"))


def _cast_like(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return _converted(context, node, required(inputs, 0), required(inputs, 1).dtype)


def _converted(context: Context, node: Node, x: Tensor, dtype: DType) -> Tensor:
    """A cast; how it saturates and rounds matters for the types alone that can do so in several ways."""
    attributes: dict[str, Any] = {}
    if not node.integer("saturate", 1) and dtype in (*EIGHT_BITS, DType.F8E8M0FNU):
        attributes["saturate"] = 0
    rounding = node.text("round_mode", "up")
    if dtype is DType.F8E8M0FNU and rounding != "up":
        if rounding not in ("nearest", "down"):
            raise ModelError(f"round_mode {rounding!r} is not one of up, down, nearest")
        attributes["rounding"] = rounding
    return context.builder.cast(x, dtype, **attributes)


def _clip(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    limits = [optional(inputs, 1), optional(inputs, 2)]
    if any(limit is not None and context.builder.content(limit) is None for limit in limits):
        for kind, limit in zip(("maximum", "minimum"), limits, strict=True):
            x = x if limit is None else context.builder.elementwise(kind, x, limit)
        return x
    bounds: dict[str, AttributeValue] = {}
    for name, attribute, limit in zip(("low", "high"), ("min", "max"), limits, strict=True):
        if limit is not None:
            bounds[name] = known_number(context, limit, name)
        elif node.has(attribute):
            bounds[name] = node.number(attribute)
    finite: dict[str, Any] = {name: bound for name, bound in bounds.items() if math.isfinite(float(bound))}
    if finite == {"low": 0.0}:
        return context.builder.elementwise("relu", x)
    return context.builder.elementwise("clip", x, **finite) if finite else x


def _prelu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, slope = required(inputs, 0), required(inputs, 1)
    if node.version < 7 and slope.rank == 1 and x.rank > 2:
        slope = context.builder.reshape(slope, (*slope.shape, *[1] * (x.rank - 2)))
    return context.builder.elementwise("prelu", x, slope, dtype=x.dtype)


def _mod(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return context.builder.elementwise(
        "mod", required(inputs, 0), required(inputs, 1), fmod=node.integer("fmod", 0)
    )


def _pow(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, exponent = required(inputs, 0), required(inputs, 1)
    if exponent.dtype is not x.dtype:
        exponent = context.builder.cast(exponent, x.dtype)
    content = context.builder.content(exponent)
    power = None if content is None or exponent.rank else content.item()
    if power == 2:
        return context.builder.elementwise("mul", x, x)
    if power == 0.5 and x.dtype.is_float:
        return context.builder.elementwise("sqrt", x)
    return context.builder.elementwise("pow", x, exponent)


def _where(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return context.builder.elementwise("where", required(inputs, 0), required(inputs, 1), required(inputs, 2))


def _xor(context: Context, node: Node, inputs: Inputs) -> Tensor:
    same = context.builder.elementwise("equal", required(inputs, 0), required(inputs, 1), dtype=DType.BOOL)
    return context.builder.elementwise("logical_not", same)


def _bit_shift(context: Context, node: Node, inputs: Inputs) -> Tensor:
    kind = "shift_left" if node.text("direction") == "LEFT" else "shift_right"
    return context.builder.elementwise(kind, required(inputs, 0), required(inputs, 1))


def _is_inf(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    found: list[Tensor] = []
    for attribute, number in (("detect_positive", math.inf), ("detect_negative", -math.inf)):
        if node.integer(attribute, 1):
            found.append(builder.elementwise("equal", x, builder.scalar(number, x.dtype), dtype=DType.BOOL))
    if not found:
        return builder.expand(builder.scalar(False, DType.BOOL), x.shape)
    return found[0] if len(found) == 1 else builder.elementwise("logical_or", *found)


def _is_nan(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return context.builder.elementwise("is_nan", required(inputs, 0), dtype=DType.BOOL)


def gelu(context: Context, x: Tensor, *, tanh: bool) -> Tensor:
    """X * Phi(x), Phi exact through erf or by the tanh form (Hendrycks and Gimpel, arXiv 1606.08415)."""
    builder = context.builder
    if tanh:
        cube = builder.elementwise("mul", builder.elementwise("mul", x, x), x)
        inner = builder.elementwise("add", x, builder.with_number("mul", cube, 0.044715))
        squashed = builder.elementwise("tanh", builder.with_number("mul", inner, math.sqrt(2 / math.pi)))
    else:
        squashed = builder.elementwise("erf", builder.with_number("mul", x, math.sqrt(0.5)))
    gate = builder.with_number("add", squashed, 1.0)
    return builder.elementwise("mul", builder.with_number("mul", x, 0.5), gate)


def _gelu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return gelu(context, required(inputs, 0), tanh=node.text("approximate", "none") == "tanh")


def _swish(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    alpha = node.number("alpha", 1.0)
    inner = x if alpha == 1.0 else builder.with_number("mul", x, alpha)
    return builder.elementwise("mul", x, builder.elementwise("sigmoid", inner))


def _mish(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    return builder.elementwise("mul", x, builder.elementwise("tanh", builder.elementwise("softplus", x)))


def _softsign(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    return builder.elementwise("div", x, builder.with_number("add", builder.elementwise("abs", x), 1.0))


def _selu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    curved = builder.elementwise("elu", x, alpha=node.number("alpha", 1.6732632))
    return builder.with_number("mul", curved, node.number("gamma", 1.050701))


def _celu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    alpha = node.number("alpha", 1.0)
    scaled = builder.with_number("div", x, alpha)
    return builder.with_number("mul", builder.elementwise("elu", scaled, alpha=1.0), alpha)


def _thresholded_relu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    limit = builder.scalar(node.number("alpha", 1.0), x.dtype)
    above = builder.elementwise("less", limit, x, dtype=DType.BOOL)
    return builder.elementwise("where", above, x, builder.scalar(0.0, x.dtype))


def _shrink(context: Context, node: Node, inputs: Inputs) -> Tensor:
    given, builder = required(inputs, 0), context.builder
    x = given if given.dtype.is_float else builder.cast(given, DType.F64)
    limit, bias = node.number("lambd", 0.5), node.number("bias", 0.0)
    above = builder.elementwise("less", builder.scalar(limit, x.dtype), x, dtype=DType.BOOL)
    below = builder.elementwise("less", x, builder.scalar(-limit, x.dtype), dtype=DType.BOOL)
    zero = builder.scalar(0.0, x.dtype)
    lower = builder.elementwise("where", below, builder.with_number("add", x, bias), zero)
    shrunk = builder.elementwise("where", above, builder.with_number("sub", x, bias), lower)
    return builder.cast(shrunk, given.dtype)


ELEMENTWISE: Mapping[str, Build] = {
    "Abs": _row("abs"),
    "Acos": _row("acos"),
    "Acosh": _row("acosh"),
    "Add": _binary("add"),
    "And": _binary("logical_and"),
    "Asin": _row("asin"),
    "Asinh": _row("asinh"),
    "Atan": _row("atan"),
    "Atanh": _row("atanh"),
    "BitShift": _bit_shift,
    "BitwiseAnd": _binary("bit_and"),
    "BitwiseNot": _row("bit_not"),
    "BitwiseOr": _binary("bit_or"),
    "BitwiseXor": _binary("bit_xor"),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _row("ceil"),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _row("cos"),
    "Cosh": _row("cosh"),
    "Div": _binary("div"),
    "Dropout": _dropout,
    "Elu": _row("elu", alpha=1.0),
    "Equal": _binary("equal", DType.BOOL),
    "Erf": _row("erf"),
    "Exp": _row("exp"),
    "Floor": _row("floor"),
    "Gelu": _gelu,
    "Greater": _binary("less", DType.BOOL, swapped=True),
    "GreaterOrEqual": _binary("less_equal", DType.BOOL, swapped=True),
    "HardSigmoid": _row("hard_sigmoid", alpha=0.2, beta=0.5),
    "HardSwish": _row("hard_swish"),
    "IsInf": _is_inf,
    "IsNaN": _is_nan,
    "LeakyRelu": _row("leaky_relu", alpha=0.01),
    "Less": _binary("less", DType.BOOL),
    "LessOrEqual": _binary("less_equal", DType.BOOL),
    "Log": _row("log"),
    "Max": _chain("maximum"),
    "Mean": _chain("add", mean=True),
    "Min": _chain("minimum"),
    "Mish": _mish,
    "Mod": _mod,
    "Mul": _binary("mul"),
    "Neg": _row("neg"),
    "Not": _row("logical_not"),
    "Or": _binary("logical_or"),
    "PRelu": _prelu,
    "Pow": _pow,
    "Reciprocal": _row("reciprocal"),
    "Relu": _row("relu"),
    "Round": _row("round"),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _row("sigmoid"),
    "Sign": _row("sign"),
    "Sin": _row("sin"),
    "Sinh": _row("sinh"),
    "Softplus": _row("softplus"),
    "Softsign": _softsign,
    "Sqrt": _row("sqrt"),
    "Sub": _binary("sub"),
    "Sum": _chain("add"),
    "Swish": _swish,
    "Tan": _row("tan"),
    "Tanh": _row("tanh"),
    "ThresholdedRelu": _thresholded_relu,
    "Where": _where,
    "Xor": _xor,
}
