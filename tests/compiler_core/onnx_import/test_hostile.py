"""Broken and harmful files end in one line, in bounded time and memory, and read nothing elsewhere."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiler_core.onnx_import.hostile_models import KINDS
from tests.onnx_models import SHARED

HOSTILE = SHARED / "hostile"

# One child takes all files in turn: address space limited, every file opened written down.
CHILD = """
import json, os, resource, sys, time
from pathlib import Path
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import import importer
resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))
opened = []
def watch(event, arguments):
    if event == "open":
        opened.append(os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else "")
sys.addaudithook(watch)
for line in sys.stdin:
    path = Path(line.rstrip("\\n"))
    opened.clear()
    started = time.process_time()
    try:
        imported = importer.import_model(path)
        outcome, text = "accept", str(len(imported.graph.ops))
    except ModelError as error:
        outcome, text = "reject", str(error)
    seconds = time.process_time() - started
    seen = opened[:]
    # Not getrusage: its peak starts from that of the process this one was started by.
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    answer = {"outcome": outcome, "text": text, "seconds": seconds, "peak_bytes": peak, "opened": seen}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def child() -> object:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    yield process
    process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
    process.stdout.close()  # type: ignore[union-attr]  # it is a pipe
    process.wait()


def _check(child: "subprocess.Popen[str]", path: Path, expected: str) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{path}\n")
    child.stdin.flush()
    line = child.stdout.readline()
    assert line, f"the child died on {path.name}"
    answer = json.loads(line)
    assert expected in ("either", answer["outcome"]), answer["text"]
    assert answer["text"].isprintable()
    assert answer["text"]
    assert answer["seconds"] < 10
    assert answer["peak_bytes"] < 1 << 30
    python = (sys.prefix, sys.base_prefix)
    foreign = [
        name
        for name in answer["opened"]
        if not name.startswith((str(path.parent), *python)) and not name.endswith((".py", ".pyc"))
    ]
    assert not foreign


@pytest.mark.parametrize("kind", KINDS)
def test_kind(kind: str, child: "subprocess.Popen[str]", tmp_path: Path) -> None:
    expected, write = KINDS[kind]
    _check(child, write(tmp_path), expected)


def _shared_files() -> list[tuple[str, str]]:
    if not HOSTILE.is_dir():
        return []
    with (HOSTILE / "expected.csv").open() as file:
        return [(row["file"], row["expected"]) for row in csv.DictReader(file)]


@pytest.mark.skipif(not HOSTILE.is_dir(), reason=f"{HOSTILE} is not there: shared hostile files not checked")
@pytest.mark.parametrize(("name", "expected"), _shared_files())
def test_shared_file(name: str, expected: str, child: "subprocess.Popen[str]") -> None:
    _check(child, HOSTILE / name, expected)
    assert not Path("/tmp/pwned_h5").exists()
