"""Normalizations, decomposed: statistics by folds, the rest element by element."""

from collections.abc import Mapping, Sequence

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import affine, axis_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axis,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.convolution import per_channel
from tilewright.compiler_core.onnx_import.operators.reduction import mean


def _batch_normalization(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias.

    It is folded into the weights of the convolution before it where those are constant and the result has no
    other reader; otherwise it is one multiply and one add.
    """
    builder = context.builder
    x = required(inputs, 0)
    gamma, beta, average, variance = (required(inputs, index) for index in range(1, 5))
    if node.integer("training_mode", 0) or (node.version < 7 and not node.integer("is_test", 0)):
        raise ModelError("BatchNormalization in training mode is not supported")
    for vector in (gamma, beta, average, variance):
        if vector.rank != 1:
            raise ModelError("scale, bias, mean and variance must have rank 1")
        builder.equal(
            vector.shape[0], x.shape[1] if x.rank > 1 else 1, "channels of the statistics and of the input"
        )
    deviation = builder.elementwise(
        "sqrt", builder.with_number("add", variance, node.number("epsilon", 1e-5))
    )
    scale = builder.elementwise("div", gamma, deviation)
    shift = builder.elementwise("sub", beta, builder.elementwise("mul", average, scale))
    foldable = scale.recipe is not None and shift.recipe is not None and context.reads(node.inputs[0]) == 1
    if x.scaled is not None and foldable:
        return x.scaled(scale, shift)
    scaled = builder.elementwise("mul", x, per_channel(builder, scale, x.rank), dtype=x.dtype)
    return builder.elementwise("add", scaled, per_channel(builder, shift, x.rank), dtype=x.dtype)


def widened(builder: Builder, x: Tensor) -> Tensor:
    """Short floats as f32, in which statistics are taken: squares of f16 soon leave its range."""
    return builder.cast(x, x.dtype.accumulator) if x.dtype.is_float else x


def standardized(
    context: Context, x: Tensor, dims: Sequence[int], epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / sqrt(variance + epsilon) over `dims`, the mean, the reciprocal deviation: all widened."""
    builder = context.builder
    wide = widened(builder, x)
    average = mean(context, wide, dims, keep=True)
    centred = builder.elementwise("sub", wide, average)
    variance = mean(context, builder.elementwise("mul", centred, centred), dims, keep=True)
    deviation = builder.elementwise("sqrt", builder.with_number("add", variance, epsilon))
    inverse = builder.elementwise("reciprocal", deviation)
    return builder.elementwise("mul", centred, inverse), average, inverse


def _affine(builder: Builder, y: Tensor, gamma: Tensor, beta: Tensor | None, dtype: DType) -> Tensor:
    """Widened y * gamma + beta, in `dtype`."""
    y = builder.elementwise("mul", y, widened(builder, gamma), dtype=y.dtype)
    if beta is not None:
        y = builder.elementwise("add", y, widened(builder, beta), dtype=y.dtype)
    return builder.cast(y, dtype)


def layer_normalization(
    context: Context, x: Tensor, axis: int, epsilon: float, gamma: Tensor, beta: Tensor | None
) -> list[Tensor]:
    """LayerNormalization over dims axis.. of x: result in gamma's type, f32 mean and reciprocal deviation."""
    builder = context.builder
    y, average, inverse = standardized(context, x, range(axis, x.rank), epsilon)
    statistics = [builder.cast(part, DType.F32) for part in (average, inverse)]
    return [_affine(builder, y, gamma, beta, gamma.dtype), *statistics]


def _layer_normalization(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x = required(inputs, 0)
    axis = checked_axis(node.integer("axis", -1), x.rank)
    return layer_normalization(
        context, x, axis, node.number("epsilon", 1e-5), required(inputs, 1), optional(inputs, 2)
    )


def rms_normalization(context: Context, x: Tensor, axis: int, epsilon: float, gamma: Tensor) -> list[Tensor]:
    """X / sqrt(mean of squares + epsilon) * gamma, in gamma's type, over dims axis.. of x; 1 / root, f32."""
    builder = context.builder
    wide = widened(builder, x)
    squares = mean(context, builder.elementwise("mul", wide, wide), range(axis, x.rank), keep=True)
    root = builder.elementwise("sqrt", builder.with_number("add", squares, epsilon))
    y = _affine(builder, builder.elementwise("div", wide, root), gamma, None, gamma.dtype)
    return [y, builder.cast(builder.elementwise("reciprocal", root), DType.F32)]


def _rms_normalization(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    axis = checked_axis(node.integer("axis", -1), x.rank)
    return rms_normalization(context, x, axis, node.number("epsilon", 1e-5), required(inputs, 1))[0]


def _instance_normalization(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    x, gamma, beta = (required(inputs, index) for index in range(3))
    if x.rank < 3:
        raise ModelError(f"input of rank {x.rank} has no spatial dims")
    y, _, _ = standardized(context, x, range(2, x.rank), node.number("epsilon", 1e-5))
    gamma, beta = (per_channel(builder, vector, x.rank) for vector in (gamma, beta))
    return _affine(builder, y, gamma, beta, x.dtype)


def _group_normalization(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Statistics a group of channels, read back by channel // group size: no reshape."""
    builder = context.builder
    x, gamma, beta = (required(inputs, index) for index in range(3))
    groups = node.integer("num_groups")
    if x.rank < 3 or groups < 1:
        raise ModelError(f"{groups} groups of an input of rank {x.rank}")
    channels = known(x.shape[1], "the number of channels")
    if channels % groups:
        raise ModelError(f"{groups} groups do not divide {channels} channels")
    size, dtype = channels // groups, x.dtype
    x = widened(builder, x)
    average = _group_mean(builder, x, groups, size)
    centred = _with_group(builder, "sub", x, average, size)
    variance = _group_mean(builder, builder.elementwise("mul", centred, centred), groups, size)
    deviation = builder.elementwise(
        "sqrt", builder.with_number("add", variance, node.number("epsilon", 1e-5))
    )
    y = _with_group(builder, "div", centred, deviation, size)
    if node.version < 21 and gamma.shape != (channels,):
        # Opset 18 gave scale and bias a group instead of a channel.
        gamma, beta = (
            builder.reshape(builder.expand(builder.reshape(v, (groups, 1)), (groups, size)), (channels,))
            for v in (gamma, beta)
        )
    gamma, beta = (per_channel(builder, vector, x.rank) for vector in (gamma, beta))
    return _affine(builder, y, gamma, beta, dtype)


def _group_mean(builder: Builder, x: Tensor, groups: int, size: int) -> Tensor:
    exprs = [axis_index(0), affine((1, size), (2, 1)), *[axis_index(index + 1) for index in range(2, x.rank)]]
    domain = [x.shape[0], groups, size, *x.shape[2:]]
    total = builder.op("sum", domain, [(x, exprs)], x.dtype, reduced=x.rank - 1)
    return builder.elementwise("div", total, builder.count(domain[2:], x.dtype), dtype=x.dtype)


def _with_group(builder: Builder, kind: str, x: Tensor, statistic: Tensor, size: int) -> Tensor:
    identity = [axis_index(dim) for dim in range(x.rank)]
    group = axis_index(1) if size == 1 else affine((1, 1), divisor=size)
    return builder.op(kind, x.shape, [(x, identity), (statistic, [axis_index(0), group])], x.dtype)


def _lp_normalization(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    axis = checked_axis(node.integer("axis", -1), x.rank)
    if node.integer("p", 2) == 1:
        norm = builder.reduce("sum", builder.elementwise("abs", x), [axis], keep=True)
    else:
        norm = builder.elementwise(
            "sqrt", builder.reduce("sum", builder.elementwise("mul", x, x), [axis], keep=True)
        )
    # A row of zeros stays zero: 0 / tiny.
    return builder.elementwise("div", x, builder.with_number("maximum", norm, 1e-37))


def _mean_variance_normalization(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    dims = [checked_axis(axis, x.rank) for axis in node.integers("axes", [0, 2, 3])]
    return context.builder.cast(standardized(context, x, dims, 1e-9)[0], x.dtype)


NORMALIZATIONS: Mapping[str, Build] = {
    "BatchNormalization": _batch_normalization,
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
    "LpNormalization": _lp_normalization,
    "MeanVarianceNormalization": _mean_variance_normalization,
    "RMSNormalization": _rms_normalization,
}
