"""Networks that leave little or nothing to do are answered by every verb, never with a traceback."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.onnx_models import model, node, saved, value
from tilewright.api.cli.main import main

FLOAT = onnx.TensorProto.FLOAT
ODD = {
    "no op at all": model([], [value("x", [4, 8])], ["x"]),
    "an op that does nothing": model([node("Identity", "x", "y")], [value("x", [4, 8])], ["y"]),
    "a constant": model([node("Relu", "w", "y")], [], ["y"], {"w": np.ones(3, np.float32)}),
    "a shape": model([node("Shape", "x", "y")], [value("x", [4, 8])], ["y"]),
    "no output": model([node("Relu", "x", "y")], [value("x", [4, 8])], []),
    "one point": model([node("Relu", "x", "y")], [value("x", [])], ["y"]),
    "on the host alone": model(
        [node("TopK", "x k", "v i")], [value("x", [4, 8])], ["v", "i"], {"k": np.array([2])}
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_every_verb_has_an_answer(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(saved(ODD[kind], tmp_path))
    asked = ["--target", "ascend310"]
    kept = [*asked, "--db", str(tmp_path / "tuning.db")]
    search = ["--trials", "2", "--ray", "none", "--json", "-"]
    assert main(["run", path, *kept, *search]) == 0
    assert '"speedup": 1.0' in capsys.readouterr().out
    for verb, options in {
        "run": ["-O0"],
        "lookup": [],
        "compile": ["-o", str(tmp_path / "program.json")],
        "verify": [],
        "profile": ["-o", str(tmp_path / "trace.json")],
        "report": ["-o", str(tmp_path / "report.html")],
    }.items():
        assert main([verb, path, *kept, *options]) == 0, f"{verb}: {capsys.readouterr().err}"
    assert main(["plan", path, *asked]) == 0


@pytest.mark.parametrize("exponent", [31, 33])
@pytest.mark.parametrize("op_type", ["Relu", "ReduceMax"])
def test_long_axes_are_planned_in_bounded_memory(exponent: int, op_type: str, tmp_path: Path) -> None:
    path = str(saved(model([node(op_type, "x", "y")], [value("x", [1 << exponent])], ["y"]), tmp_path))
    assert main(["run", path, "--target", "ascend910", "-O0", "--db", str(tmp_path / "tuning.db")]) == 0
