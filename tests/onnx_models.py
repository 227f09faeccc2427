"""Small ONNX models for tests: one line a node, weights seeded, files written where the test says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
IR_VERSION = 10

SHARED = Path(__file__).parents[1].parent / "shared"
"""Networks that are not part of the project; tests that want them skip where it is missing."""
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
"""The architectures that ship inside the onnx package, weights by ConstantOfShape."""


def value(
    name: str, shape: Sequence[int | str] | None, dtype: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    """An input or output of a model; strings are symbolic extents."""
    return helper.make_tensor_value_info(name, dtype, shape)


def node(op_type: str, inputs: str, outputs: str, domain: str = "", **attributes: Any) -> onnx.NodeProto:
    """One node; names separated by spaces, `_` stands for an input or output that is left out."""
    given, made = (["" if name == "_" else name for name in names.split()] for names in (inputs, outputs))
    return helper.make_node(op_type, given, made, domain=domain, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 18,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model whose outputs have no declared shape, so nothing but inference can know it."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        list(inputs),
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *[helper.make_opsetid(domain, 1) for domain in domains]]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, functions=list(functions))


def saved(made: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """The model's file in `folder`."""
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def reals(seed: int, *shape: int) -> Array:
    """Seeded normal f32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def small_cnn() -> onnx.ModelProto:
    """Padded convolution, batch norm, residual, pooling, classifier."""
    constants = {
        "w1": reals(1, 8, 3, 3, 3),
        "w2": reals(2, 8, 8, 3, 3),
        "g": 1 + 0.1 * reals(3, 8),
        "b": reals(4, 8),
        "m": reals(5, 8),
        "v": 1 + 0.1 * np.abs(reals(6, 8)),
        "f": reals(7, 10, 8),
        "fb": reals(8, 10),
    }
    nodes = [
        node("Conv", "x w1", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a g b m v", "n"),
        node("Relu", "n", "r"),
        node("Conv", "r w2", "c", pads=[1, 1, 1, 1]),
        node("Add", "c r", "s"),
        node("MaxPool", "s", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "p", "q"),
        node("Flatten", "q", "z"),
        node("Gemm", "z f fb", "y", transB=1),
    ]
    return model(nodes, [value("x", [1, 3, 12, 12])], ["y"], constants)


def seeded_weights(made: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """A model of the onnx package with its constant weights replaced by seeded ones in range."""
    rng = np.random.default_rng(seed)
    shapes = {t.name: t for t in made.graph.initializer}
    kept = []
    for item in made.graph.node:
        if item.op_type == "ConstantOfShape" and item.input[0] in shapes:
            shape = numpy_helper.to_array(shapes[item.input[0]]).tolist()
            width = float(np.sqrt(3 / max(1, np.prod(shape[1:]))))
            low, high = (-width, width) if len(shape) > 1 else (0.5, 1.5)
            weights = rng.uniform(low, high, shape).astype(np.float32)
            made.graph.initializer.append(numpy_helper.from_array(weights, item.output[0]))
        else:
            kept.append(item)
    del made.graph.node[:]
    made.graph.node.extend(kept)
    return made


def two_parts() -> onnx.ModelProto:
    """A convolution and a matrix product that have nothing in common: two kernels, whatever is fused."""
    constants = {"w": reals(1, 8, 3, 3, 3), "b": reals(2, 8), "m": reals(3, 32, 16)}
    nodes = [
        node("Conv", "x w b", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "y"),
        node("MatMul", "z m", "p"),
        node("Tanh", "p", "q"),
    ]
    return model(nodes, [value("x", [1, 3, 16, 16]), value("z", [8, 32])], ["y", "q"], constants)
