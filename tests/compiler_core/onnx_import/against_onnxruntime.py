"""Import, interpret, run the same file in onnxruntime, compare every value that has a name in both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime

from tests.onnx_models import Array
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.meaning.evaluate import Held, evaluate
from tilewright.compiler_core.onnx_import.feeds import extents_decided
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model

PLAIN = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
OPTIMIZED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def run_onnxruntime(
    made: onnx.ModelProto,
    names: list[str],
    feeds: Mapping[str, Array],
    level: onnxruntime.GraphOptimizationLevel,
) -> dict[str, Array]:
    """Named values of a model, intermediates included."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(made)
    have = {output.name for output in exposed.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in have)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def named_values(imported: ImportedModel, made: onnx.ModelProto) -> dict[str, int]:
    """Outputs and named intermediates that the model's own graph produces, by name."""
    produced = {name for item in made.graph.node for name in item.output}
    graph = imported.graph
    made_here = {op.result for op in graph.ops}
    values = {name: value for value, name in graph.names.items() if value in made_here and name in produced}
    return {**values, **dict(imported.outputs)}


def bindings(imported: ImportedModel, feeds: Mapping[str, Array]) -> dict[str, int]:
    """What the shapes of `feeds` say about the symbols of the inputs."""
    found: dict[str, int] = {}
    for name, value in imported.inputs:
        for dim, extent in zip(imported.graph.values[value].shape, feeds[name].shape, strict=True):
            if str(dim) in imported.graph.symbols:
                found[str(dim)] = extent
    return found


def interpret_beside(
    graph: Graph, inputs: Mapping[int, Array], known: Mapping[int, Array]
) -> dict[int, Array]:
    """Every op computed from the `known` operands where those are given, from its own otherwise."""
    own: dict[int, Array] = {**graph.constants, **inputs}
    for op in graph.ops:
        arrays = [known.get(access.value, own[access.value]) for access in op.operands]
        box = [(0, extent) for extent in op.extents]
        held = [Held(array, (0,) * array.ndim, array.shape) for array in arrays]
        own[op.result] = evaluate(op, box, held, graph.values[op.result])
    return own


@dataclass(frozen=True)
class Difference:
    """How far one value is from onnxruntime's, relative to its largest magnitude; for integers the share of
    elements more than one step away."""

    name: str
    error: float


def differences(
    path: Path,
    made: onnx.ModelProto,
    feeds: Mapping[str, Array],
    *,
    value_by_value: bool = False,
    dims: Mapping[str, int] = MappingProxyType({}),
    given: Mapping[str, Array] = MappingProxyType({}),
) -> list[Difference]:
    """Differences of all common values from unoptimized onnxruntime, worst first.

    Float errors are counted beyond five times what onnxruntime itself moves between its optimization levels.
    With `value_by_value` each op starts from onnxruntime's operands, so errors do not add up. `dims` are
    extents that a run tells, `given` values of inputs that are bound.
    """
    imported = import_model(path, inputs=given)
    graph = imported.graph.bound_to({**bindings(imported, feeds), **dims})
    if graph.symbols:
        open_model = replace(imported, graph=graph, decided=graph.symbols)
        graph = graph.bound_to(extents_decided(open_model, feeds))
    values = named_values(imported, made)
    wanted = run_onnxruntime(made, list(values), feeds, PLAIN)
    inputs = {value: feeds[name] for name, value in imported.inputs}
    known = {values[name]: array for name, array in wanted.items()} if value_by_value else {}
    own = interpret_beside(graph, inputs, known)
    found = [Difference(name, _error(own[value], wanted[name])) for name, value in values.items()]
    found.sort(key=lambda difference: -difference.error)
    if found and found[0].error > 1e-4:
        noisy = run_onnxruntime(made, list(values), feeds, OPTIMIZED)
        found = [Difference(d.name, d.error - 5 * _error(noisy[d.name], wanted[d.name])) for d in found]
        found.sort(key=lambda difference: -difference.error)
    return found


def _error(own: Array, wanted: Array) -> float:
    assert own.shape == wanted.shape
    assert own.dtype == wanted.dtype
    if not wanted.size:
        return 0.0
    if wanted.dtype == np.bool_:
        return float((own != wanted).mean())
    if np.issubdtype(wanted.dtype, np.integer):
        return float((np.abs(own.astype(np.int64) - wanted.astype(np.int64)) > 1).mean())
    finite = np.isfinite(wanted)
    assert (np.isfinite(own) == finite).all()
    if not finite.any():
        return 0.0
    gap = np.abs(own[finite].astype(np.float64) - wanted[finite].astype(np.float64)).max()
    return float(gap / max(float(np.abs(wanted[finite]).max()), 1e-30))
