"""A database that an earlier version wrote answers after: same digests, same toolchain, same numbers.

`written_earlier.sql` is such a database as text. Where this test fails, the records of every user are lost to
lookups; so it changes only with a decision to change the toolchain. The database is then written anew by
`python -m tests.db.test_written_earlier`.
"""

import re
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest

import tilewright as tw
from tests.onnx_models import model, node, saved, value
from tilewright.db.storage.session import open_database
from tilewright.measure.simulator.device import SimulatedDevice

DUMP = Path(__file__).with_name("written_earlier.sql")
TARGET = "ascend310"
TOOLCHAIN = "3"
GRAPH = "31311da5a5b3981f286adc2689200d19f76b3b1c90b3a8e2d45c79c7476eb23c"
KERNEL = "721088aecb28968508032155ee563598db86dab438e8455cea3ebbd706a0e143"
CONFIG = {
    "tile_0": 16,
    "tile_1": 16,
    "reduction_tile_0": 64,
    "loop_order": "0 1",
    "load_slots": 3,
    "store_slots": 2,
    "tiles_in_flight": 1,
    "cores": 2,
}
LATENCY_US = 3.0073529411764706


def two_layers(folder: Path) -> Path:
    """A small perceptron; its weights are counted, not drawn, so that they hang on no generator."""
    weights = {
        name: (np.arange(rows * columns, dtype=np.float32) % 13 - 6).reshape(rows, columns) / 8
        for name, rows, columns in (("w1", 48, 64), ("w2", 64, 16))
    }
    nodes = [node("MatMul", "x w1", "a"), node("Relu", "a", "b"), node("MatMul", "b w2", "y")]
    return saved(model(nodes, [value("x", [32, 48])], ["y"], weights), folder)


def dumped(path: Path) -> str:
    """An SQLite database as SQL text."""
    connection = sqlite3.connect(path)
    try:
        return "\n".join(connection.iterdump()) + "\n"
    finally:
        connection.close()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "tuning.db"
    connection = sqlite3.connect(path)
    connection.executescript(DUMP.read_text(encoding="utf-8"))
    connection.close()
    return path


def test_a_database_written_earlier_answers(database: Path, tmp_path: Path) -> None:
    open_database(database).close()  # brings it to the newest schema
    answer = tw.lookup(two_layers(tmp_path), TARGET, database=database)
    assert (answer.graph_digest, answer.network_latency_us) == (GRAPH, LATENCY_US)
    (kernel,) = answer.kernels
    assert (kernel.hit, kernel.match, kernel.workload_digest) == (True, "exact", KERNEL)
    assert (kernel.config, kernel.latency_us) == (CONFIG, LATENCY_US)


def test_its_answer_compiles_to_the_latency_it_recorded(database: Path, tmp_path: Path) -> None:
    """The simulator of today runs the recorded Schedule in the time that was measured then."""
    open_database(database).close()
    made = tw.compile(two_layers(tmp_path), TARGET, database=database)
    device = SimulatedDevice(tw.load_target(TARGET))
    assert device.describe().toolchain == TOOLCHAIN
    assert device.run(made.program, made.graph).latency_us == LATENCY_US
    made.close()


def main() -> None:
    """Write the database anew, and say what this test must expect."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, made = folder / "tuning.db", two_layers(folder)
        tw.tune(made, target=TARGET, trials=6, database=path, ray="none")
        holder = re.compile(r"'process \d+ on [^']*'")  # of the run's lease: it names the machine
        DUMP.write_text(holder.sub("'process 1'", dumped(path)), encoding="utf-8")
        print(tw.lookup(made, TARGET, database=path))


if __name__ == "__main__":
    main()
