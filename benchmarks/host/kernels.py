"""24 kernels of networks as ONNX models of their own: what `tune bench host` tunes and races."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

Array = np.ndarray[Any, Any]
RNG_SEED = 0


def _weights(*shape: int) -> Array:
    """Of about unit gain."""
    rng = np.random.default_rng(RNG_SEED)
    fan_in = max(1, int(np.prod(shape[1:])) if len(shape) > 2 else shape[0])
    return np.asarray(rng.standard_normal(shape) / np.sqrt(fan_in), dtype=np.float32)


def _model(
    nodes: Sequence[Any],
    given: Sequence[int],
    made: Sequence[int],
    weights: Mapping[str, Array],
    opset: int = 17,
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "kernel",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(given))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(made))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    checker.check_model(model)
    return model


def convolution(
    channels: int, height: int, width: int, filters: int, window: int, stride: int = 1, groups: int = 1
) -> ModelProto:
    """With bias and relu, as inside a network."""
    pad = window // 2
    rows, columns = ((extent + 2 * pad - window) // stride + 1 for extent in (height, width))
    nodes = [
        helper.make_node(
            "Conv",
            ["x", "w", "b"],
            ["z"],
            kernel_shape=[window, window],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=groups,
        ),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    weights = {"w": _weights(filters, channels // groups, window, window), "b": _weights(filters)}
    return _model(nodes, (1, channels, height, width), (1, filters, rows, columns), weights)


def product(rows: int, columns: int, depth: int) -> ModelProto:
    """A matrix by constant weights."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return _model([node], (rows, depth), (rows, columns), {"w": _weights(depth, columns)})


def softmax(*shape: int) -> ModelProto:
    """Along the last axis."""
    return _model([helper.make_node("Softmax", ["x"], ["y"], axis=-1)], shape, shape, {})


def layer_norm(rows: int, width: int) -> ModelProto:
    """Along the last axis, with scale and bias."""
    node = helper.make_node("LayerNormalization", ["x", "g", "b"], ["y"], axis=-1)
    weights = {"g": np.ones(width, np.float32), "b": np.zeros(width, np.float32)}
    return _model([node], (1, rows, width), (1, rows, width), weights)


def gelu(*shape: int) -> ModelProto:
    """The exact one."""
    return _model([helper.make_node("Gelu", ["x"], ["y"])], shape, shape, {}, opset=20)


def transpose(shape: Sequence[int], order: Sequence[int]) -> ModelProto:
    """A copy with axes in another order."""
    node = helper.make_node("Transpose", ["x"], ["y"], perm=list(order))
    return _model([node], shape, [shape[axis] for axis in order], {})


KERNELS: Mapping[str, tuple[str, Callable[[], ModelProto]]] = {
    "resnet stem 7x7/2": ("convolution", lambda: convolution(3, 224, 224, 64, 7, 2)),
    "resnet 1x1 64-256 @56": ("convolution", lambda: convolution(64, 56, 56, 256, 1)),
    "resnet 1x1 256-64 @56": ("convolution", lambda: convolution(256, 56, 56, 64, 1)),
    "resnet 3x3 64 @56": ("convolution", lambda: convolution(64, 56, 56, 64, 3)),
    "resnet 3x3/2 128 @56": ("convolution", lambda: convolution(128, 56, 56, 128, 3, 2)),
    "resnet 3x3 128 @28": ("convolution", lambda: convolution(128, 28, 28, 128, 3)),
    "resnet 3x3 256 @14": ("convolution", lambda: convolution(256, 14, 14, 256, 3)),
    "resnet 1x1 1024-256 @14": ("convolution", lambda: convolution(1024, 14, 14, 256, 1)),
    "resnet 3x3 512 @7": ("convolution", lambda: convolution(512, 7, 7, 512, 3)),
    "resnet 1x1 512-2048 @7": ("convolution", lambda: convolution(512, 7, 7, 2048, 1)),
    "densenet 3x3 128-32 @28": ("convolution", lambda: convolution(128, 28, 28, 32, 3)),
    "mobilenet dw 3x3/2 64 @112": ("depthwise", lambda: convolution(64, 112, 112, 64, 3, 2, 64)),
    "mobilenet dw 3x3 96 @28": ("depthwise", lambda: convolution(96, 28, 28, 96, 3, 1, 96)),
    "mobilenet dw 5x5 240 @14": ("depthwise", lambda: convolution(240, 14, 14, 240, 5, 1, 240)),
    "matmul 512": ("matmul", lambda: product(512, 512, 512)),
    "bert_tiny 128x128x512": ("matmul", lambda: product(128, 512, 128)),
    "gpt-2 64x768x3072": ("matmul", lambda: product(64, 3072, 768)),
    "gpt-2 1x768x768": ("matmul", lambda: product(1, 768, 768)),
    "attention softmax 12x128x128": ("softmax", lambda: softmax(1, 12, 128, 128)),
    "classifier softmax 64x1000": ("softmax", lambda: softmax(64, 1000)),
    "gpt-2 layer norm 128x768": ("row-wise and moves", lambda: layer_norm(128, 768)),
    "gpt-2 gelu 128x3072": ("row-wise and moves", lambda: gelu(128, 3072)),
    "heads transpose 128x12x64": ("row-wise and moves", lambda: transpose((1, 128, 12, 64), (0, 2, 1, 3))),
    "u-net transpose 64x56x56": ("row-wise and moves", lambda: transpose((1, 64, 56, 56), (0, 2, 3, 1))),
}
"""By name: the kind that a figure is about, and the model."""
QUICK = (
    "resnet 3x3 256 @14",
    "mobilenet dw 5x5 240 @14",
    "bert_tiny 128x128x512",
    "gpt-2 layer norm 128x768",
)
