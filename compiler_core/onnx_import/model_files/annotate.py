"""A model file with notes on its nodes, as any viewer of ONNX files shows them."""

from collections.abc import Mapping
from pathlib import Path

import onnx

from tilewright.compiler_core.ir.names import MOST_PATH
from tilewright.compiler_core.onnx_import.building.node import path_of
from tilewright.compiler_core.onnx_import.model_files.load import load_model

FIRST_IR_WITH_NOTES = 10
"""Nodes have metadata from this version of the format on (onnx, IR.md)."""
PREFIX = "tilewright."

Notes = Mapping[str, str]


def annotated_model(path: Path, of_nodes: Mapping[str, Notes], of_model: Notes) -> bytes:
    """The file at `path` with notes: `of_nodes` by the path of the node (Origin.path), and `of_model`.

    Nodes inside a function or a subgraph are noted at the node that enters it. Nothing else changes
    but the version of the format, where that has no place for notes; external data stay where they are.
    ModelError where the file cannot be read.
    """
    model = load_model(path)
    model.ir_version = max(model.ir_version, FIRST_IR_WITH_NOTES)
    _note(model, of_model)
    inner: dict[str, dict[str, str]] = {}
    for origin, notes in of_nodes.items():
        for end in (index for index, letter in enumerate(origin) if letter == "/" and index):
            inner.setdefault(origin[:end], {}).update(notes)
    for node in model.graph.node:
        name = path_of(node)[-MOST_PATH:]
        _note(node, of_nodes.get(name) or inner.get(name, {}))
    made: bytes = model.SerializeToString()
    return made


def _note(where: onnx.ModelProto | onnx.NodeProto, notes: Notes) -> None:
    """Set notes; those of an earlier time go."""
    kept = [entry for entry in where.metadata_props if not str(entry.key).startswith(PREFIX)]
    del where.metadata_props[:]
    where.metadata_props.extend(kept)
    where.metadata_props.extend(
        onnx.StringStringEntryProto(key=f"{PREFIX}{key}", value=value) for key, value in notes.items()
    )
