"""The deterministic mode, through `tune run`: one seed, one list of trials, whatever happens to the farm."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
Listed = tuple[list[Any], list[Any]]  # the trials, the bests
COMMAND = "import sys; from tilewright.api.cli.main import main; sys.exit(main(sys.argv[1:]))"
MEASURED = (
    "SELECT purpose, number, attempt, workload_id, config_digest, status, latency_us, energy_uj FROM trial "
    "WHERE purpose <> 'canary' ORDER BY run_id, purpose, workload_id, number, attempt"
)
BEST = "SELECT workload_digest, config, latency_us, number FROM best ORDER BY workload_digest"


def repeats(crashes: int, seed: int, trials: int = 48, target: str = "gemmini16") -> Row:
    """Runs with 1, 2 and 8 workers, and `crashes` runs that were crashed on the way and started again.

    Every second crash is a SIGKILL of the whole driver, the others are of one of its workers.
    `same_after_crash` counts the crashed runs whose trials and bests are, bit for bit, those of the first;
    `others` says of each of the rest how it ended: the first row that differs, or its second start's error.
    """
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "two_layers.onnx"
        model.write_bytes(two_layers())
        took = []
        lists = []
        for workers in (1, 2, 8):
            began_s = time.monotonic()
            run = _start(model, target, trials, seed, workers, Path(folder) / f"{workers}.db")
            if run.wait() != 0:
                errors = _errors(Path(folder) / f"{workers}.db").read_text()[-2000:]
                raise RuntimeError(f"tune run ended with {run.returncode}: {errors}")
            took.append(time.monotonic() - began_s)
            lists.append(listed(Path(folder) / f"{workers}.db"))
        struck = 0
        others: list[str] = []
        for number in range(crashes):
            database = Path(folder) / f"crash{number}.db"
            workers = chance.choice((1, 2, 8))
            run = _start(model, target, trials, seed, workers, database)
            time.sleep(chance.uniform(0.1, 0.9) * took[1])
            struck += _strike(run, chance, driver=number % 2 == 0)
            crashed = f"crash {number}, {workers} workers"
            if run.wait() != 0:
                run = _start(model, target, trials, seed, workers, database)
                if run.wait() != 0:
                    errors = _errors(database).read_text()[-2000:]
                    others.append(f"{crashed}: exit {run.returncode}: {errors}")
                    continue
            if found := difference(lists[0], listed(database)):
                others.append(f"{crashed}: {found}")
    return {
        "task": "repeats",
        "workers": "1, 2, 8",
        "trials": len(lists[0][0]),
        "same_for_all_sizes": lists[0] == lists[1] == lists[2],
        "crashes": crashes,
        "struck": struck,
        "same_after_crash": crashes - len(others),
        "others": others,
    }


def two_layers(hidden: int = 256) -> bytes:
    """Two matrix products with a ReLU of `hidden` columns between, small enough to be tuned in seconds."""
    from onnx import TensorProto, helper, numpy_helper

    chance = np.random.default_rng(0)
    weights = {"a": (128, hidden), "b": (hidden, 64)}
    constants = [
        numpy_helper.from_array(chance.normal(size=shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [64, 128]), ("y", [64, 64]))
    ]
    graph = helper.make_graph(nodes, "two layers", ends[:1], ends[1:], constants)
    opset = [helper.make_opsetid("", 17)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return model


def _start(
    model: Path, target: str, trials: int, seed: int, workers: int, database: Path
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", COMMAND, "run", str(model), f"--target={target}", f"--trials={trials}"]
    command += [f"--seed={seed}", f"--workers={workers}", f"--db={database}"]
    with _errors(database).open("wb") as errors:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)


def _errors(database: Path) -> Path:
    return database.with_suffix(".stderr")


def _strike(run: "subprocess.Popen[bytes]", chance: random.Random, driver: bool) -> bool:
    """SIGKILL the driver, or one of its measuring processes as soon as there is one; whether in time."""
    while run.poll() is None:
        if driver:
            run.send_signal(signal.SIGKILL)
            return True
        workers = [
            int(directory.name)
            for directory in Path("/proc").iterdir()
            if directory.name.isdigit() and _is_worker_of(directory, run.pid)
        ]
        if workers:
            os.kill(chance.choice(sorted(workers)), signal.SIGKILL)
            return True
        time.sleep(0.1)
    return False


def _is_worker_of(directory: Path, driver: int) -> bool:
    """Whether it is a measuring process (`ray::FarmWorker`) under the driver's Ray."""
    try:
        if not (directory / "cmdline").read_bytes().startswith(b"ray::FarmWorker"):
            return False
        for _ in range(4):
            parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == driver:
                return True
            directory = directory.parent / str(parent)
    except (OSError, IndexError, ValueError):
        return False
    return False


def difference(expected: Listed, found: Listed) -> str:
    """The first trial or best that differs, or the lengths where one list is longer; "" where none does."""
    for wanted, got in zip(expected, found, strict=True):
        for left, right in zip(wanted, got, strict=False):
            if left != right:
                return f"{right} in place of {left}"
        if len(wanted) != len(got):
            return f"{len(got)} rows in place of {len(wanted)}"
    return ""


def listed(database: Path) -> Listed:
    """What was searched and confirmed, and what is published, as the database has it."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(MEASURED).fetchall(), connection.execute(BEST).fetchall()
    finally:
        connection.close()
