"""Quantize, dequantize, and operators on integers with scales."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Shape, ceildiv, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import affine
from tilewright.compiler_core.onnx_import.building.builder import Quantized, Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axis,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.tensor_data import element_type
from tilewright.compiler_core.onnx_import.building.window import window_of
from tilewright.compiler_core.onnx_import.operators.contraction import matmul
from tilewright.compiler_core.onnx_import.operators.convolution import contract_window, grouped, per_channel
from tilewright.compiler_core.onnx_import.operators.movement import concat
from tilewright.compiler_core.onnx_import.operators.pooling import POOLING
from tilewright.compiler_core.onnx_import.operators.quantized_contraction import (
    centred,
    dequantized,
    quantized_pair,
)
from tilewright.compiler_core.onnx_import.operators.reduction import softmax


def along(context: Context, parameter: Tensor, axis: int, shape: Shape, block: int) -> Tensor:
    """A scale or zero point beside a tensor of `shape`: of one element as a scalar, of one an index of `axis`
    as [n, 1, ...], of one a `block` of indices there as a view that repeats each.
    """
    builder = context.builder
    if parameter.rank == 0:
        return parameter
    if parameter.rank == len(shape) and block > 0:
        blocks = tuple(ceildiv(dim, block) if index == axis else dim for index, dim in enumerate(shape))
        if parameter.shape != blocks:
            raise ModelError(
                f"scales of blocks of {block} have shape {list(parameter.shape)}, not {list(blocks)}"
            )
        places = [affine((index, 1), divisor=block if index == axis else 1) for index in range(len(shape))]
        return builder.view(parameter, shape, places)
    if parameter.rank != 1:
        raise ModelError("a scale must be a number, one a channel, or one a block of attribute block_size")
    if parameter.shape[0] == 1:
        return builder.reshape(parameter, ())
    return builder.reshape(parameter, (parameter.shape[0], *[1] * (len(shape) - axis - 1)))


def dequantize(
    context: Context,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None,
    axis: int,
    block: int = 0,
    dtype: DType | None = None,
) -> Tensor:
    """(x - zero_point) * scale, of the scale's type or `dtype`; integers are remembered for a contraction
    behind it.
    """
    builder = context.builder
    zero = builder.scalar(0, x.dtype) if zero_point is None else zero_point
    if zero.dtype is not x.dtype:
        raise ModelError(f"the zero point is {zero.dtype}, the numbers are {x.dtype}")
    scale_along, zero_along = (along(context, each, axis, x.shape, block) for each in (scale, zero))
    real = builder.elementwise("dequantize", x, scale_along, zero_along, dtype=dtype or scale.dtype)
    if block or x.dtype.bits < 8 or x.dtype.is_float or dtype not in (None, scale.dtype):
        return real
    flat = [builder.reshape(t, ()) if t.shape == (1,) else t for t in (scale, zero)]
    return replace(real, quantized=Quantized(x, flat[0], flat[1], axis))


def quantize(
    context: Context,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None,
    axis: int,
    dtype: DType = DType.U8,
    block: int = 0,
    **attributes: Any,
) -> Tensor:
    """X / scale + zero_point, rounded and clamped to the zero point's type."""
    builder = context.builder
    dtype = dtype if zero_point is None else zero_point.dtype
    zero = builder.scalar(0, dtype) if zero_point is None else zero_point
    if x.dtype is DType.I32:
        x = builder.cast(x, scale.dtype)
    return builder.elementwise(
        "quantize",
        x,
        along(context, scale, axis, x.shape, block),
        along(context, zero, axis, x.shape, block),
        dtype=dtype,
        to=str(dtype.numpy),
        **attributes,
    )


def _axis(node: Node, x: Tensor) -> int:
    axis = node.integer("axis", 1)
    return checked_axis(axis, x.rank) if x.rank and -x.rank <= axis < x.rank else 0


