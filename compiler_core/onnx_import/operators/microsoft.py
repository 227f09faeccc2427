"""Operators of domain com.microsoft that exporters and optimizers write into models."""

from collections.abc import Mapping

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axis,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.contraction import CONTRACTIONS, fused_matmul
from tilewright.compiler_core.onnx_import.operators.convolution import CONVOLUTIONS
from tilewright.compiler_core.onnx_import.operators.elementwise import ELEMENTWISE, gelu
from tilewright.compiler_core.onnx_import.operators.normalization import (
    NORMALIZATIONS,
    layer_normalization,
    rms_normalization,
)
from tilewright.compiler_core.onnx_import.operators.rotary import rotary_embedding


def _with_bias(context: Context, inputs: Inputs) -> Tensor:
    x, bias = required(inputs, 0), optional(inputs, 1)
    return x if bias is None else context.builder.elementwise("add", x, bias)


def _bias_gelu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return gelu(context, _with_bias(context, inputs), tanh=False)


def _fast_gelu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return gelu(context, _with_bias(context, inputs), tanh=True)


def _quick_gelu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    gate = builder.elementwise("sigmoid", builder.with_number("mul", x, node.number("alpha", 1.702)))
    return builder.elementwise("mul", x, gate)


def _skip_layer_normalization(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """LayerNormalization of input + skip (+ bias); the sum is the fourth result."""
    builder = context.builder
    total = builder.elementwise(
        "add", required(inputs, 0), required(inputs, 1), dtype=required(inputs, 0).dtype
    )
    bias = optional(inputs, 4)
    if bias is not None:
        total = builder.elementwise("add", total, bias)
    epsilon = node.number("epsilon", 1e-12)
    results = layer_normalization(
        context, total, total.rank - 1, epsilon, required(inputs, 2), optional(inputs, 3)
    )
    return [*results, total]


def _skip_simplified(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """RMSNormalization of input + skip (+ bias); mean and deviation, which nobody reads, are the total."""
    builder = context.builder
    total = builder.elementwise("add", required(inputs, 0), required(inputs, 1))
    bias = optional(inputs, 3)
    if bias is not None:
        total = builder.elementwise("add", total, bias)
    y = rms_normalization(context, total, total.rank - 1, node.number("epsilon", 1e-12), required(inputs, 2))
    if any(node.outputs[1:3]):
        raise ModelError("the mean and inv_std_var outputs are not supported")
    return [y, total, total, total]


def simplified_layer_normalization(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """RMS normalization by its name in onnxruntime."""
    x = required(inputs, 0)
    axis = checked_axis(node.integer("axis", -1), x.rank)
    return rms_normalization(context, x, axis, node.number("epsilon", 1e-5), optional(inputs, 1))


_ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hard_swish"}


_PARAMETERS = ("alpha", "beta", "gamma")


def _activated(context: Context, node: Node, y: Tensor) -> Tensor:
    """Attribute `activation` of a fused operator.

    Its parameters are in activation_params (FusedConv) or activation_alpha, _beta, _gamma (FusedGemm).
    """
    name = node.text("activation", "")
    numbers = node.numbers("activation_params", [])
    if not name:
        return y
    if name in _ACTIVATIONS:
        return context.builder.elementwise(_ACTIVATIONS[name], y)
    numbers = numbers or [node.number(f"activation_{p}") for p in _PARAMETERS if node.has(f"activation_{p}")]
    if name == "LeakyRelu" and len(numbers) == 1:
        return context.builder.elementwise("leaky_relu", y, alpha=numbers[0])
    if name == "Clip" and len(numbers) == 2:
        return context.builder.elementwise("clip", y, low=numbers[0], high=numbers[1])
    if name == "HardSigmoid" and len(numbers) == 2:
        return context.builder.elementwise("hard_sigmoid", y, alpha=numbers[0], beta=numbers[1])
    raise ModelError(f"activation {name!r} is not supported")


def _fused_conv(context: Context, node: Node, inputs: Inputs) -> Tensor:
    built = CONVOLUTIONS["Conv"](context, node, inputs[:3])
    y = built if isinstance(built, Tensor) else built[0]
    added = optional(inputs, 3)
    return _activated(context, node, y if added is None else context.builder.elementwise("add", y, added))


def _fused_gemm(context: Context, node: Node, inputs: Inputs) -> Tensor:
    built = CONTRACTIONS["Gemm"](context, node, inputs)
    return _activated(context, node, built if isinstance(built, Tensor) else built[0])


def _rotary_embedding(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Positions before the tables; one position is the first of a row of consecutive ones."""
    x, positions, cosines, sines = (required(inputs, at) for at in range(4))
    builder = context.builder
    if node.number("scale", 1.0) != 1.0:
        raise ModelError("scale is not supported")
    if positions.rank < 2:
        sequence = x.shape[1] if x.rank == 3 else x.shape[2]
        steps = builder.table((1, sequence), DType.I64, lambda extents: np.arange(extents[1])[None])
        positions = builder.elementwise("add", steps, builder.reshape(positions, (1, 1)))
    return rotary_embedding(context, node, x, positions, cosines, sines)


MICROSOFT: Mapping[str, Build] = {
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": fused_matmul,
    "Gelu": ELEMENTWISE["Gelu"],
    "LayerNormalization": NORMALIZATIONS["LayerNormalization"],
    "QuickGelu": _quick_gelu,
    "RotaryEmbedding": _rotary_embedding,
    "SimplifiedLayerNormalization": simplified_layer_normalization,
    "SkipLayerNormalization": _skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": _skip_simplified,
}
