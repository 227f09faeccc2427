"""What onnxruntime computes for a model, intermediate values included: the reference of `tune verify`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.importer import ImportedModel
from tilewright.compiler_core.onnx_import.load import load_model


def named_values(path: Path, imported: ImportedModel) -> dict[str, int]:
    """Values that the model's own graph makes under a name and that the Graph still holds, by name."""
    produced = {name for item in load_model(path).graph.node for name in item.output}
    graph = imported.graph
    made = {op.result for op in graph.ops}
    inner = {name: value for value, name in graph.names.items() if value in made and name in produced}
    return {**inner, **dict(imported.outputs)}


def reference_values(
    path: Path, names: Sequence[str], feeds: Mapping[str, Array], *, optimised: bool = False
) -> dict[str, Array]:
    """The named values of the model in `path` on `feeds`, by onnxruntime; without optimisations unless asked.

    ModelError when onnxruntime is not installed or refuses the model.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ModelError("verifying needs the package onnxruntime; install it") from None
    exposed = onnx.load(path)
    have = {output.name for output in exposed.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in have)
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session: Any = onnxruntime.InferenceSession(
            exposed.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return dict(zip(names, session.run(list(names), dict(feeds)), strict=True))
    except Exception as error:
        # onnxruntime's errors have no common base; whatever it refuses is the model's fault here.
        line = " ".join(str(error).split())[:300]
        raise ModelError(f"onnxruntime refuses {str(path)!r}: {line}") from error
