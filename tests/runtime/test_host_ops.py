"""Networks with ops that numpy runs between the parts of the code."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from tests.onnx_models import Array, model, node, reals, saved, value
from tests.runtime.conftest import Made, unsearched
from tilewright.compiler_core.library.manifest import manifest_text
from tilewright.runtime import LibraryError, load, steps
from tilewright.runtime.manifest import read_manifest
from tilewright.tuner.verbs import lookup


def hosted(made: Made, folder: Path, nodes: list[Any], inputs: list[Any], outputs: list[str]) -> Made:
    """A model's file, to be built into `folder`/made."""
    constants = {
        "w": reals(1, 6, 8),
        "k": np.array([3], dtype=np.int64),
        "at": np.array([[0], [2]], dtype=np.int64),
        "lines": reals(2, 2, 6),
    }
    used = {name for each in nodes for name in each.input}
    given = {name: array for name, array in constants.items() if name in used}
    file = saved(model(nodes, inputs, outputs, given), folder)
    return Made(file, made.target, made.database, folder / "made")


@pytest.fixture(scope="module")
def ranked(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Kernels, TopK with two results, kernels on them, ScatterND of an input, and outputs of each kind."""
    nodes = [
        node("MatMul", "x w", "m"),
        node("Relu", "m", "r"),
        node("TopK", "r k", "best place", axis=1),
        node("Mul", "best best", "squares"),
        node("Softmax", "squares", "y"),
        node("ScatterND", "x at lines", "s"),
        node("Add", "s s", "z"),
        node("Identity", "place", "again"),
    ]
    folder = tmp_path_factory.mktemp("ranked")
    own = hosted(made, folder, nodes, [value("x", [4, 6])], ["y", "place", "z", "s", "again"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "compile_known", unsearched)
        assert own.build() == 0
    return own


def x_of(seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((4, 6)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_they_run_between_the_parts_of_the_code(ranked: Made, threads: int) -> None:
    library, session = load(ranked.library, threads=threads), onnxruntime.InferenceSession(ranked.model)
    assert sorted(library.host_ops) == ["ScatterND", "TopK", "TopK"]
    for seed in (0, 1, 0):
        got, wanted = library.run({"x": x_of(seed)}), session.run(None, {"x": x_of(seed)})
        for array, other in zip(got.values(), wanted, strict=True):
            assert array.dtype == other.dtype
            np.testing.assert_allclose(array, other, rtol=1e-5, atol=1e-6)


def test_a_library_with_them_needs_numpy_alone(ranked: Made) -> None:
    program = f"""
import sys
import numpy as np
from tilewright.runtime import load
load({str(ranked.library)!r}).run({{"x": np.ones((4, 6), np.float32)}})
parts = {{name.partition(".")[0] for name in sys.modules}}
print(*parts & {{"onnx", "scipy", "llvmlite", "ml_dtypes", "xgboost"}})
print(*{{name.split(".")[1] for name in sys.modules if name.startswith("tilewright.")}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "runtime"]


def test_c_refuses_them_in_one_line(ranked: Made) -> None:
    header = (ranked.library / "tilewright_net.h").read_text()
    (line,) = [line for line in header.splitlines() if line.startswith("#error")]
    assert "TopK" in line
    assert "ScatterND" in line
    if shutil.which("gcc"):
        done = subprocess.run(
            ["gcc", "-c", "example.c", "-o", "/dev/null"],
            cwd=ranked.library,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert "tilewright.runtime runs this network" in done.stderr


@pytest.mark.usefixtures("by_default")
def test_the_verb_names_them(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [node("TopK", "x k", "best place"), node("Relu", "best", "y")]
    own = hosted(made, tmp_path, nodes, [value("x", [8])], ["y"])
    assert own.build("--json", "-") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["host_ops"] == ["TopK"]
    facts = json.loads((own.library / "manifest.json").read_text())
    assert facts["format"] == "tilewright library 3"
    (step,) = facts["host"]
    assert step["op"] == "top_k"
    assert step["operands"][0] == {"region": "inputs", "at": 0, "dtype": "float32", "shape": [8]}
    x = np.array([3, -1, 9, 2, 7, 7, 0, 1], np.float32)
    np.testing.assert_array_equal(load(own.library).run({"x": x})["y"], [9, 7, 7])


@pytest.mark.usefixtures("by_default")
def test_an_op_that_numpy_alone_does_not_run_is_named(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = hosted(made, tmp_path, [node("ReduceSum", "x axes", "y", keepdims=1)], [
        value("x", [4, 4]), value("axes", [1], TensorProto.INT64)
    ], ["y"])  # fmt: skip
    assert own.build() == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "neither machine code nor a meaning in numpy alone" in told
    assert "ReduceSum" in told


def test_a_list_that_lies_is_one_line(ranked: Made, tmp_path: Path) -> None:
    def changed(change: Callable[[Any], object]) -> str:
        facts = json.loads((ranked.library / "manifest.json").read_text())
        del facts["digest"]
        change(facts["host"])
        (tmp_path / "manifest.json").write_text(manifest_text(facts))
        for name in ("network.so", "weights.bin"):
            shutil.copy(ranked.library / name, tmp_path / name)
        with pytest.raises(LibraryError, match="was not made for"):
            load(tmp_path)
        with pytest.raises(LibraryError) as caught:
            steps.read_steps(read_manifest(tmp_path / "manifest.json"))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "'system' is no op that the runtime knows" in changed(lambda host: host[0].update(op="system"))
    assert "'op' is missing" in changed(lambda host: host[0].pop("op"))
    assert "dtype 'object'" in changed(lambda host: host[0]["result"].update(dtype="object"))
    assert "does not lie in 'arena'" in changed(
        lambda host: host[0].update(result={"region": "arena", "at": 1 << 40, "dtype": "int8", "shape": [1]})
    )
    assert "does not lie in 'arena'" in changed(
        lambda host: host[0].update(result={"region": "arena", "at": 0, "dtype": "int8", "shape": [1]})
    )
    assert "cannot lie in weights" in changed(
        lambda host: host[0].update(result={"region": "weights", "at": 0, "dtype": "int8", "shape": [1]})
    )
    assert "outputs have no" in changed(
        lambda host: host[0].update(result={"region": "outputs", "at": 99, "dtype": "int8", "shape": [1]})
    )
    assert "number -1" in changed(lambda host: host[0].update(after=-1))
    assert "it runs after 7 parts" in changed(lambda host: host[0].update(after=7))
    assert "attribute 'axis'" in changed(lambda host: host[0]["attributes"].update(axis=[1]))
    assert "host op 1 of the manifest" in changed(lambda host: host.insert(1, 5))


def test_data_that_do_not_fit_are_one_line(made: Made, tmp_path: Path, by_default: None) -> None:
    nodes = [node("ScatterND", "x places lines", "y")]
    given = [value("x", [4, 6]), value("places", [2, 1], TensorProto.INT64)]
    own = hosted(made, tmp_path, nodes, given, ["y"])
    assert own.build() == 0
    library = load(own.library)
    with pytest.raises(LibraryError, match="ScatterND refuses the data that it reads") as caught:
        library.run({"x": x_of(0), "places": np.array([[0], [9]])})
    assert "\n" not in str(caught.value)
    assert library.run({"x": x_of(0), "places": np.array([[0], [3]])})["y"].shape == (4, 6)
