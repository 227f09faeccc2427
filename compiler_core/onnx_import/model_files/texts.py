"""Texts of a model that are none: protobuf hands them over as bytes where they are no UTF-8."""

from collections.abc import Iterator
from itertools import chain

import onnx

from tilewright.compiler_core.errors import ModelError

MOST_SHOWN = 60


def require_utf8(where: onnx.ModelProto | onnx.GraphProto) -> None:
    """ModelError where a text is no UTF-8: of a model, or of one graph; a Node looks at its own."""
    for text in _of_model(where) if isinstance(where, onnx.ModelProto) else _of_graph(where):
        if not isinstance(text, str):
            raise ModelError(f"the model holds a name that is not UTF-8: {text[:MOST_SHOWN]!r}")


def _of_model(model: onnx.ModelProto) -> Iterator[str]:
    yield from (opset.domain for opset in model.opset_import)
    yield from chain.from_iterable((entry.key, entry.value) for entry in model.metadata_props)
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from (function.domain, function.name, *function.input, *function.output, *function.attribute)
        yield from (opset.domain for opset in function.opset_import)
        yield from (attribute.name for attribute in function.attribute_proto)


def _of_graph(graph: onnx.GraphProto) -> Iterator[str]:
    yield graph.name
    for info in chain(graph.input, graph.output, graph.value_info):
        yield info.name
        kind = info.type
        while (inside := kind.WhichOneof("value")) in ("sequence_type", "optional_type"):
            kind = getattr(kind, str(inside)).elem_type
        yield from (dim.dim_param for dim in kind.tensor_type.shape.dim)
    for tensor in chain(graph.initializer, (sparse.values for sparse in graph.sparse_initializer)):
        yield tensor.name
