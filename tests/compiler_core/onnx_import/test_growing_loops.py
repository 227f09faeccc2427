"""Loops whose state changes its shape from step to step equal onnxruntime, on the host or written out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.compiler_core.onnx_import.against_onnxruntime import PLAIN, run_onnxruntime
from tests.onnx_models import Array, model, node, reals, saved, value
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.graph_json import graph_from_json, graph_to_json
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.meaning.loops import written_out
from tilewright.compiler_core.onnx_import.feeds import extents_decided
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model

FEEDS = {"x": np.abs(reals(1, 3)), "n": np.ones(5, np.float32)}


def _network(step: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    """A Loop over the elements of n that carries a, at first x, and collects s; `step` makes a2, s, go2."""
    inputs = [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("a", ["before"])]
    outputs = [value("go2", [], TensorProto.BOOL), value("a2", ["after"]), value("s", [])]
    body = helper.make_graph([node("Cast", "i", "f", to=1), *step], "body", inputs, outputs)
    nodes = [
        node("Shape", "n", "shape"),
        node("Squeeze", "shape zero", "count"),
        node("Loop", "count t x", "y z", body=body),
    ]
    constants: dict[str, Array] = {
        "t": np.array(True),
        "bound": np.array(4.0, np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
        "none": np.array(0),
        "step": np.array(1),
    }
    return model(nodes, [value("x", [3]), value("n", ["length"])], ["y", "z"], constants)


APPENDED = (node("Reshape", "f one", "element"), node("Concat", "a element", "a2", axis=0))
DOUBLED = (node("Concat", "a a", "a2", axis=0),)
SUMMED = (node("ReduceSum", "a2", "s", keepdims=0),)
FOREVER = (node("Identity", "go", "go2"),)
UNTIL = (node("Less", "s bound", "go2"),)
COUNTED = (  # s = sum over i < length of a: i * a[i]
    node("Shape", "a2", "long"),
    node("Squeeze", "long zero", "length2"),
    node("Range", "none length2 step", "places"),
    node("Cast", "places", "reals", to=1),
    node("Mul", "a2 reals", "weighted"),
    node("ReduceSum", "weighted", "s", keepdims=0),
)
CASES: Mapping[str, tuple[Sequence[onnx.NodeProto], list[str]]] = {
    "counted": ((*APPENDED, *SUMMED, *FOREVER), ["length + 3", "length"]),
    "ended by data": ((*APPENDED, *SUMMED, *UNTIL), ["y_turns + 3", "y_turns"]),
    "counting its elements": ((*APPENDED, *COUNTED, *FOREVER), ["length + 3", "length"]),
    "doubled": ((*DOUBLED, *SUMMED, *FOREVER), ["y_dim_0", "y_turns"]),
}


def _interpreted(imported: ImportedModel, graph: Graph) -> dict[str, Array]:
    known = interpret(graph, {number: FEEDS[name] for name, number in imported.inputs})
    return {name: known[result] for name, result in imported.outputs}


@pytest.mark.parametrize("case", CASES)
def test_a_loop_may_carry_what_grows(case: str, tmp_path: Path) -> None:
    """Growth by the same at every step gives the last extent; any other is told by the run, on the host."""
    step, extents = CASES[case]
    made = _network(step)
    imported = import_model(saved(made, tmp_path))
    shapes = [imported.graph.values[result].shape for _, result in imported.outputs]
    assert [str(dim) for shape in shapes for dim in shape] == extents
    assert bool(imported.host_ops) == (case != "counted")
    wanted = run_onnxruntime(made, ["y", "z"], FEEDS, PLAIN)
    sizes = {"length": 5, "y_turns": len(wanted["z"]), "y_dim_0": len(wanted["y"])}
    bound = imported.graph.bound_to({name: sizes[name] for name in imported.graph.symbols})
    assert (written_out(bound) is bound) == (case != "counted")
    for graph in (bound, written_out(bound)):
        for name, array in _interpreted(imported, graph).items():
            np.testing.assert_allclose(array, wanted[name], rtol=1e-6)
    assert graph_to_json(graph_from_json(graph_to_json(bound))) == graph_to_json(bound)


@pytest.mark.parametrize("turns", [2, 99])
def test_turns_bound_to_others_end_the_loop_or_are_filled_with_zeros(turns: int, tmp_path: Path) -> None:
    made = _network(CASES["ended by data"][0])
    imported = import_model(saved(made, tmp_path), {"length": 5})
    own = run_onnxruntime(made, ["z"], FEEDS, PLAIN)["z"]
    assert extents_decided(imported, FEEDS) == {"y_turns": len(own)}
    other = _interpreted(imported, imported.graph.bound_to({"y_turns": turns}))["z"]
    both = min(turns, len(own))
    np.testing.assert_allclose(other[:both], own[:both], rtol=1e-6)
    assert len(other) == turns
    assert not other[both:].any()


def test_what_is_collected_must_not_grow(tmp_path: Path) -> None:
    imported = import_model(saved(_network((*APPENDED, node("Identity", "a2", "s"), *FOREVER)), tmp_path))
    sizes = {name: 5 if name == "length" else 4 for name in imported.graph.symbols}
    with pytest.raises(ModelError, match="the loop collects values whose shape changes from step to step"):
        _interpreted(imported, imported.graph.bound_to(sizes))


def test_extents_of_a_run_are_bound_by_name_like_those_of_inputs(tmp_path: Path) -> None:
    path = saved(_network(CASES["ended by data"][0]), tmp_path)
    imported = import_model(path, {"length": 5, "y_turns": 2})
    assert not imported.graph.symbols
    assert [imported.graph.shape(result) for _, result in imported.outputs] == [(5,), (2,)]
    with pytest.raises(ModelError, match="no dimension called 'turns'; it has length, y_turns"):
        import_model(path, {"turns": 2})


def test_names_do_not_change_the_digest(tmp_path: Path) -> None:
    """Symbols of a step are named by their place, not after nodes."""
    made = _network(CASES["ended by data"][0])
    forms = []
    for name in ("first", "second"):
        made.graph.node[-1].name = name
        graph = import_model(saved(made, tmp_path)).graph
        bound = graph.bound_to({symbol: 5 if symbol == "length" else 2 for symbol in graph.symbols})
        forms.append(graph_to_json(bound))
    assert forms[0] == forms[1]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ((node("Unsqueeze", "a zero", "a2"), node("ReduceSum", "a", "s", keepdims=0)), "changes its rank"),
    ],
)
def test_what_has_no_meaning_here_is_named(
    step: Sequence[onnx.NodeProto], reason: str, tmp_path: Path
) -> None:
    made = _network((*step, *FOREVER))
    del made.graph.output[:]
    made.graph.output.append(onnx.ValueInfoProto(name="y"))
    with pytest.raises(ModelError, match=f"Loop.*{reason}"):
        import_model(saved(made, tmp_path))
