"""Sizes of zero: every verb takes a network of which a dim is empty."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.onnx_models import Array, model, node, reals, saved, value
from tilewright.api.cli.main import main

WEIGHTS: dict[str, Array] = {"w": reals(1, 8, 4), "k": reals(2, 4, 3, 3, 3), "axis": np.array([1])}
NETWORKS: dict[str, tuple[list[onnx.NodeProto], dict[str, list[int | str]]]] = {
    "rows of a product": ([node("MatMul", "x w", "y")], {"x": ["n", 8]}),
    "depth of a product": ([node("MatMul", "x z", "y")], {"x": [3, "n"], "z": ["n", 5]}),
    "mean of nothing": ([node("ReduceMean", "x axis", "y")], {"x": [4, "n"]}),
    "batch of images": (
        [
            node("Conv", "x k", "c", pads=[1, 1, 1, 1]),
            node("Relu", "c", "r"),
            node("MaxPool", "r", "y", kernel_shape=[2, 2]),
        ],
        {"x": ["n", 3, 8, 8]},
    ),
    "an empty cache": (
        [
            node("Concat", "past x", "cache", axis=0),
            node("Transpose", "cache", "t", perm=[1, 0]),
            node("MatMul", "x t", "s"),
            node("Softmax", "s", "p"),
            node("MatMul", "p cache", "y"),
        ],
        {"past": ["n", 8], "x": [2, 8]},
    ),
}


def _model(name: str) -> onnx.ModelProto:
    nodes, inputs = NETWORKS[name]
    read = {each for item in nodes for each in item.input}
    constants = {each: array for each, array in WEIGHTS.items() if each in read}
    return model(nodes, [value(each, shape) for each, shape in inputs.items()], ["y"], constants)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_verb_takes_an_empty_dim(name: str, tmp_path: Path) -> None:
    path = str(saved(_model(name), tmp_path))
    asked = [path, "--target", "ascend310", "--dim", "n=0"]
    database = ["--db", str(tmp_path / "zero.db")]
    assert main(["run", *asked, *database, "--ray", "none", "--trials", "4"]) == 0
    assert main(["lookup", *asked, *database]) == 0
    assert main(["compile", *asked, *database, "-o", str(tmp_path / "program.json")]) == 0
    assert main(["verify", *asked, *database]) == 0
    assert main(["plan", *asked]) == 0
    assert main(["profile", *asked, *database, "-o", str(tmp_path / "trace.json")]) == 0
    assert main(["report", *asked, *database, "-o", str(tmp_path / "report.html")]) == 0


@pytest.mark.parametrize("operator", ["Dropout", "Identity"])
def test_a_network_that_runs_nothing_is_verified(operator: str, tmp_path: Path) -> None:
    """Every output is an input or a constant: no kernel lacks a measurement, and no value a check."""
    path = str(saved(model([node(operator, "x", "y")], [value("x", [2, 3])], ["y"]), tmp_path))
    asked = [path, "--target", "ascend310", "--db", str(tmp_path / "none.db")]
    assert main(["run", *asked, "--ray", "none", "--trials", "4"]) == 0
    assert main(["compile", *asked, "--require", "verified", "-o", str(tmp_path / "program.json")]) == 0
    assert main(["verify", *asked]) == 0
