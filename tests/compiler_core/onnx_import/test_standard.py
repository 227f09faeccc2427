"""Operators without a builder of their own: by their function, or on the host by the standard's reference."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.compiler_core.onnx_import.against_onnxruntime import differences
from tests.onnx_models import model, node, reals, saved, value
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.importer import import_model


def test_a_loss_is_inlined_by_its_function(tmp_path: Path) -> None:
    inputs = [value("scores", ["batch", 5]), value("labels", ["batch"], onnx.TensorProto.INT64)]
    made = model([node("SoftmaxCrossEntropyLoss", "scores labels", "y")], inputs, ["y"], {})
    path = saved(made, tmp_path)
    assert not import_model(path).host_ops
    feeds = {"scores": reals(1, 4, 5), "labels": np.array([0, 3, 2, 4])}
    assert differences(path, made, feeds)[0].error <= 1e-5


def test_random_numbers_are_refused(tmp_path: Path) -> None:
    made = model([node("Bernoulli", "x", "y")], [value("x", [3])], ["y"], {})
    with pytest.raises(ModelError, match=r"\(Bernoulli\): this operator is not supported"):
        import_model(saved(made, tmp_path))


def test_grid_sample_by_its_names_before_opset_20(tmp_path: Path) -> None:
    """Whose modes were called otherwise."""
    inputs = [value("x", [1, 2, 5, 5]), value("grid", [1, 3, 3, 2])]
    made = model([node("GridSample", "x grid", "y", mode="bilinear")], inputs, ["y"], {})
    feeds = {"x": reals(1, 1, 2, 5, 5), "grid": np.tanh(reals(2, 1, 3, 3, 2))}
    assert differences(saved(made, tmp_path), made, feeds)[0].error <= 1e-5


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grid_sample_in_every_mode(tmp_path: Path, mode: str, padding: str) -> None:
    """A cubic reads padding element by element, as onnxruntime and PyTorch have it."""
    inputs = [value("x", [2, 3, 4, 5]), value("grid", [2, 6, 7, 2])]
    made = model(
        [node("GridSample", "x grid", "y", mode=mode, padding_mode=padding)], inputs, ["y"], {}, opset=20
    )
    feeds = {"x": reals(1, 2, 3, 4, 5), "grid": 1.7 * np.tanh(reals(2, 2, 6, 7, 2))}
    assert differences(saved(made, tmp_path), made, feeds)[0].error <= 1e-5


def test_a_grid_of_integers_is_refused(tmp_path: Path) -> None:
    inputs = [value("x", [1, 2, 5, 5]), value("grid", [1, 3, 3, 2], onnx.TensorProto.INT8)]
    made = model([node("GridSample", "x grid", "y")], inputs, ["y"], {})
    with pytest.raises(ModelError, match=r"\(GridSample\): the grid is i8, not a float"):
        import_model(saved(made, tmp_path))


def test_operands_of_types_that_an_operator_does_not_take_are_refused(tmp_path: Path) -> None:
    whole = onnx.TensorProto.INT64
    inputs = [value("x", [1, 2, 5, 5]), value("rois", [3, 4], whole), value("batch", [3], whole)]
    made = model([node("RoiAlign", "x rois batch", "y")], inputs, ["y"], {})
    with pytest.raises(ModelError, match=r"\(RoiAlign\): its operands do not fit: rois"):
        import_model(saved(made, tmp_path))
