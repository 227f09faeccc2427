"""Outputs that a file declares otherwise than its nodes make them: shapes are warned of, types refused."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.importer import import_model


def _declared(
    folder: Path, shape: Sequence[int | str] | None, kind: int = TensorProto.FLOAT, extent: int | str = 4
) -> Path:
    made = model([node("Relu", "x", "y")], [value("x", [extent, 16])], ["y"])
    made.graph.output[0].CopyFrom(value("y", shape, kind))
    return saved(made, folder)


@pytest.mark.parametrize("shape", [None, [4, 16], ["n", 16], ["n", "m"]])
def test_what_fits_is_not_warned_of(shape: Sequence[int | str] | None, tmp_path: Path) -> None:
    assert import_model(_declared(tmp_path, shape)).misdeclared == ()
    assert import_model(_declared(tmp_path, shape, extent="n")).misdeclared == ()


@pytest.mark.parametrize(
    ("shape", "shown"), [([3, 16], "3, 16"), (["n", 16, 1], "?, 16, 1"), ([], ""), ([4, 17], "4, 17")]
)
def test_another_shape_is_warned_of(shape: Sequence[int | str], shown: str, tmp_path: Path) -> None:
    (line,) = import_model(_declared(tmp_path, shape)).misdeclared
    assert line == f"graph output 'y' is declared [{shown}], its nodes make [4, 16]"


def test_a_bound_dim_that_a_file_declares_otherwise_is_warned_of(tmp_path: Path) -> None:
    (line,) = import_model(_declared(tmp_path, [1, 16], extent="n"), {"n": 8}).misdeclared
    assert "declared [1, 16], its nodes make [8, 16]" in line


def test_another_element_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"graph output 'y' is declared i64, its nodes make f32"):
        import_model(_declared(tmp_path, [4, 16], TensorProto.INT64))


def test_a_model_without_outputs_is_warned_of(tmp_path: Path) -> None:
    made = onnx.load(_declared(tmp_path, [4, 16]))
    del made.graph.output[:]
    (line,) = import_model(saved(made, tmp_path, "none.onnx")).misdeclared
    assert line == "the model has no outputs, so nothing runs"