def _dequantize_linear(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    return dequantize(
        context,
        x,
        required(inputs, 1),
        optional(inputs, 2),
        _axis(node, x),
        node.integer("block_size", 0),
        _type_attribute(node, "output_dtype"),
    )


def _quantize_linear(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, scale = required(inputs, 0), required(inputs, 1)
    wanted, work = _type_attribute(node, "output_dtype"), _type_attribute(node, "precision")
    attributes: dict[str, Any] = {} if work is None else {"work": str(work.numpy)}
    if not node.integer("saturate", 1):
        attributes["saturate"] = 0
    return quantize(
        context,
        x,
        scale,
        optional(inputs, 2),
        _axis(node, x),
        wanted or DType.U8,
        node.integer("block_size", 0),
        **attributes,
    )


def _type_attribute(node: Node, name: str) -> DType | None:
    """An element type that 0 leaves open."""
    wanted = node.integer(name, 0)
    return element_type(wanted, f"attribute {name}") if wanted else None


def dynamically_quantized(context: Context, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """X as u8 over the range it has, zero in it, the scale, and the zero point; a scale of 1 for zeros."""
    builder = context.builder
    dims = range(x.rank)
    high = builder.with_number("maximum", builder.reduce("max", x, dims, keep=False), 0.0)
    low = builder.with_number("minimum", builder.reduce("min", x, dims, keep=False), 0.0)
    scale = builder.with_number("div", builder.elementwise("sub", high, low), 255.0)
    flat = builder.elementwise("equal", scale, builder.scalar(0.0, x.dtype), dtype=DType.BOOL)
    scale = builder.elementwise("where", flat, builder.scalar(1.0, x.dtype), scale)
    none = builder.scalar(0, DType.U8)
    zero = builder.elementwise(
        "quantize", builder.elementwise("neg", low), scale, none, dtype=DType.U8, to="uint8"
    )
    return quantize(context, x, scale, zero, 0), scale, zero


def _dynamic_quantize_linear(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    return list(dynamically_quantized(context, required(inputs, 0)))


def integer_product(
    context: Context, left: Tensor, right: Tensor, left_zero: Tensor | None, right_zero: Tensor | None
) -> Tensor:
    """(left - left_zero) @ (right - right_zero) in i32.

    It is the product of the stored left operand with the centred right one, minus left_zero times the column
    sums.
    """
    builder = context.builder
    if right_zero is not None:
        right = centred(context, right, _flat(context, right_zero), right.rank - 1)
    product = matmul(builder, left, right, dtype=DType.I32)
    if left_zero is None:
        return product
    zeros = builder.content(left_zero)
    if zeros is not None and not zeros.any():
        return product
    sums = builder.reduce("sum", builder.cast(right, DType.I32), [right.rank - 2], keep=True)
    zero = builder.cast(_flat(context, left_zero), DType.I32)
    if zero.rank == 1:
        zero = builder.reshape(zero, (zero.shape[0], 1))
    return builder.elementwise("sub", product, builder.elementwise("mul", zero, sums))


def _flat(context: Context, vector: Tensor) -> Tensor:
    return context.builder.reshape(vector, ()) if vector.shape == (1,) else vector


def _matmul_integer(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return integer_product(
        context, required(inputs, 0), required(inputs, 1), optional(inputs, 2), optional(inputs, 3)
    )


def integer_to_float(context: Context, inputs: Inputs) -> Tensor:
    """A product of integers in reals: left, right, a scale each, a zero point each, and a bias, perhaps."""
    builder = context.builder
    left, right, left_scale, right_scale = (required(inputs, index) for index in range(4))
    product = integer_product(context, left, right, optional(inputs, 4), optional(inputs, 5))
    scale = builder.elementwise("mul", _flat(context, left_scale), _flat(context, right_scale))
    real = builder.elementwise("mul", builder.cast(product, scale.dtype), scale)
    bias = optional(inputs, 6)
    return real if bias is None else builder.elementwise("add", real, bias)


def _matmul_integer_to_float(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return integer_to_float(context, inputs)


def _dynamic_quantize_matmul(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, right, right_scale = (required(inputs, index) for index in range(3))
    left, left_scale, left_zero = dynamically_quantized(context, x)
    operands = [left, right, left_scale, right_scale, left_zero, optional(inputs, 3), optional(inputs, 4)]
    return integer_to_float(context, operands)


def _conv_integer(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    x, w, x_zero, w_zero = required(inputs, 0), required(inputs, 1), optional(inputs, 2), optional(inputs, 3)
    groups = node.integer("group", 1)
    grouped(builder, x, w, groups)
    window = window_of(
        context, node, x.shape[2:], [known(extent, "a kernel extent") for extent in w.shape[2:]]
    )
    if x_zero is not None:
        x = centred(context, x, _flat(context, x_zero), 1)
    if w_zero is not None:
        w = centred(context, w, _flat(context, w_zero), 0)
    return contract_window(builder, x, w, groups, window, DType.I32, 0.0)


def _qlinear_conv(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    x = dequantize(context, required(inputs, 0), required(inputs, 1), required(inputs, 2), 1)
    w = dequantize(context, required(inputs, 3), required(inputs, 4), required(inputs, 5), 0)
    groups = node.integer("group", 1)
    grouped(builder, x, w, groups)
    window = window_of(
        context, node, x.shape[2:], [known(extent, "a kernel extent") for extent in w.shape[2:]]
    )
    pair = quantized_pair(context, x, w, output_dim=0)
    bias = optional(inputs, 8)
    if pair is not None:
        if bias is not None:
            bias = dequantize(context, bias, pair.scale, None, 0)
        sums = contract_window(builder, pair.left, pair.right, groups, window, DType.I32, pair.left_zero)
        real = dequantized(context, pair, sums, bias, channel_dim=1)
    else:
        sums = _conv_integer(context, node, [inputs[0], inputs[3], inputs[2], inputs[5]])
        if bias is not None:
            sums = builder.elementwise("add", sums, per_channel(builder, bias, sums.rank))
        scale = builder.elementwise(
            "mul", _flat(context, required(inputs, 1)), _flat(context, required(inputs, 4))
        )
        along_channels = per_channel(builder, scale, sums.rank) if scale.rank else scale
        real = builder.elementwise("mul", builder.cast(sums, scale.dtype), along_channels)
    return quantize(context, real, required(inputs, 6), required(inputs, 7), 1)


def _qlinear_matmul(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    left, left_scale, left_zero, right, right_scale, right_zero = (
        required(inputs, index) for index in range(6)
    )
    product = integer_product(context, left, right, left_zero, right_zero)
    scale = builder.elementwise("mul", _flat(context, left_scale), _flat(context, right_scale))
    real = builder.elementwise("mul", builder.cast(product, scale.dtype), scale)
    return quantize(context, real, required(inputs, 6), required(inputs, 7), product.rank - 1)


def _qgemm(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """com.microsoft QGemm: A, its scale and zero point, B the same, C in i32, the result's scale and zero."""
    builder = context.builder
    left, right = required(inputs, 0), required(inputs, 3)
    if node.integer("transA", 0):
        left = builder.transpose(left, (1, 0))
    if node.integer("transB", 0):
        right = builder.transpose(right, (1, 0))
    product = integer_product(context, left, right, required(inputs, 2), required(inputs, 5))
    bias = optional(inputs, 6)
    if bias is not None:
        product = builder.elementwise("add", product, bias)
    scale = builder.elementwise(
        "mul", _flat(context, required(inputs, 1)), _flat(context, required(inputs, 4))
    )
    real = builder.elementwise("mul", builder.cast(product, scale.dtype), scale)
    alpha = node.number("alpha", 1.0)
    real = real if alpha == 1.0 else builder.with_number("mul", real, alpha)
    result_scale = optional(inputs, 7)
    return real if result_scale is None else quantize(context, real, result_scale, optional(inputs, 8), 1)


Real = Callable[[Context, Node, list[Tensor]], Tensor]


def through_reals(count: int, function: Real) -> Build:
    """Dequantize, compute, quantize.

    Inputs are integers, scale and zero point of `count` tensors, then the result's scale and zero point.
    """

    def build(context: Context, node: Node, inputs: Inputs) -> Tensor:
        reals = [
            dequantize(
                context,
                required(inputs, 3 * index),
                required(inputs, 3 * index + 1),
                optional(inputs, 3 * index + 2),
                1,
            )
            for index in range(count)
        ]
        y = function(context, node, reals)
        zero = optional(inputs, 3 * count + 1)
        return quantize(context, y, required(inputs, 3 * count), zero, 1, required(inputs, 0).dtype)

    return build


def _row(kind: str) -> Real:
    return lambda context, node, reals: context.builder.elementwise(kind, *reals)


def _leaky(context: Context, node: Node, reals: list[Tensor]) -> Tensor:
    return context.builder.elementwise("leaky_relu", reals[0], alpha=node.number("alpha", 0.01))


def _global_average(context: Context, node: Node, reals: list[Tensor]) -> Tensor:
    builder, x = context.builder, reals[0]
    spatial = range(1, x.rank - 1) if node.integer("channels_last", 0) else range(2, x.rank)
    total = builder.reduce("sum", x, spatial, keep=True)
    return builder.elementwise(
        "div", total, builder.count([x.shape[d] for d in spatial], x.dtype), dtype=x.dtype
    )


def _average_pool(context: Context, node: Node, reals: list[Tensor]) -> Tensor:
    if node.integer("channels_last", 0):
        raise ModelError("channels_last pooling is not supported; export with channels first")
    pooled = POOLING["AveragePool"](context, node, reals)
    return pooled if isinstance(pooled, Tensor) else pooled[0]


def _softmax(context: Context, node: Node, reals: list[Tensor]) -> Tensor:
    """Over one axis from opset 13 on; before, over all dims from the axis on."""
    (x,) = reals
    axis = checked_axis(node.integer("axis", -1), x.rank)
    last = node.integer("opset", 13) >= 13
    return softmax(context, x, [axis] if last else range(axis, x.rank))


def _qlinear_concat(context: Context, node: Node, inputs: Inputs) -> Tensor:
    if len(inputs) < 5 or (len(inputs) - 2) % 3:
        raise ModelError("inputs must be the result's scale and zero point, then three a part")
    reals = [
        dequantize(
            context, required(inputs, index), required(inputs, index + 1), required(inputs, index + 2), 1
        )
        for index in range(2, len(inputs), 3)
    ]
    joined = concat(context.builder, reals, checked_axis(node.integer("axis"), reals[0].rank))
    return quantize(context, joined, required(inputs, 0), required(inputs, 1), 1)


def _qlinear_where(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """com.microsoft QLinearWhere: a condition, two tensors with scale and zero point, those of the result."""
    condition = required(inputs, 0)
    x, y = (
        dequantize(
            context, required(inputs, index), required(inputs, index + 1), required(inputs, index + 2), 1
        )
        for index in (1, 4)
    )
    chosen = context.builder.elementwise("where", condition, x, y)
    return quantize(context, chosen, required(inputs, 7), required(inputs, 8), 1)


QUANTIZED: Mapping[str, Build] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize_linear,
    "DynamicQuantizeLinear": _dynamic_quantize_linear,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize_linear,
}

QUANTIZED_MICROSOFT: Mapping[str, Build] = {
    "DequantizeLinear": _dequantize_linear,
    "DynamicQuantizeMatMul": _dynamic_quantize_matmul,
    "MatMulIntegerToFloat": _matmul_integer_to_float,
    "QGemm": _qgemm,
    "QLinearAdd": through_reals(2, _row("add")),
    "QLinearAveragePool": through_reals(1, _average_pool),
    "QLinearConcat": _qlinear_concat,
    "QLinearGlobalAveragePool": through_reals(1, _global_average),
    "QLinearLeakyRelu": through_reals(1, _leaky),
    "QLinearMul": through_reals(2, _row("mul")),
    "QLinearSigmoid": through_reals(1, _row("sigmoid")),
    "QLinearSoftmax": through_reals(1, _softmax),
    "QLinearWhere": _qlinear_where,
    "QuantizeLinear": _quantize_linear,
}
