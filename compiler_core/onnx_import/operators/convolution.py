"""Conv of any rank as a contraction: windows, groups and strides are in the index maps."""

from collections.abc import Mapping
from dataclasses import replace

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import affine, axis_index, constant_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.window import Window, window_of
from tilewright.compiler_core.onnx_import.operators.quantized_contraction import dequantized, quantized_pair


def grouped(builder: Builder, x: Tensor, w: Tensor, groups: int) -> tuple[Dim, int, int]:
    """Batch, input channels a group, output channels a group; ModelError where they do not fit."""
    if x.rank < 3 or w.rank != x.rank:
        raise ModelError(f"input of rank {x.rank} and weight of rank {w.rank} do not make a convolution")
    filters, per_group = known(w.shape[0], "the number of filters"), known(w.shape[1], "channels a group")
    if groups < 1 or filters % groups:
        raise ModelError(f"group {groups} does not divide {filters} filters")
    builder.equal(
        x.shape[1], groups * per_group, f"input channels and group ({groups}) times weight channels"
    )
    return x.shape[0], per_group, filters // groups


def contract_window(
    builder: Builder, x: Tensor, w: Tensor, groups: int, window: Window, dtype: DType, pad: float
) -> Tensor:
    """The sum of products of a convolution, [N, M, *outputs], reading `pad` outside the input."""
    batch, per_group, filters = grouped(builder, x, w, groups)
    spatial = len(window.outputs)
    taps = list(window.kernel)
    if groups == 1 or per_group == 1:
        # result axes n, m, y...; reduction axes c (unless depthwise), r...
        reduces_channels = groups == 1
        first_tap = 2 + spatial + reduces_channels
        if reduces_channels:
            channel, weight_channel = axis_index(2 + spatial), axis_index(2 + spatial)
        else:
            channel = affine((1, 1), divisor=filters)
            weight_channel = constant_index(0)
        x_exprs = [axis_index(0), channel, *window.exprs(2, first_tap)]
        w_exprs = [
            axis_index(1),
            weight_channel,
            *[axis_index(first_tap + index) for index in range(spatial)],
        ]
        reduced = [per_group] * reduces_channels + taps
        domain = [batch, groups * filters, *window.outputs, *reduced]
        return builder.op("contract", domain, [(x, x_exprs, pad), (w, w_exprs)], dtype, reduced=len(reduced))
    # result axes n, g, m, y...; reduction axes c, r...
    first_tap = 4 + spatial
    channel = affine((1, per_group), (3 + spatial, 1))
    x_exprs = [axis_index(0), channel, *window.exprs(3, first_tap)]
    w_exprs = [
        affine((1, filters), (2, 1)),
        axis_index(3 + spatial),
        *[axis_index(first_tap + index) for index in range(spatial)],
    ]
    domain = [batch, groups, filters, *window.outputs, per_group, *taps]
    split = builder.op("contract", domain, [(x, x_exprs, pad), (w, w_exprs)], dtype, reduced=1 + spatial)
    return builder.reshape(split, (batch, groups * filters, *window.outputs))


def add_bias(builder: Builder, y: Tensor, bias: Tensor | None) -> Tensor:
    """`y` plus one number a channel (dim 1)."""
    if bias is None:
        return y
    if bias.rank != 1:
        raise ModelError(f"the bias has rank {bias.rank}; it must have rank 1")
    builder.equal(bias.shape[0], y.shape[1], "bias length and filters")
    return builder.elementwise("add", y, per_channel(builder, bias, y.rank))


def per_channel(builder: Builder, vector: Tensor, rank: int) -> Tensor:
    """A vector as [C, 1, ...], to broadcast along dim 1 of a tensor of `rank`."""
    return builder.reshape(vector, (vector.shape[0], *[1] * (rank - 2)))


def _conv(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    x, w, bias = required(inputs, 0), required(inputs, 1), optional(inputs, 2)
    groups = node.integer("group", 1)
    grouped(builder, x, w, groups)
    kernel = tuple(known(extent, "a kernel extent") for extent in w.shape[2:])
    if node.has("kernel_shape") and tuple(node.integers("kernel_shape")) != kernel:
        raise ModelError(
            f"kernel_shape {node.integers('kernel_shape')} differs from the weight's {list(kernel)}"
        )
    window = window_of(context, node, x.shape[2:], kernel)
    pair = quantized_pair(context, x, w, output_dim=0)
    if pair is not None:
        sums = contract_window(builder, pair.left, pair.right, groups, window, DType.I32, pair.left_zero)
        return dequantized(context, pair, sums, bias, channel_dim=1)
    y = add_bias(builder, contract_window(builder, x, w, groups, window, x.dtype, 0.0), bias)
    if w.recipe is not None and (bias is None or bias.recipe is not None):
        nodes = builder.nodes

        def scaled(scale: Tensor, shift: Tensor) -> Tensor:
            builder.nodes = nodes + builder.nodes
            weight = builder.elementwise(
                "mul", w, builder.reshape(scale, (*scale.shape, *[1] * (w.rank - 1)))
            )
            offset = (
                shift
                if bias is None
                else builder.elementwise("add", builder.elementwise("mul", bias, scale), shift)
            )
            return add_bias(
                builder, contract_window(builder, x, weight, groups, window, x.dtype, 0.0), offset
            )

        y = replace(y, scaled=scaled)
    return y


CONVOLUTIONS: Mapping[str, Build] = {
    "Conv": _conv,
}
