"""The long form of the campaigns, on both databases; exit code 1 when anything was lost.

python -m tests.db.run_campaigns --kills 1000 --seconds 60
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psycopg

from tests.db.campaigns import contend, kill_writers
from tests.db.postgres import find_binaries, running_postgres


@contextmanager
def databases() -> Iterator[dict[str, list[str]]]:
    """Two empty databases of each kind that this machine has."""
    with tempfile.TemporaryDirectory() as directory:
        urls = {"sqlite": [str(Path(directory) / f"{number}.db") for number in range(2)]}
        binaries = find_binaries()
        if binaries is None:
            print("no PostgreSQL on this machine: SQLite only", file=sys.stderr)
            yield urls
            return
        with running_postgres(binaries) as url:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE DATABASE one")
                connection.execute("CREATE DATABASE two")
            urls["postgresql"] = [url.replace("@/postgres?", f"@/{name}?") for name in ("one", "two")]
            yield urls


def main() -> int:
    """Runs both campaigns and prints a JSON line for each database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    clean = True
    with databases() as urls:
        for kind, (first, second) in urls.items():
            killed = kill_writers(first, asked.kills, asked.seed)
            contended = contend(second, asked.seconds)
            print(json.dumps({"database": kind, "kills": asdict(killed), "contention": asdict(contended)}))
            clean &= (killed.lost, killed.torn_batches, killed.integrity) == (0, 0, "ok")
            clean &= (contended.lost, contended.errors) == (0, ())
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
