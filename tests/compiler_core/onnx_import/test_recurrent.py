"""Recurrences, loops and scans equal onnxruntime, written out or not."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.compiler_core.onnx_import.against_onnxruntime import differences
from tests.onnx_models import Array, model, node, reals, saved, value
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.meaning import loops
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.meaning.loops import written_out
from tilewright.compiler_core.onnx_import.host_work import host_work
from tilewright.compiler_core.onnx_import.importer import import_model

HIDDEN, WIDTH, BATCH, STEPS = 5, 4, 2, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _recurrence(
    op_type: str, direction: str, steps: int | str, *, more: str = "", **attributes: Any
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    count, rows = (2 if direction == "bidirectional" else 1), GATES[op_type] * HIDDEN
    constants = {
        "w": 0.5 * reals(1, count, rows, WIDTH),
        "r": 0.5 * reals(2, count, rows, HIDDEN),
        "b": reals(3, count, 2 * rows),
        "p": reals(4, count, 3 * HIDDEN),
        "h": reals(5, count, BATCH, HIDDEN),
        "c": reals(6, count, BATCH, HIDDEN),
    }
    outputs = "y yh yc" if op_type == "LSTM" else "y yh"
    item = node(op_type, f"x w r b _ {more}", outputs, hidden_size=HIDDEN, direction=direction, **attributes)
    used = {key: array for key, array in constants.items() if key in item.input}
    made = model([item], [value("x", [steps, BATCH, WIDTH])], outputs.split(), used)
    return made, {"x": reals(7, STEPS, BATCH, WIDTH)}


CASES = [
    ("LSTM", "forward", "h c", {}),
    ("LSTM", "reverse", "", {}),
    ("LSTM", "bidirectional", "h c p", {}),
    ("LSTM", "forward", "h c p", {"clip": 0.5}),
    ("GRU", "forward", "h", {}),
    ("GRU", "reverse", "", {"linear_before_reset": 1}),
    ("GRU", "bidirectional", "h", {"linear_before_reset": 1}),
    ("RNN", "bidirectional", "h", {"activations": ["Relu", "Tanh"]}),
    (
        "LSTM",
        "forward",
        "h c",
        {
            "activations": ["HardSigmoid", "ScaledTanh", "Softsign"],
            "activation_alpha": [0.3, 1.2],
            "activation_beta": [0.4, 0.7],
        },
    ),
    ("RNN", "forward", "h", {"activations": ["LeakyRelu"], "activation_alpha": [0.2]}),
    (
        "GRU",
        "forward",
        "h",
        {"activations": ["Elu", "Affine"], "activation_alpha": [0.5, 0.8], "activation_beta": [0.1]},
    ),
    ("RNN", "forward", "h", {"activations": ["ThresholdedRelu"], "activation_alpha": [0.3]}),
]


@pytest.mark.parametrize("steps", [STEPS, "length"])
@pytest.mark.parametrize(("op_type", "direction", "more", "attributes"), CASES)
def test_recurrence(
    op_type: str, direction: str, more: str, attributes: dict[str, Any], steps: int | str, tmp_path: Path
) -> None:
    made, feeds = _recurrence(op_type, direction, steps, more=more, **attributes)
    path = saved(made, tmp_path)
    assert differences(path, made, feeds)[0].error <= 1e-5
    imported = import_model(path)
    assert not imported.host_ops
    kept = [op for op in imported.graph.ops if op.body is not None]
    assert bool(kept) == (steps == "length")
    bound = written_out(imported.graph.bound_to({"length": STEPS}))
    assert all(op.row.unit is not Unit.HOST for op in bound.ops)
    results = interpret(bound, {imported.inputs[0][1]: feeds["x"]})
    whole = interpret(imported.graph.bound_to({"length": STEPS}), {imported.inputs[0][1]: feeds["x"]})
    for _, output in imported.outputs:
        np.testing.assert_allclose(results[output], whole[output], rtol=1e-5, atol=1e-6)


def test_structured_steps_hold_every_product(tmp_path: Path) -> None:
    made, _ = _recurrence("LSTM", "forward", STEPS, more="h c")
    graph = import_model(saved(made, tmp_path)).graph
    # The first state is a constant here, and so is its product.
    assert graph.macs == BATCH * 4 * HIDDEN * (STEPS * WIDTH + (STEPS - 1) * HIDDEN)


def _loop(turns: int) -> onnx.ModelProto:
    """a = a * 2 + i, the partial results collected."""
    body = helper.make_graph(
        [
            node("Identity", "go", "go2"),
            node("Cast", "i", "f", to=1),
            node("Add", "a a", "d"),
            node("Add", "d f", "a2"),
            node("Neg", "a2", "s"),
        ],
        "body",
        [value("i", [], onnx.TensorProto.INT64), value("go", [], onnx.TensorProto.BOOL), value("a", [3])],
        [value("go2", [], onnx.TensorProto.BOOL), value("a2", [3]), value("s", [3])],
    )
    constants = {"n": np.array(turns), "t": np.array(True)}
    return model([node("Loop", "n t x", "y z", body=body)], [value("x", [3])], ["y", "z"], constants)


def test_loop_of_known_length_is_written_out(tmp_path: Path) -> None:
    made = _loop(5)
    path = saved(made, tmp_path)
    assert differences(path, made, {"x": reals(1, 3)})[0].error <= 1e-6
    assert not import_model(path).host_ops


def test_a_recurrence_above_the_limit_runs_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is listed with its multiply-accumulates of all steps."""
    monkeypatch.setattr(loops, "MOST_STEPS", STEPS - 1)
    monkeypatch.setattr(loops.written_out, "__defaults__", (STEPS - 1,))
    made, feeds = _recurrence("LSTM", "forward", STEPS, more="h c")
    path = saved(made, tmp_path)
    (op,) = import_model(path).host_ops
    assert (op.op_type, op.macs) == ("LSTM", STEPS * BATCH * 4 * HIDDEN * HIDDEN)
    (work,) = host_work(import_model(path).graph, [op])
    assert work.macs_share == pytest.approx(HIDDEN / (HIDDEN + WIDTH))
    assert 0 < work.bytes_share < 1
    assert differences(path, made, feeds)[0].error <= 1e-5


