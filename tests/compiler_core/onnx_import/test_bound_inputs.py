"""Values given to inputs: branches that differ in rank, lengths, and what is said of others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import parser

from tests.onnx_models import saved
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model

RATES = """<ir_version: 8, opset_import: ["": 17]>
main (float[1, n] wave, int64 rate) => (float[a, b] y)
<int64 high = {16000}, int64[1] zero = {0}, int64[2] wide = {1, -1}, int64[2] tall = {-1, 4}> {
  fast = Equal (rate, high)
  y = If (fast) <
    then_branch = then () => (float[p, q] u) { u = Reshape (wave, wide) },
    else_branch = otherwise () => (float[s, t, v] w) { r = Reshape (wave, tall)
 w = Unsqueeze (r, zero) }>
}"""
WHILE = """<ir_version: 8, opset_import: ["": 17]>
main (float[4] x, int64 turns) => (float[4] y) <bool go = {1}, int64 one = {1}> {
  y, left = Loop (, go, x, turns) <body = turn (int64 i, bool c, float[4] v, int64 rest) =>
      (bool c2, float[4] v2, int64 rest2) <int64 zero = {0}> {
    rest2 = Sub (rest, one)
    v2 = Add (v, v)
    c2 = Greater (rest2, zero)
  }>
}"""


def _imported(text: str, folder: Path, dims: dict[str, int] | None = None, **inputs: Any) -> ImportedModel:
    return import_model(saved(parser.parse_model(text), folder), dims, inputs)


@pytest.mark.parametrize(("rate", "shape"), [(16000, (1, 8)), (8000, (1, 2, 4))])
def test_a_value_decides_between_branches(rate: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    imported = _imported(RATES, tmp_path, {"n": 8}, rate=rate)
    assert imported.graph.shape(imported.outputs[0][1]) == shape
    assert [name for name, _ in imported.inputs] == ["wave"]
    np.testing.assert_array_equal(imported.given["rate"], np.int64(rate))


def test_without_the_value_the_message_says_what_to_bind(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError,
        match=r"differ in rank or type.*bind the inputs that it depends on with --input rate=VALUE",
    ):
        _imported(RATES, tmp_path, {"n": 8})


def test_lists_tell_extents_too_and_a_number_fills_its_input(tmp_path: Path) -> None:
    told = _imported(RATES, tmp_path, wave=[[1.0, 2.0, 3.0, 4.0]], rate=16000)
    assert not told.graph.symbols
    filled = _imported(RATES, tmp_path, {"n": 3}, wave=0.5, rate=16000)
    np.testing.assert_array_equal(filled.given["wave"], np.full((1, 3), 0.5, np.float32))


def test_a_while_loop_that_a_value_ends_is_written_out(tmp_path: Path) -> None:
    imported = _imported(WHILE, tmp_path, turns=3)
    assert [op.kind for op in imported.graph.ops] == ["add"] * 3
    assert _imported(WHILE, tmp_path).graph.symbols or _imported(WHILE, tmp_path).host_ops


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"rat": 1}, r"no input called 'rat'; it has rate, wave"),
        ({"rate": 1.5}, "takes whole numbers from"),
        ({"rate": [[1], [2, 3]]}, "lists of equal length"),
        ({"rate": "fast"}, "not a number"),
        ({"rate": 1 << 70}, "takes whole numbers|not a number"),
        ({"wave": [1.0, 2.0]}, "takes rank 2, got rank 1"),
        ({"wave": [[1.0], [2.0]]}, "dim 0 of input 'wave' is 1, the value has 2"),
        ({"wave": [[1.0, 2.0]]}, "dim 1 of input 'wave' is 8, the value has 2"),
        ({"rate": None}, "is not optional"),
    ],
)
def test_values_that_do_not_fit_are_explained(inputs: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=reason):
        _imported(RATES, tmp_path, {"n": 8}, **inputs)
