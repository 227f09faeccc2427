"""Networks as imported against their files, in float64: right ones pass, planted errors do not."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from tests.onnx_models import Array, model, node, reals, saved, small_cnn, value
from tilewright.compiler_core.checking import judge_model as judging
from tilewright.compiler_core.checking.judge_model import judge_model
from tilewright.compiler_core.ir.graph import Form, Graph, Op
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model
from tilewright.compiler_core.onnx_import.reference import ReferenceValue, reference_walk
from tilewright.compiler_core.transforms.rewrites import Split


def _cnn(folder: Path) -> tuple[ImportedModel, dict[str, Array]]:
    return import_model(saved(small_cnn(), folder)), {"x": reals(11, 1, 3, 12, 12)}


def _off_by(share: float, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Another reference: value number `at` that it tells is off by a share."""

    def off(*asked: Any) -> Iterator[ReferenceValue]:
        for number, reported in enumerate(reference_walk(*asked)):
            yield replace(reported, array=reported.array * (1 + share)) if number == at else reported

    monkeypatch.setattr(judging, "reference_walk", off)


def test_every_named_value_of_a_network_is_told(tmp_path: Path) -> None:
    made, feeds = _cnn(tmp_path)
    found = judge_model(made, feeds)
    assert found.wrong is None
    assert not found.untold
    assert {made.graph.name_of(each.value) for each in found.meant} == {"n", "r", "c", "s", "p", "q", "y"}


