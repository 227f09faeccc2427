"""What counting the lookups costs: a lookup's path, all of the processor's time, and the file of ten million.

    python -m benchmarks.service.demand [--quick] [--seed N]

The time of a lookup is that of the quickest batch: other work on the machine only adds to it. Questions are
drawn by a law of powers, as caches see them: a few are asked all the time, a million once.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

from tilewright.compiler_core.digest import digest_of
from tilewright.db.demand.file import DemandFile
from tilewright.db.demand.logging import note_kernel
from tilewright.db.demand.recorder import Recorder, recorder_of_process
from tilewright.db.records import Key

LOOKUPS, QUESTIONS = 10_000_000, 1_000_000
AT_ONCE = 50_000
POWER = 0.9
Row = dict[str, Any]


def bench_demand(seed: int = 0, quick: bool = False) -> Row:
    """The figures of the demand log: `{bench, summary, rows}`. `quick` asks a fiftieth."""
    lookups, questions = (LOOKUPS // 50, QUESTIONS // 50) if quick else (LOOKUPS, QUESTIONS)
    with tempfile.TemporaryDirectory() as folder:
        row = _logged(Path(folder) / "demand", lookups, questions, seed)
    summary = {
        "note_cpu_us": _at_most(row["least_note_us"], 2.0),
        "file_mb": _at_most(row["file_mb"], 100.0),
        "memory_grown_mb": _at_most(row["grown_mb"], 100.0),
        "lookups_not_accounted_for": _at_most(row["lost"], 0),
    }
    return {"bench": "demand", "summary": summary, "rows": [row]}


def _logged(path: Path, lookups: int, questions: int, seed: int) -> Row:
    draw = random.Random(seed)
    target = digest_of("target")
    asked = [Key(digest_of(n), target, "3") for n in range(questions)]
    weights = list(accumulate((rank + 1) ** -POWER for rank in range(questions)))
    recorder = Recorder(path, most_waiting=1 << 20, every_s=3600.0)
    recorder._over = True  # no thread: it is flushed below, so that both parts are timed
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    noting_s = flushing_s = 0.0
    least_s = float("inf")
    most_mb = 0.0
    for _ in range(lookups // AT_ONCE):
        batch = draw.choices(asked, cum_weights=weights, k=AT_ONCE)
        start = time.process_time()
        for key in batch:
            if recorder_of_process() is None:  # as a lookup asks
                note_kernel(recorder, key, None)
        took_s = time.process_time() - start
        noting_s, least_s = noting_s + took_s, min(least_s, took_s)
        start = time.process_time()
        recorder.flush()
        flushing_s += time.process_time() - start
        most_mb = max(most_mb, sum(each.stat().st_size for each in path.parent.iterdir()) / 1e6)
    recorder.close()
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1e3
    file = DemandFile(path, read_only=True)
    counted = sum(file.totals().values())
    rows = sum(1 for _ in file.rows())
    file.close()
    return {
        "lookups": lookups,
        "questions": questions,
        "rows": rows,
        "note_us": noting_s / lookups * 1e6,
        "least_note_us": least_s / AT_ONCE * 1e6,
        "all_us": (noting_s + flushing_s) / lookups * 1e6,
        "file_mb": path.stat().st_size / 1e6,
        "most_mb": most_mb,
        "grown_mb": grown_mb,
        "lost": lookups - counted,
        "seed": seed,
    }


def _at_most(value: float, goal: float) -> Row:
    return {"value": value, "goal": goal, "ok": value <= goal}


def main() -> None:
    """The figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(bench_demand(given.seed, given.quick), indent=2))


if __name__ == "__main__":
    main()
