"""What layers cost a lookup: a hit in the third of them beside a plain one, and a server that is away.

    python -m benchmarks.service.layers [--lookups N] [--servers N] [--seed N]

Both kinds of hits take turns in batches, and the quickest batch of each counts: other work only adds to it. A
server that takes the connection and says nothing is asked anew each time; the time beyond its timeout counts.
"""

import argparse
import json
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import insert

from benchmarks.service.lookup import TARGET, workload_of
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.db.answering.lookup import AnswerRequest, Hit, lookup
from tilewright.db.layers.file import FileLayer
from tilewright.db.layers.layer import Layers, RecordsLayer
from tilewright.db.layers.remembered import Remembered
from tilewright.db.layers.server import ServerLayer
from tilewright.db.layers.settings import LayerSetting
from tilewright.db.records import Best, Key, Verification
from tilewright.db.repository import Repository
from tilewright.db.storage.rows import best_columns
from tilewright.db.storage.schema import best
from tilewright.db.storage.session import Database, open_database
from tilewright.search_space.knobs import Config

ASKED = AnswerRequest(TARGET.digest, TOOLCHAIN)
KEYS = 300
BATCH = 300
TIMEOUT_S = 0.2
Row = dict[str, Any]


def bench_layers(lookups: int = 30_000, servers: int = 21, seed: int = 0) -> Row:
    """The figures of layers: `{bench, summary, rows}`."""
    with tempfile.TemporaryDirectory() as folder:
        hits = _hits(Path(folder), lookups, seed)
        away = _away(Path(folder), servers)
    summary = {
        "third_layer_ratio": _at_most(hits["ratio"], 2.0),
        "server_away_median_ms": _at_most(away["median_ms"], 50.0),
        "server_away_worst_ms": _at_most(away["worst_ms"], 50.0),
    }
    return {"bench": "layers", "summary": summary, "rows": [hits, away]}


def filled(path: Path, numbers: range) -> Database:
    """A database with answers for the kernels of these numbers."""
    database = open_database(path)
    repository = Repository(database)
    repository.put_target(TARGET)
    repository.put_workloads([workload_of(number) for number in numbers])
    bests = [
        Best(
            Key(workload_of(number).digest, TARGET.digest, TOOLCHAIN),
            Config((("tile", 16),)),
            "0" * 64,
            latency_us=10.0,
            bound_us=1.0,
            energy_uj=None,
            peak_bytes=None,
            latency_cycles=None,
            verification=Verification.VALUE_EXACT,
            confirmations=3,
            run="bench",
            number=0,
        )
        for number in numbers
    ]
    with database.writing() as connection:
        connection.execute(insert(best), [best_columns(each) for each in bests])
    return database


def _hits(folder: Path, lookups: int, seed: int) -> Row:
    draw = random.Random(seed)
    rows = [workload_of(number) for number in range(KEYS)]
    own, team, bank = (
        filled(folder / f"{name}.db", numbers)
        for name, numbers in (
            ("own", range(KEYS, 2 * KEYS)),
            ("team", range(2 * KEYS, 3 * KEYS)),
            ("bank", range(KEYS)),
        )
    )
    plain = Layers.of(Repository(bank))
    third = Layers(
        (RecordsLayer("own", Repository(own)), FileLayer.of("team", team), FileLayer.of("bank", bank))
    )
    least_s = {"plain": float("inf"), "third": float("inf")}
    for _ in range(lookups // BATCH):
        asked = draw.choices(rows, k=BATCH)
        for name, layers in (("plain", plain), ("third", third)):
            start = time.process_time()
            for row in asked:
                if not isinstance(lookup(layers, row, ASKED), Hit):
                    raise LookupError(f"{name} missed")
            least_s[name] = min(least_s[name], time.process_time() - start)
    third.close()
    us = {f"{name}_us": took_s / BATCH * 1e6 for name, took_s in least_s.items()}
    return {"lookups": lookups, **us, "ratio": us["third_us"] / us["plain_us"], "seed": seed}


def _away(folder: Path, servers: int) -> Row:
    bank = filled(folder / "answers.db", range(KEYS))
    row, late_ms = workload_of(0), []
    with _mute() as url:
        for number in range(servers):
            setting = LayerSetting("team", url, timeout_s=TIMEOUT_S)
            server = ServerLayer(setting, Remembered(f"{url}/{number}", folder))
            layers = Layers((server, FileLayer.of("bank", bank)))
            start = time.perf_counter()
            answer = lookup(layers, row, ASKED)
            late_ms.append((time.perf_counter() - start - TIMEOUT_S) * 1e3)
            if not isinstance(answer, Hit) or not layers.troubles:
                raise LookupError("a server that is away was not told, or nothing answered in its place")
            server.close()
    bank.close()
    within = sum(each <= 50.0 for each in late_ms)
    return {
        "servers": servers,
        "timeout_ms": TIMEOUT_S * 1e3,
        "median_ms": median(late_ms),
        "worst_ms": max(late_ms),
        "within_50_ms": within,
    }


@contextmanager
def _mute() -> Iterator[str]:
    """A server whose connections nobody accepts: they are made, and stay silent."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _at_most(value: float, goal: float) -> Row:
    return {"value": value, "goal": goal, "ok": value <= goal}


def main() -> None:
    """The figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lookups", type=int, default=30_000)
    parser.add_argument("--servers", type=int, default=21)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(bench_layers(given.lookups, given.servers, given.seed), indent=2))


if __name__ == "__main__":
    main()
