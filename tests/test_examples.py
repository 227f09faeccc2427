"""What is in examples/ runs, in processes of their own, on a database that was tuned."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.onnx_models import saved, two_parts
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
