"""The diffs of docs/contributing/extending.md apply to the sources, and what they add works."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("api", "compiler_core", "cost_model", "db", "measure", "search_space", "tuner", "tilewright")
TEXT = (ROOT / "docs" / "contributing" / "extending.md").read_text(encoding="utf-8")


def hunks(block: str) -> Iterator[tuple[str, str, str]]:
    """File, old lines and new lines of every hunk of a diff."""
    for part in re.split(r"^--- ", block, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        for hunk in body.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            yield name, old, "".join(line[1:] for line in lines if line[0] in " +")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with all diffs applied."""
    copy = tmp_path_factory.mktemp("changed")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, copy / package, symlinks=True, ignore=ignored)
    newest = max(path.stem[1:5] for path in (ROOT / "db" / "migrations" / "versions").glob("v*.py"))
    for block in re.findall(r"```diff\n(.*?)```", TEXT, flags=re.DOTALL):
        for name, old, new in hunks(block.replace("NEWEST", newest)):
            path = copy / name
            path.parent.mkdir(exist_ok=True)
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            assert text.count(old) == 1 if old else not text, f"{name}: {old}"
            path.write_text(text.replace(old, new) if old else new, encoding="utf-8")
    return copy


def says(folder: Path, program: str) -> list[str]:
    """What a program prints that runs on the changed sources."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_objective_is_a_row_and_a_migration(changed: Path) -> None:
    program = """
import sqlite3
from pathlib import Path
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status
print(Objective("ed2p").of(Measurement(Status.OK, latency_us=2.0, energy_uj=3.0)))
open_database(Path("new.db")).close()
(text,) = sqlite3.connect("new.db").execute("SELECT sql FROM sqlite_master WHERE name = 'run'").fetchone()
print("'ed2p'" in text)
from tilewright.api.schemas.jobs import JobSpec
print(JobSpec(target="ascend910", objective="ed2p").request("any").objective)
print("ed2p" in JobSpec.model_json_schema()["properties"]["objective"]["enum"])
"""
    assert says(changed, program) == ["12.0", "True", "ed2p", "True"]


def test_an_op_is_a_row_its_machine_code_and_an_entry(changed: Path) -> None:
    program = """
import numpy as np
from onnx import TensorProto, helper, save
from tilewright.compiler_core.codegen.lanes.expressions import Expressions
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model
from pathlib import Path
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy")
graph = helper.make_graph([helper.make_node("Softsign", ["x"], ["y"])], "softsign", [x], [y])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), "softsign.onnx")
graph = import_model(Path("softsign.onnx")).graph
(op,) = graph.ops
given = np.array([-1.0, 0.0, 3.0], dtype=np.float32)
print(op.kind, *interpret(graph, {graph.inputs[0]: given})[graph.outputs[0]], hasattr(Expressions, op.kind))
"""
    assert says(changed, program) == ["softsign", "-0.5", "0.0", "0.75", "True"]


def test_a_back_end_is_one_folder(changed: Path) -> None:
    program = """
from tilewright.compiler_core.ir.graph import Graph
from tilewright.measure.board.device import TARGET, open_board
from tilewright.tuner.devices import own_device
device = own_device("tilewright.measure.board.device:open_board", TARGET.digest)
print(device.describe().name, type(device).__name__)
"""
    assert says(changed, program) == ["board", "ProgramDevice"]