def _open_loop(condition: str) -> onnx.ModelProto:
    """a = 2 * a + i while `condition` says so; counted by the extent of n where it is "length"."""
    counted = condition == "length"
    test = [node("ReduceSum", "a2", "total", keepdims=0), node("Less", "total bound", "go2")]
    body = helper.make_graph(
        [
            node("Cast", "i", "f", to=1),
            node("Add", "a a", "d"),
            node("Add", "d f", "a2"),
            *([node("Neg", "a2", "s"), node("Identity", "go", "go2")] if counted else test),
        ],
        "body",
        [value("i", [], onnx.TensorProto.INT64), value("go", [], onnx.TensorProto.BOOL), value("a", [3])],
        [value("go2", [], onnx.TensorProto.BOOL), value("a2", [3]), *[value("s", [3])] * counted],
    )
    inputs = [value("x", [3]), value("n", ["length"])]
    constants = {"t": np.array(True), "bound": np.array(60.0, np.float32), "zero": np.array([0])}
    nodes = [node("Shape", "n", "shape"), node("Squeeze", "shape zero", "count")]
    if condition == "data":
        nodes = [node("ReduceSum", "n", "sum", keepdims=0), node("Cast", "sum", "count", to=7)]
    nodes.append(node("Loop", "count t x", "y z" if counted else "y", body=body))
    return model(nodes, inputs, ["y", "z"] if counted else ["y"], constants)


