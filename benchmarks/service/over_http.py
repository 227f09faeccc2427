"""The lookup over HTTP at a fixed rate, and a whole network from the database to a Program."""

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.service.load import offer

ROOT = Path(__file__).parents[2]
RATE_PER_S = 500.0
TARGET = "ascend910"
TRIALS = 64
Row = dict[str, Any]


def over_http(database: Path, workloads: Sequence[str], target: str, seconds: float) -> Row:
    """RATE_PER_S lookups a second of recorded `workloads`, each timed from when it was due."""
    paths = [f"/v1/lookup?target={target}&workload={digest}" for digest in workloads]
    with _serving(database) as (port, pid):
        asyncio.run(offer(port, 2.0, RATE_PER_S / 5, paths))
        before = _cpu_s(pid)
        latencies = asyncio.run(offer(port, seconds, RATE_PER_S, paths))
        cpu_s = _cpu_s(pid) - before
    if latencies[-1] == float("inf"):
        raise AssertionError("a lookup was not answered with 200")
    return {
        "method": "http",
        "rate_per_s": RATE_PER_S,
        "answers": len(latencies),
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1e3,
        "server_cpu_us": cpu_s / len(latencies) * 1e6,
    }


@contextmanager
def _serving(database: Path) -> Iterator[tuple[int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {**os.environ, "TILEWRIGHT_RATE_PER_S": "1000000", "TILEWRIGHT_RATE_BURST": "1000000"}
    program = "import sys; from tilewright.api.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "serve", "--no-runner", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--db", str(database)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60.0
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def network_to_program(seed: int) -> Row:
    """ResNet-50, tuned with few trials, from the database to a Program in a new process after its imports.

    `graph`: the network is known as a whole. `cover`: only its kernels are, and the cheapest cover is taken.
    """
    package = importlib.util.find_spec("onnx")
    assert package is not None
    assert package.submodule_search_locations is not None
    light = Path(package.submodule_search_locations[0]) / "backend" / "test" / "data" / "light"
    model = light / "light_resnet50.onnx"
    row: Row = {"method": "resnet50 to a Program", "seed": seed}
    with tempfile.TemporaryDirectory() as directory:
        database = Path(directory) / "tuning.db"
        _in_new_process(_TUNE, str(model), TARGET, str(database), str(TRIALS), str(seed))
        for name, program in (("graph", _COMPILE), ("cover", _FORGET + _COMPILE)):
            said = [_in_new_process(program, str(model), TARGET, str(database)) for _ in range(3)]
            middle = sorted(said, key=lambda each: float(each["wall_s"]))[1]
            row |= {f"{name}_{key}": value for key, value in middle.items()}
    return row


def _in_new_process(program: str, *arguments: str) -> Row:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said: Row = json.loads(done.stdout.splitlines()[-1])
    return said


_TUNE = """
import json, sys
from pathlib import Path
from tilewright.tuner.verbs.tune import tune
model, target, database, trials, seed = sys.argv[1:]
run(Path(model), target, trials=int(trials), seed=int(seed), database=database, ray="none")
print(json.dumps({}))
"""
_FORGET = """
import sys
from tilewright.tuner.network.book import Book
Book.known_network = lambda self: None
"""
_COMPILE = """
import json, sys, time
from collections import Counter
from pathlib import Path
from tilewright.tuner.verbs.lookup import compile_known
model, target, database = sys.argv[1:]
start, cpu = time.perf_counter(), time.process_time()
compiled = compile_known(Path(model), target, database=database)
print(json.dumps({
    "wall_s": time.perf_counter() - start,
    "cpu_s": time.process_time() - cpu,
    "stages": len(compiled.program.stages),
    "sources": dict(Counter(compiled.sources.values())),
}))
"""
