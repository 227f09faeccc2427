"""Shape arithmetic over open extents gives the extents of onnxruntime at every size."""

from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime

from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.ir.dims import bind
from tilewright.compiler_core.onnx_import.importer import import_model

SIZES = (0, 1, 4, 8, 11)


def test_quotients_and_remainders_of_both_signs(tmp_path: Path) -> None:
    """(n - 8) / 3 + 9 and the like, as the extent of a result."""
    constants = {"nine": np.array([9])}
    nodes = [node("Shape", "x", "n")]
    for number, (less, divisor) in enumerate(product((0, 4, 8, 30), (2, -3))):
        constants |= {f"l{number}": np.array([less]), f"d{number}": np.array([divisor])}
        nodes += [
            node("Sub", f"n l{number}", f"s{number}"),
            node("Div", f"s{number} d{number}", f"q{number}"),
            node("Mod", f"s{number} d{number}", f"m{number}"),
            node("Mod", f"s{number} d{number}", f"f{number}", fmod=1),
            node("Concat", f"q{number} m{number} f{number}", f"c{number}", axis=0),
            node("Add", f"c{number} nine", f"t{number}"),
            node("Max", f"t{number} n0", f"e{number}"),
            node("ConstantOfShape", f"e{number}", f"y{number}"),
        ]
    constants["n0"] = np.array([0])
    outputs = [f"y{number}" for number in range(8)]
    path = saved(model(nodes, [value("x", ["n"])], outputs, constants), tmp_path)
    graph = import_model(path).graph
    session = onnxruntime.InferenceSession(path)
    for size in SIZES:
        arrays = session.run(None, {"x": np.zeros(size, np.float32)})
        made = [tuple(bind(e, {"n": size}) for e in graph.values[v].shape) for v in graph.outputs]
        assert made == [array.shape for array in arrays], size
