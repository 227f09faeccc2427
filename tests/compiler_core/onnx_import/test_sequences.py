"""Sequences and optionals whose structure is known are slices and concats, and equal onnxruntime's."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from tests.compiler_core.onnx_import.against_onnxruntime import differences
from tests.onnx_models import reals, saved
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.onnx_import.importer import import_model

HEAD = '<ir_version: 8, opset_import: ["": 17]>\n'

SPLIT_AND_PICK = """main (float[4, 7] x) => (float[a, b] y)
<int64 two = {2}, int64[3] sizes = {1, 4, 2}, int64 last = {-1}> {
  s = SplitToSequence <axis = 1> (x, two)
  t = SplitToSequence <axis = 1> (x, sizes)
  u = SequenceErase (s, last)
  v = SequenceAt (t, two)
  w = SequenceInsert (u, v, last)
  n = SequenceLength (w)
  m = Cast <to = 1> (n)
  joined = ConcatFromSequence <axis = 1> (w)
  y = Add (joined, m)
}"""
ROWS_OF_A_SYMBOL = """main (float[n, 5] x) => (float[a, b] y) {
  s = SplitToSequence <axis = 0, keepdims = 0> (x)
  z = ConcatFromSequence <axis = 1, new_axis = 1> (s)
  k = SequenceLength (s)
  f = Cast <to = 1> (k)
  y = Mul (z, f)
}"""
THROUGH_A_LOOP = """main (float[3, 4] x) => (float[a, b] y, float[c, d] z)
<int64[1] zero = {0}, int64 trips = {3}, bool go = {1}> {
  empty = SequenceEmpty <dtype = 1> ()
  s, z = Loop (trips, go, empty)
  <body = turn (int64 i, bool c, seq(float[1, 4]) before) => (bool c2, seq(float[1, 4]) after, float[4] sum) {
    c2 = Identity (c)
    row = Gather <axis = 0> (x, i)
    f = Cast <to = 1> (i)
    one = Unsqueeze (row, zero)
    scaled = Mul (one, f)
    after = SequenceInsert (before, scaled)
    sum = Add (row, f)
  }>
  y = ConcatFromSequence <axis = 0> (s)
}"""
A_LOOP_OF_A_SYMBOL = """main (float[n, 4] x) => (float[a, b] y, float[d] picked)
<int64[1] zero = {0}, bool go = {1}, int64 last = {-1}> {
  shape = Shape (x)
  rows = Gather <axis = 0> (shape, zero)
  trips = Squeeze (rows)
  empty = SequenceEmpty <dtype = 1> ()
  s = Loop (trips, go, empty)
  <body = turn (int64 i, bool c, seq(float[4]) before) => (bool c2, seq(float[4]) after) {
    c2 = Identity (c)
    row = Gather <axis = 0> (x, i)
    squared = Mul (row, row)
    after = SequenceInsert (before, squared)
  }>
  y = ConcatFromSequence <axis = 0, new_axis = 1> (s)
  picked = SequenceAt (s, last)
}"""
A_CHOICE = """main (float[3, 4] x, bool flag) => (float[a, b] y) <int64 one = {1}> {
  s = If (flag) <
    then_branch = then () => (seq(float[1, 4]) p) { p = SplitToSequence <axis = 0> (x) },
    else_branch = otherwise () => (seq(float[1, 4]) q) { w = Neg (x)
 q = SplitToSequence <axis = 0> (w) }>
  y = SequenceAt (s, one)
}"""
A_MAP = """main (float[4, 6] x, float[2] w) => (float[a, b] y) <int64 two = {2}> {
  s = SplitToSequence <axis = 1> (x, two)
  t = SequenceMap (s, w) <body = each (float[4, 2] e, float[2] f) => (float[4, 2] g) { g = Mul (e, f) }>
  y = ConcatFromSequence <axis = 0> (t)
}"""
PICKED_BY_DATA = """main (float[4, 6] x, int64 at) => (float[a, b] y) <int64 two = {2}> {
  s = SplitToSequence <axis = 1> (x, two)
  y = SequenceAt (s, at)
}"""
AN_OPTIONAL = """main (float[4, 6] x) => (float[a, b] y) {
  o = Optional (x)
  has = OptionalHasElement (o)
  y = If (has) <then_branch = then () => (float[4, 6] p) { p = OptionalGetElement (o) },
                else_branch = otherwise () => (float[1] q) { q = Constant <value_floats = [1.0]> () }>
}"""


def _parsed(text: str) -> onnx.ModelProto:
    return parser.parse_model(HEAD + text)


@pytest.mark.parametrize(
    ("text", "feeds"),
    [
        (SPLIT_AND_PICK, {"x": reals(0, 4, 7)}),
        (ROWS_OF_A_SYMBOL, {"x": reals(1, 3, 5)}),
        (THROUGH_A_LOOP, {"x": reals(2, 3, 4)}),
        (A_LOOP_OF_A_SYMBOL, {"x": reals(3, 5, 4)}),
        (A_CHOICE, {"x": reals(4, 3, 4), "flag": np.array(False)}),
        (A_MAP, {"x": reals(5, 4, 6), "w": reals(6, 2)}),
        (PICKED_BY_DATA, {"x": reals(7, 4, 6), "at": np.array(2)}),
        (AN_OPTIONAL, {"x": reals(8, 4, 6)}),
    ],
)
def test_the_numbers_are_onnxruntimes(text: str, feeds: dict[str, np.ndarray], tmp_path: Path) -> None:
    made = _parsed(text)
    path = saved(made, tmp_path)
    assert max(found.error for found in differences(path, made, feeds)) <= 1e-6
    assert all(op.row.unit is not Unit.HOST or op.body is not None for op in import_model(path).graph.ops)


def test_an_input_that_is_a_sequence_has_as_many_elements_as_a_dim_says(tmp_path: Path) -> None:
    path = saved(
        _parsed("main (seq(float[n, 2]) s) => (float[a, b] y) { y = ConcatFromSequence <axis = 0> (s) }"),
        tmp_path,
    )
    with pytest.raises(ModelError, match="say how many elements it has with --dim s_length=NUMBER"):
        import_model(path)
    imported = import_model(path, {"s_length": 2, "n[0]": 3, "n[1]": 4})
    assert [name for name, _ in imported.inputs] == ["s[0]", "s[1]"]
    assert imported.graph.shape(imported.outputs[0][1]) == (7, 2)


def test_a_sequence_that_is_an_output_is_its_elements(tmp_path: Path) -> None:
    path = saved(
        _parsed("main (float[2, 5] x) => (seq(float[2, 1]) y) { y = SplitToSequence <axis = 1> (x) }"),
        tmp_path,
    )
    assert [name for name, _ in import_model(path).outputs] == [f"y[{index}]" for index in range(5)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            A_CHOICE.replace("axis = 0> (w)", "axis = 1> (w)"),
            r"sequences of different lengths.*bind the inputs that it depends on with --input flag=VALUE",
        ),
        (PICKED_BY_DATA.replace("two = {2}", "two = {4}"), "extents of dim 2 of a concat differ"),
    ],
)
def test_what_data_decide_is_named(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=reason):
        import_model(saved(_parsed(text), tmp_path))
