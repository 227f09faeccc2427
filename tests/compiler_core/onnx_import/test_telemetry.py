"""onnxruntime is loaded where it reports to nobody."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.onnx_import.reference import reference_walk
path = saved(model([node("Relu", "x", "y")], [value("x", [2, 4])], ["y"]), Path(sys.argv[1]))
(told,) = reference_walk(path, {"y": np.dtype(np.float32)}, {"x": np.ones((2, 4))})
assert "onnxruntime" in sys.modules
"""


def test_onnxruntime_reports_to_nobody(tmp_path: Path) -> None:
    """It left a file for its next report beside every run."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in scratch.iterdir()] == []
