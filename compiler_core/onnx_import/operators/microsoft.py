"""Operators of domain com.microsoft that exporters and optimizers write into models."""

from collections.abc import Mapping

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.contraction import CONTRACTIONS, fused_matmul
from tilewright.compiler_core.onnx_import.operators.convolution import CONVOLUTIONS
from tilewright.compiler_core.onnx_import.operators.elementwise import ELEMENTWISE, gelu
from tilewright.compiler_core.onnx_import.operators.normalization import (
    NORMALIZATIONS,
)


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


def _distances(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """CDist: how far each row of one matrix is from each of another."""
    left, right, builder = required(inputs, 0), required(inputs, 1), context.builder
    metric = node.text("metric", "sqeuclidean")
    if metric not in ("euclidean", "sqeuclidean"):
        raise ModelError(f"metric {metric!r} is not supported")
    if left.rank != 2 or right.rank != 2:
        raise ModelError(f"operands have ranks {left.rank} and {right.rank}; both must be matrices")
    wide = builder.reshape(left, (left.shape[0], 1, left.shape[1]))
    apart = builder.elementwise("sub", wide, right)
    squares = builder.reduce("sum", builder.elementwise("mul", apart, apart), [2], keep=False)
    return squares if metric == "sqeuclidean" else builder.elementwise("sqrt", squares)


MICROSOFT: Mapping[str, Build] = {
    "BiasGelu": _bias_gelu,
    "CDist": _distances,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": fused_matmul,
    "Gelu": ELEMENTWISE["Gelu"],
    "LayerNormalization": NORMALIZATIONS["LayerNormalization"],
    "QuickGelu": _quick_gelu,
}