@pytest.mark.parametrize("at", range(7))
def test_a_value_that_means_something_else_is_named(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred-thousandth is seen at any of them, and only there and where it goes in."""
    made, feeds = _cnn(tmp_path)
    _off_by(1e-4, monkeypatch, at)
    found = judge_model(made, feeds)
    assert not found.meant[at].judgement.ok
    assert all(each.judgement.ok for each in found.meant[:at])


def test_a_value_under_two_names_is_told_twice(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "a"), node("Identity", "a", "b"), node("Neg", "b", "y")]
    made = import_model(saved(model(nodes, [value("x", [2, 3])], ["y", "b"]), tmp_path))
    assert judge_model(made, {"x": reals(1, 2, 3)}).wrong is None


def test_what_nobody_else_runs_is_said(tmp_path: Path) -> None:
    """A domain of its own that the importer inlines, and a reference that has lost the function."""
    made, feeds = _cnn(tmp_path)
    broken = model([node("Relu", "x", "a"), node("Unheard", "a", "y")], [value("x", [1, 3, 12, 12])], ["y"])
    path = saved(broken, tmp_path, "broken.onnx")
    found = judge_model(replace(made, path=path), feeds)
    assert "no reference runs Unheard of 'y'" in found.untold


def test_another_form_of_an_op_is_judged_beside_the_op(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [node("MatMul", "x w", "y")]
    made = import_model(saved(model(nodes, [value("x", [4, 64])], ["y"], {"w": reals(2, 64, 8)}), tmp_path))
    feeds, split = {"x": reals(3, 4, 64)}, {0: Split(2, 4)}
    found = judge_model(made, feeds, split)
    assert len(found.meant) == 2
    assert found.wrong is None
    honest = Split.form

    def lossy(self: Split, graph: Graph, op: Op, first: int) -> Form:
        """Of the parts the last is left out."""
        types, ops = honest(self, graph, op, first)
        last = ops[-1]
        return types, (*ops[:-1], replace(last, domain=(*last.domain[:-1], self.parts - 1)))

    monkeypatch.setattr(Split, "form", lossy)
    assert [each.judgement.ok for each in judge_model(made, feeds, split).meant] == [False, True]


def test_a_reference_that_crashes_costs_the_rest_of_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The values before it are compared, other forms of ops too, and a line says where it ended."""
    made, feeds = _cnn(tmp_path)
    whole = judge_model(made, feeds)

    def crashing(*asked: Any) -> Iterator[ReferenceValue]:
        for number, told in enumerate(reference_walk(*asked)):
            if number == 3:
                os.abort()
            yield told

    monkeypatch.setattr(judging, "reference_walk", crashing)
    found = judge_model(made, feeds)
    assert found.meant == whole.meant[:3]
    assert re.fullmatch(r"the outside reference crashed \(SIGABRT\) at \w+ of '\w+'", found.untold)


def test_other_forms_are_judged_without_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [node("MatMul", "x w", "y")]
    made = import_model(saved(model(nodes, [value("x", [4, 64])], ["y"], {"w": reals(2, 64, 8)}), tmp_path))

    def crashing(*asked: Any) -> Iterator[ReferenceValue]:
        os.abort()
        yield  # it is a generator

    monkeypatch.setattr(judging, "reference_walk", crashing)
    (form,) = judge_model(made, {"x": reals(3, 4, 64)}, {0: Split(2, 4)}).meant
    assert form.of_form
    assert form.judgement.ok


def test_steps_of_no_size_saturate(tmp_path: Path) -> None:
    """What comes of an infinity as an integer is left open by numpy, and so by the standard's evaluator."""
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
    constants: dict[str, Array] = {"s": np.array(0.0, np.float32), "z": np.array(0, np.int8)}
    made = import_model(saved(model(nodes, [value("x", [2, 3])], ["y", "q"], constants), tmp_path))
    found = judge_model(made, {"x": np.array([[1, -1, 2], [-2, 3, -3]], np.float32)})
    assert found.wrong is None
    assert len(found.meant) == 2


@pytest.mark.parametrize(
    ("op", "extra"), [("Gelu", ""), ("Erf", ""), ("LayerNormalization", " g"), ("MatMul", " w")]
)
def test_networks_of_float64_are_no_worse_than_their_reference(op: str, extra: str, tmp_path: Path) -> None:
    """Both are rounded alike then; and the evaluator's Erf, as it comes, is one of float32."""
    rng = np.random.default_rng(3)
    constants = {"g": np.ones(96), "w": rng.standard_normal((96, 40))}
    kept = {name: constants[name] for name in extra.split()}
    made = model([node(op, "x" + extra, "y")], [value("x", [24, 96], TensorProto.DOUBLE)], ["y"], kept, 20)
    imported = import_model(saved(made, tmp_path))
    found = judge_model(imported, {"x": rng.standard_normal((24, 96))})
    assert found.wrong is None
    assert [each.judgement.caught < 1e-13 for each in found.meant] == [True]


@pytest.mark.parametrize("name", ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"])
def test_short_floats_are_told_by_value(name: str, tmp_path: Path) -> None:
    """onnxruntime gives their bits; the cast back reads the same numbers."""
    to = TensorProto.DataType.Value(name)
    nodes = [node("Cast", "x", "short", to=to), node("Cast", "short", "y", to=TensorProto.FLOAT)]
    imported = import_model(saved(model(nodes, [value("x", [4, 8])], ["y"]), tmp_path))
    judged = judge_model(imported, {"x": reals(0, 4, 8)})
    assert len(judged.meant) == 2
    assert judged.wrong is None


@pytest.mark.parametrize(
    ("rule", "scales"),
    [
        ("half_pixel", [1, 1, 0.3, 0.7]),
        pytest.param("align_corners", [1, 1, 0.3, 0.7], id="spread over 9.6 or over 9 rows"),
    ],
)
def test_an_antialiased_cubic_is_no_worse_than_its_references(
    rule: str, scales: list[float], tmp_path: Path
) -> None:
    """The evaluator's own weights are of float32; and onnxruntime spreads align_corners over whole rows."""
    cubic: dict[str, Any] = {"mode": "cubic", "antialias": 1, "coordinate_transformation_mode": rule}
    made = model(
        [node("Resize", "x _ s", "y", **cubic)],
        [value("x", [1, 2, 32, 32])],
        ["y"],
        {"s": np.array(scales, np.float32)},
        19,
    )
    found = judge_model(import_model(saved(made, tmp_path)), {"x": reals(0, 1, 2, 32, 32)})
    assert [each.judgement.share < 0.5 for each in found.meant] == [True]


_NAN = (node("Sqrt", "x", "a"),)
_ORDERS = {
    "ArgMax": (*_NAN, node("ArgMax", "a", "y", axis=1)),
    "ReduceMin": (*_NAN, node("ReduceMin", "a", "y", axes=[1])),
    "TopK": (*_NAN, node("TopK", "a k", "v y", axis=1)),
    "LogSoftmax": (*_NAN, node("LogSoftmax", "a", "y", axis=1)),
    "MaxPool": (*_NAN, node("Unsqueeze", "a", "b", axes=[0]), node("MaxPool", "b", "y", kernel_shape=[2])),
}
_OVERFLOWS = {
    "MatMul": (node("Add", "x large", "a"), node("MatMul", "a w", "y")),
    "ReduceProd": (node("Add", "x large", "a"), node("ReduceProd", "a", "y", axes=[1])),
    "ReduceSumSquare": (node("Add", "x large", "a"), node("ReduceSumSquare", "a", "y", axes=[1])),
}


@pytest.mark.parametrize("nodes", _ORDERS.values(), ids=_ORDERS)
def test_nan_in_an_order_is_left_open(nodes: tuple[Any, ...], tmp_path: Path) -> None:
    """onnxruntime passes over NaN or not, by the operator and its place; the standard says nothing."""
    made = model([*nodes], [value("x", [4, 16])], ["y"], {"k": np.array([3])}, 11)
    found = judge_model(import_model(saved(made, tmp_path)), {"x": reals(0, 4, 16)})
    assert found.wrong is None
    assert found.left_open > 0


@pytest.mark.parametrize("nodes", _OVERFLOWS.values(), ids=_OVERFLOWS)
def test_integers_beyond_their_type_are_left_open(nodes: tuple[Any, ...], tmp_path: Path) -> None:
    """onnxruntime stops at the largest integer in some operators, and wraps around in others."""
    constants: dict[str, Array] = {
        "large": np.array(100000, np.int32),
        "w": np.full((16, 8), 100000, np.int32),
    }
    made = model([*nodes], [value("x", [4, 16], TensorProto.INT32)], ["y"], constants, 11)
    feeds = {"x": np.arange(64, dtype=np.int32).reshape(4, 16)}
    found = judge_model(import_model(saved(made, tmp_path)), feeds)
    assert found.wrong is None
    assert found.left_open == 1


def test_beside_and_behind_what_is_left_open_faults_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only rows with NaN are open, and what reads the file's own values behind them is judged again."""
    nodes = [node("Sqrt", "x", "a"), node("ReduceMax", "a", "m", axes=[1]), node("Mul", "m m", "y")]
    path = saved(model(nodes, [value("x", [4, 16])], ["y", "m"], {}, 11), tmp_path)
    made, x = import_model(path), np.abs(reals(0, 4, 16))
    x[2, 3] = -1
    whole = judge_model(made, {"x": x})
    assert whole.wrong is None
    assert [each.left_open for each in whole.meant] == [0, 1, 0]
    for at in (1, 2):
        _off_by(1e-4, monkeypatch, at)
        assert not judge_model(made, {"x": x}).meant[at].judgement.ok
        monkeypatch.undo()
