"""Networks that leave little or nothing to do are answered by every verb, never with a traceback."""

import resource
import sqlite3
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


LONG = 1 << 33
SHAPED = [value("x", [1, 3, LONG])]
LONG_AXES = {
    "elementwise": model([node("Relu", "x", "y")], [value("x", [LONG])], ["y"]),
    "a sum of all": model([node("ReduceSum", "x", "y", keepdims=0)], [value("x", [LONG])], ["y"]),
    "a concat": model([node("Concat", "x x", "y", axis=0)], [value("x", [LONG])], ["y"]),
    "a window": model([node("MaxPool", "x", "y", kernel_shape=[3], strides=[2])], SHAPED, ["y"]),
    "a long window": model(
        [node("MaxPool", "x", "y", kernel_shape=[2**31 - 1], pads=[0, 2**31 - 2])],
        [value("x", [1, 3, 64])],
        ["y"],
    ),
    "a view of two": model([node("Flatten", "x", "y", axis=0)], [value("x", [1 << 16, 1 << 17])], ["y"]),
}


@pytest.mark.parametrize("kind", LONG_AXES)
def test_long_axes_are_planned_in_bounded_memory_and_refused_before_a_check(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, database = str(saved(LONG_AXES[kind], tmp_path)), str(tmp_path / "tuning.db")
    asked = ["run", path, "--target", "ascend910", "--db", database, "--ray", "none"]
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, limits[1]))
    try:
        assert main([*asked, "-O0"]) == 0
        assert main([*asked, "--trials", "2"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert "bind smaller sizes" in capsys.readouterr().err
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        assert list(connection.execute("select count(*) from run")) == [(0,)]