@pytest.mark.parametrize(("condition", "kind"), [("length", None), ("limit", "Loop"), ("data", "Loop")])
def test_loops_that_symbols_or_data_end(condition: str, kind: str | None, tmp_path: Path) -> None:
    """Counted by a symbol: structured. Ended by data: on the host, and listed."""
    made = _open_loop(condition)
    path = saved(made, tmp_path)
    feeds = {"x": np.abs(reals(1, 3)), "n": np.ones(5, np.float32)}
    assert differences(path, made, feeds)[0].error <= 1e-6
    assert [op.op_type for op in import_model(path).host_ops] == [kind] * (kind is not None)


@pytest.mark.parametrize("length", [4, "length"])
@pytest.mark.parametrize("directions", [(0, 0), (1, 1)])
def test_scan(directions: tuple[int, int], length: int | str, tmp_path: Path) -> None:
    """s = s + x * s, the partial results collected along another dim, read and written either way."""
    body = helper.make_graph(
        [node("Mul", "s x", "p"), node("Add", "s p", "s2"), node("Neg", "s2", "o")],
        "body",
        [value("s", [3]), value("x", [3])],
        [value("s2", [3]), value("o", [3])],
    )
    item = node(
        "Scan", "s0 xs", "last all", body=body, num_scan_inputs=1, scan_input_axes=[1],
        scan_input_directions=[directions[0]], scan_output_axes=[1], scan_output_directions=[directions[1]],
    )  # fmt: skip
    made = model([item], [value("s0", [3]), value("xs", [3, length])], ["last", "all"])
    path = saved(made, tmp_path)
    assert differences(path, made, {"s0": reals(1, 3), "xs": reals(2, 3, 4)})[0].error <= 1e-6
    assert not import_model(path).host_ops


def test_an_if_between_different_shapes_runs_on_the_host(tmp_path: Path) -> None:
    branches = {
        "then_branch": helper.make_graph([node("Neg", "x", "r")], "t", [], [value("r", [3])]),
        "else_branch": helper.make_graph([node("Concat", "x x", "r", axis=0)], "e", [], [value("r", [6])]),
    }
    inputs = [value("x", [3]), value("c", [], onnx.TensorProto.BOOL)]
    made = model([node("If", "c", "y", **branches)], inputs, ["y"])
    path = saved(made, tmp_path)
    imported = import_model(path)
    assert [op.op_type for op in imported.host_ops] == ["If"]
    (name,) = imported.graph.symbols
    for taken, extent in ((True, 3), (False, 6)):
        feeds = {"x": reals(1, 3), "c": np.array(taken)}
        graph = imported.graph.bound_to({name: extent})
        got = interpret(graph, {value: feeds[name] for name, value in imported.inputs})
        wanted = -feeds["x"] if taken else np.concatenate([feeds["x"]] * 2)
        np.testing.assert_array_equal(got[imported.outputs[0][1]], wanted)


@pytest.mark.parametrize("condition", [True, False, None])
def test_if(condition: bool | None, tmp_path: Path) -> None:
    """A constant condition takes one branch, one from data computes both and selects."""
    branches = {
        f"{name}_branch": helper.make_graph([node(kind, "x", "r")], name, [], [onnx.ValueInfoProto(name="r")])
        for name, kind in (("then", "Neg"), ("else", "Abs"))
    }
    inputs = [value("x", [3])]
    constants: dict[str, Array] = {}
    if condition is None:
        inputs.append(value("c", [], onnx.TensorProto.BOOL))
    else:
        constants["c"] = np.array(condition)
    made = model([node("If", "c", "y", **branches)], inputs, ["y"], constants)
    for info in (made.graph.output[0], *(b.output[0] for b in branches.values())):
        info.CopyFrom(value(info.name, [3]))
    feeds = {"x": reals(1, 3)} | ({"c": np.array(False)} if condition is None else {})
    path = saved(made, tmp_path)
    assert differences(path, made, feeds)[0].error == 0
    kinds = {op.kind for op in import_model(path).graph.ops}
    assert kinds == {True: {"neg"}, False: {"abs"}, None: {"neg", "abs", "where"}}[condition]
