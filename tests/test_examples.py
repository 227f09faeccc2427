"""What is in examples/ runs, in processes of their own, on a database that was tuned."""

import ast
import json
import subprocess
import sys
from collections import Counter
from math import prod
from pathlib import Path

import onnx
import pytest
from onnxruntime import InferenceSession

from tests.onnx_models import model, node, reals, saved, two_parts, value
from tilewright.api.cli.main import main
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.tuner.verbs.tune import tune

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    tune(saved(two_parts(), folder), "ascend310", trials=16, database=folder / "tuning.db", ray="none")
    return folder


def example(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "examples" / name, *map(str, arguments)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def last_stage() -> onnx.ModelProto:
    """Two convolutions as ResNet-50 has them: what the quick start leaves in the database."""
    constants = {
        "w1": reals(1, 512, 2048, 1, 1),
        "b1": reals(2, 512),
        "w3": reals(3, 512, 512, 3, 3),
        "b3": reals(4, 512),
    }
    nodes = [
        node("Conv", "x w1 b1", "a"),
        node("Relu", "a", "y"),
        node("Conv", "z w3 b3", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "q"),
    ]
    return model(nodes, [value("x", [1, 2048, 7, 7]), value("z", [1, 512, 7, 7])], ["y", "q"], constants)


def test_a_compiler_with_its_own_ir(tmp_path: Path) -> None:
    database = tmp_path / "tilewright.db"
    tune(saved(last_stage(), tmp_path), "ascend910", trials=8, database=database, ray="none")
    done = example("compiler_lookup.py", database, "ascend910")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(" us (" in line for line in lines)
    missed = example("compiler_lookup.py", database, "ascend310")
    assert missed.returncode == 3, missed.stderr
    assert ": miss: " in missed.stdout


def test_a_compiler_that_reads_onnx(tuned: Path) -> None:
    done = example("network_lookup.py", tuned / "model.onnx", "ascend310", tuned / "tuning.db")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("exact") == 2
    assert "Program of 1 stages" in done.stdout  # the two need nothing of each other: side by side


def test_a_program_walked_into_another_back_end(tuned: Path) -> None:
    asked = [str(tuned / "model.onnx"), "--target", "ascend310", "--db", str(tuned / "tuning.db")]
    file = tuned / "program.json"
    assert main(["compile", *asked, "-o", str(file), "--annotated-onnx", str(tuned / "noted.onnx")]) == 0
    form = json.loads(file.read_text())
    done = example("program_reader.py", file)
    assert done.returncode == 0, done.stderr
    calls = [line.split()[0] for line in done.stdout.splitlines()]
    assert set(calls) == {"load", "compute", "store", "free", "barrier"}
    assert calls.count("barrier") == len(form["stages"])
    # Every element of every output is stored exactly once.
    stored: Counter[str] = Counter()
    for line in done.stdout.splitlines():
        if line.startswith("store"):
            _, _, value, box = line.split(" ", 3)
            extents = [high - low for low, high in ast.literal_eval(box[: box.rindex("]") + 1])]
            stored[value] += prod(extents)
    graph = import_model(tuned / "model.onnx").graph
    outputs = form["provenance"]["model"]["outputs"].values()
    assert stored == {str(value): graph.elements(value) for value in outputs}


def test_the_annotated_model_is_the_model_with_notes(tuned: Path) -> None:
    asked = [str(tuned / "model.onnx"), "--target", "ascend310", "--db", str(tuned / "tuning.db")]
    noted, again = tuned / "noted.onnx", tuned / "again.onnx"
    assert main(["compile", *asked, "-o", str(tuned / "p.json"), "--annotated-onnx", str(noted)]) == 0
    plain, noted_model = onnx.load(tuned / "model.onnx"), onnx.load(noted)
    assert InferenceSession(noted).get_outputs()
    notes = [{entry.key: entry.value for entry in each.metadata_props} for each in noted_model.graph.node]
    assert all("tilewright.kernel" in each and float(each["tilewright.latency_us"]) > 0 for each in notes)
    rest = ["compile", str(noted), *asked[1:], "-o", str(tuned / "p.json"), "--annotated-onnx", str(again)]
    assert main(rest) == 0
    assert onnx.load(again) == noted_model
    for each in noted_model.graph.node:
        del each.metadata_props[:]
    assert list(noted_model.graph.node) == list(plain.graph.node)
