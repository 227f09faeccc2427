"""Every file from the field through the verbs and a job of the service, with small budgets.

    python -m tests.robust.field [NAME ...]

prints how each verb ended. A miss, a run, its verification, a hit, a Program, and a job that is done are
what a file is owed; one that expected.csv allows a clear line may be refused in one by all of them.
"""

import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import free_port, wait_until_ready
from tests.onnx_models import SHARED
from tests.robust.child import tune, warm
from tilewright.api.client import Client

TUNE = Path(sys.executable).parent / "tune"
FOLDER = SHARED / "field"
TARGET, TRIALS = "ascend310", 4
DONE, REFUSED, MISSED = 0, 2, 3
CLEAR_LINE = "clear line"
WAIT_S = 60


@dataclass(frozen=True)
class Row:
    """A file, the dims that it wants bound, and whether it may be refused."""

    path: Path
    dims: tuple[str, ...]
    may_be_refused: bool


def rows() -> list[Row]:
    """Those of expected.csv."""
    with (FOLDER / "expected.csv").open() as file:
        return [
            Row(FOLDER / row["file"], tuple((row["dims"] or "").split()), CLEAR_LINE in row["expected"])
            for row in csv.DictReader(file)
        ]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A server with a runner; its address."""
    port = free_port()
    command = [str(TUNE), "serve", "--port", str(port), "--ray", "none", "--db", str(folder / "service.db")]
    with (folder / "server.txt").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(WAIT_S)


def complaints(row: Row, folder: Path, server: str) -> list[str]:
    """What is wrong with how the verbs end on a file."""
    on = ["--target", TARGET, *row.dims, *_wanted(row, folder)]
    kept, once = ["--db", str(folder / f"{row.path.stem}.db")], ["--trials", str(TRIALS)]
    tune(["db", "upgrade", *kept], folder / "said.txt")
    owed = (  # a network without kernels is never missed
        (["lookup", *on, *kept], MISSED, DONE),
        (["run", *on, *kept, *once, "--ray", "none"], DONE),
        (["verify", *on, *kept], DONE),
        (["lookup", *on, *kept], DONE),
        (["compile", *on, *kept, "-o", str(folder / "program.json")], DONE),
        (["submit", *on, *once, "--server", server], DONE),
    )
    found = []
    for (verb, *rest), *codes in owed:
        ending = tune([verb, str(row.path), *rest], folder / "said.txt")
        lines = ending.said.strip().splitlines()
        refused = row.may_be_refused and ending.code == REFUSED and len(lines) == 1
        if ending.complaint or (ending.code not in codes and not refused):
            found.append(f"{verb} {ending.complaint or ending.code}: {' '.join(lines[-2:])[:300]}")
        elif verb == "submit" and ending.code == DONE:
            found += _ended(server, lines[-1])
    return found


def _wanted(row: Row, folder: Path) -> list[str]:
    """The dims that a first try says to bind, as it says to."""
    ending = tune(["plan", str(row.path), *row.dims], folder / "said.txt")
    return re.findall(r"--dim|\w+=\d+", ending.said.partition("; give ")[2]) if ending.code == REFUSED else []


def _ended(server: str, job: str) -> list[str]:
    """What is wrong with how a job ends."""
    with Client(server) as client:
        list(client.watch(job))
        row = client.job(job)
    return [] if row.state == "succeeded" else [f"job {row.state}: {row.error}"]


def main(names: Sequence[str]) -> int:
    """Print a line a file; 1 where anything is wrong."""
    warm()
    wrong = 0
    chosen = [row for row in rows() if not names or row.path.stem in names]
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as server:
        for row in chosen:
            found = complaints(row, Path(name), server)
            wrong += bool(found)
            print(f"{row.path.name:36} {'; '.join(found) or 'as expected'}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} files as expected")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
