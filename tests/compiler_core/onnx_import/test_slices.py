"""Slices of every start, end and step have onnxruntime's extents, on empty axes too."""

from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.onnx_import.importer import import_model

PLACES = (-(2**40), -3, -1, 0, 2, 2**40)
STEPS = (-2, -1, 1, 3)


@pytest.mark.parametrize("extent", [0, 1, 3])
def test_extents_are_those_of_onnxruntime(extent: int, tmp_path: Path) -> None:
    cases = list(product(PLACES, PLACES, STEPS))
    constants = {"axis": np.array([1])}
    nodes = []
    for number, (start, end, step) in enumerate(cases):
        constants |= {
            f"start{number}": np.array([start]),
            f"end{number}": np.array([end]),
            f"step{number}": np.array([step]),
        }
        nodes.append(node("Slice", f"x start{number} end{number} axis step{number}", f"y{number}"))
    outputs = [f"y{number}" for number in range(len(cases))]
    path = saved(model(nodes, [value("x", [2, "n"])], outputs, constants), tmp_path)
    expected = onnxruntime.InferenceSession(path).run(None, {"x": np.zeros((2, extent), np.float32)})
    graph = import_model(path, {"n": extent}).graph
    for case, output, array in zip(cases, graph.outputs, expected, strict=True):
        assert graph.shape(output) == array.shape, case
