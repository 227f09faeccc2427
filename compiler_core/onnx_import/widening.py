"""An operator of a model with its reals in float64: the same node, types in attributes and bodies widened."""

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

ROUNDED = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
"""Types that stand for reals; floats of eight bits stay: their values are rounded to steps."""
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type", "softmax_precision")

REAL_ATTRIBUTES = ("value_float", "value_floats")
"""Of a Constant."""


def widened_node(node: NodeProto) -> NodeProto:
    """`node`, and the bodies in it, over float64."""
    wide = NodeProto()
    wide.CopyFrom(node)
    del wide.attribute[:]
    wide.attribute.extend(_widened(attribute) for attribute in node.attribute)
    return wide


def widened_function(function: onnx.FunctionProto) -> onnx.FunctionProto:
    """A model's own function over float64."""
    wide = onnx.FunctionProto()
    wide.CopyFrom(function)
    del wide.node[:], wide.value_info[:]
    wide.node.extend(_widened_nodes(function.node))
    return wide


def _widened_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Those of a body; a constant that an attribute of the function tells is cast."""
    for node in nodes:
        told = any(a.name in REAL_ATTRIBUTES and a.ref_attr_name for a in node.attribute)
        if not told:
            yield widened_node(node)
            continue
        narrow = NodeProto()
        narrow.CopyFrom(node)
        narrow.output[0] = f"{node.output[0]}/as told"
        yield narrow
        yield helper.make_node("Cast", narrow.output, node.output, to=TensorProto.DOUBLE)


def read_by(node: NodeProto) -> list[str]:
    """The values that a node reads, each once: those of its bodies that are not made there too."""
    read = dict.fromkeys(name for name in node.input if name)
    for body in _bodies(node):
        read |= dict.fromkeys(_free(body))
    return list(read)


def _bodies(node: NodeProto) -> Iterable[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _free(graph: GraphProto) -> list[str]:
    made = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    free: dict[str, None] = {}
    for node in graph.node:
        free |= dict.fromkeys(name for name in read_by(node) if name not in made)
        made |= set(node.output)
    free |= dict.fromkeys(info.name for info in graph.output if info.name not in made)
    return list(free)


def _widened(attribute: AttributeProto) -> AttributeProto:
    wide = AttributeProto()
    wide.CopyFrom(attribute)
    if attribute.type == AttributeProto.TENSOR:
        wide.t.CopyFrom(_widened_tensor(attribute.t))
    elif attribute.type == AttributeProto.INT and attribute.name in TYPE_ATTRIBUTES:
        wide.i = TensorProto.DOUBLE if attribute.i in ROUNDED else attribute.i
    elif attribute.name in REAL_ATTRIBUTES:
        given = attribute.f if attribute.type == AttributeProto.FLOAT else list(attribute.floats)
        return helper.make_attribute("value", numpy_helper.from_array(np.asarray(given, np.float64)))
    elif attribute.type == AttributeProto.GRAPH:
        wide.g.CopyFrom(_widened_graph(attribute.g))
    elif attribute.type == AttributeProto.GRAPHS:
        del wide.graphs[:]
        wide.graphs.extend(_widened_graph(graph) for graph in attribute.graphs)
    return wide


def _widened_graph(graph: GraphProto) -> GraphProto:
    wide = GraphProto()
    wide.CopyFrom(graph)
    del wide.node[:], wide.initializer[:], wide.value_info[:]
    wide.node.extend(_widened_nodes(graph.node))
    wide.initializer.extend(_widened_tensor(tensor) for tensor in graph.initializer)
    for info in (*wide.input, *wide.output):
        if info.type.tensor_type.elem_type in ROUNDED:
            info.type.tensor_type.elem_type = TensorProto.DOUBLE
    return wide


def _widened_tensor(tensor: TensorProto) -> TensorProto:
    if tensor.data_type not in ROUNDED:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)
