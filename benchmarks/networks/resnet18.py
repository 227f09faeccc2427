"""ResNet-18 as exporters write it: batch normalisation folded, weights left open.

He et al. 2016, "Deep Residual Learning for Image Recognition", table 1. The onnx package ships the deeper one
only. Every weight of a shape has one value, which says nothing about numbers, and the file has 20 KB.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = (64, 128, 256, 512)
CLASSES = 1000
SIDE = 224


class _Nodes:
    """Nodes in their order; each method gives the name of what it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._shapes: list[onnx.TensorProto] = []

    @property
    def initializers(self) -> list[onnx.TensorProto]:
        """The shapes of the weights."""
        return self._shapes

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An op of one result."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, *shape: int) -> str:
        """A tensor of one small value, the same for each output."""
        name = f"shape_{len(self._shapes)}"
        self._shapes.append(numpy_helper.from_array(np.array(shape, np.int64), name))
        value = numpy_helper.from_array(np.array([1.0 / np.prod(shape[1:] or (1,))], np.float32))
        return self.add("ConstantOfShape", name, value=value)

    def convolution(self, image: str, channels: tuple[int, int], kernel: int, stride: int) -> str:
        """A convolution that keeps the size but for its stride, with a bias."""
        read, made = channels
        weight, bias = self.weight(made, read, kernel, kernel), self.weight(made)
        around: dict[str, Any] = {
            "kernel_shape": [kernel] * 2,
            "strides": [stride] * 2,
            "pads": [kernel // 2] * 4,
        }
        return self.add("Conv", image, weight, bias, **around)

    def block(self, image: str, channels: tuple[int, int], stride: int) -> str:
        """Two convolutions, and what they are added to."""
        read, made = channels
        inner = self.add("Relu", self.convolution(image, channels, 3, stride))
        inner = self.convolution(inner, (made, made), 3, 1)
        same = stride == 1 and read == made
        return self.add(
            "Relu", self.add("Add", inner, image if same else self.convolution(image, channels, 1, stride))
        )


def resnet18() -> onnx.ModelProto:
    """The network: an image [1, 3, 224, 224] in, 1000 numbers out."""
    net = _Nodes()
    x = net.add("Relu", net.convolution("image", (3, CHANNELS[0]), 7, 2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    read = CHANNELS[0]
    for made in CHANNELS:
        x = net.block(x, (read, made), 1 if made == CHANNELS[0] else 2)
        x = net.block(x, (made, made), 1)
        read = made
    x = net.add("Flatten", net.add("GlobalAveragePool", x), axis=1)
    x = net.add("Gemm", x, net.weight(CLASSES, read), net.weight(CLASSES), transB=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    result = helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, CLASSES])
    graph = helper.make_graph(net.nodes, "resnet18", [image], [result], net.initializers)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
