"""Which files a model keeps its tensors in."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx

from tilewright.compiler_core.onnx_import.building.external import ExternalData
from tilewright.compiler_core.onnx_import.model_files.load import load_model


def files_beside(model: Path) -> Mapping[str, Path]:
    """The files of the external data of a model by the names that it gives them, in their order.

    ModelError where `model` is none, or a file is not there or lies where it may not (external.py).
    """
    read, external = load_model(model), ExternalData(model)
    tensors = [*_tensors(read.graph)]
    for function in read.functions:
        tensors.extend(_of_nodes(function.node))
    names = {entry.value for t in tensors for entry in t.external_data if entry.key == "location"}
    return {name: external.checked_path(name, "the model") for name in sorted(names, key=str)}


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors(graph)
