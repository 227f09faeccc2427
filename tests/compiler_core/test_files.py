"""Files that users name, and folders for a while."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import TargetError
from tilewright.compiler_core.files.inputs import open_regular
from tilewright.compiler_core.files.outputs import shortened, write_text
from tilewright.compiler_core.files.scratch import scratch, sweep
from tilewright.compiler_core.target_model.file import load_target

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from tilewright.compiler_core.files.scratch import scratch
with scratch("test") as folder:
    (folder / "file").write_text("left")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "target.toml"
    os.mkfifo(pipe)
    with pytest.raises(TargetError, match="Not a regular file"):
        load_target(pipe)
    with pytest.raises(OSError, match="Not a regular file"):
        open_regular(Path("/dev/null"))
    with pytest.raises(TargetError, match=r"Is a directory|Not a regular file"):
        load_target(f"{tmp_path}/")


def test_long_names_are_errors_of_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x" * 300, f"{'x' * 300}.toml", f"{tmp_path}/{'é' * 200}.toml"):
        with pytest.raises(TargetError) as found:
            load_target(name)
        assert "\n" not in str(found.value)
    long = "x" * 300
    for arguments in (
        ["lookup", long, "--target", "ascend910"],
        ["targets", "show", long],
        ["db", "stats", "--db", long],
        ["db", "stats", "--db", f"{long}/{long}", "--json", long],
        ["keys", "list", "--db", long],
        ["plan", f"{long}.onnx", "--target", "ascend910", "--json", long],
    ):
        assert main(arguments) == 2, arguments
        assert capsys.readouterr().err.count("\n") == 1
    assert shortened("é" * 60, 101) == "é" * 50
    whole = tmp_path / ("é" * 120)  # 240 bytes
    write_text("text", whole)
    assert whole.read_text() == "text"


def test_what_a_killed_process_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    left = Path(killed.stdout.strip())
    assert (left / "file").exists()
    sweep.cache_clear()
    with scratch("test") as ours:
        assert not left.exists()
        sweep.cache_clear()
        sweep("test")
        assert ours.exists(), "a folder in use was swept"
    assert list(tmp_path.iterdir()) == []
