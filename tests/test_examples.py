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

from tests.onnx_models import saved, two_parts
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


def test_a_compiler_with_its_own_ir(tuned: Path) -> None:
    done = example("compiler_lookup.py", tuned / "tuning.db", "ascend310")
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("conv 3x3 + bias + relu: ")
    assert "(exact)" in lines[0]
    assert "(exact)" in lines[1]
    assert lines[2].startswith("row maximum: miss: ")


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
    plain, model = onnx.load(tuned / "model.onnx"), onnx.load(noted)
    assert InferenceSession(noted).get_outputs()
    notes = [{entry.key: entry.value for entry in node.metadata_props} for node in model.graph.node]
    assert all("tilewright.kernel" in each and float(each["tilewright.latency_us"]) > 0 for each in notes)
    rest = ["compile", str(noted), *asked[1:], "-o", str(tuned / "p.json"), "--annotated-onnx", str(again)]
    assert main(rest) == 0
    assert onnx.load(again) == model
    for node in model.graph.node:
        del node.metadata_props[:]
    assert list(model.graph.node) == list(plain.graph.node)
