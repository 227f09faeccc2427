"""Recurrences equal onnxruntime, written out for known lengths and on the host for symbolic ones; loops."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from compiler_core.onnx_import.importer import import_model
from tests.compiler_core.onnx_import.against_onnxruntime import differences
from tests.onnx_models import Array, model, node, reals, saved, value

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
]


@pytest.mark.parametrize("steps", [STEPS, "length"])
@pytest.mark.parametrize(("op_type", "direction", "more", "attributes"), CASES)
def test_recurrence(
    op_type: str, direction: str, more: str, attributes: dict[str, Any], steps: int | str, tmp_path: Path
) -> None:
    made, feeds = _recurrence(op_type, direction, steps, more=more, **attributes)
    path = saved(made, tmp_path)
    assert differences(path, made, feeds)[0].error <= 1e-5
    assert bool(import_model(path).host_ops) == (steps == "length")


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
