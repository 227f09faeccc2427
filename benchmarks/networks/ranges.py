"""What a tuned range answers at sizes that were not tuned, beside each of these sizes tuned alone.

One range of one dim is tuned. At some of its sizes, half of them drawn evenly and half by ratio, what the
database answers is compiled, verified and timed, and the same size is tuned alone in a database of its own.
Every other size is looked up, or a part of them.
"""

import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.journal import Journal
from tilewright.compiler_core.errors import TilewrightError
from tilewright.compiler_core.onnx_import.sizes import sizes_in_range
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.tuner.sizes.representatives import nearest
from tilewright.tuner.verbs.lookup import compile_known, lookup
from tilewright.tuner.verbs.tune import tune, tune_range
from tilewright.tuner.verbs.verify import verify

KEY = ("model", "target", "target_digest", "symbol", "low", "high", "dims", "seed", "trials", "size")
P90_REGRET, COVERED = 0.05, 0.9
Row = dict[str, Any]


def bench_ranges(
    model: Path,
    target: str,
    dims: Mapping[str, int],
    ranged: tuple[str, int, int],
    *,
    trials: int = 512,
    alone: int = 512,
    sizes: int = 24,
    looked_up: int | None = None,
    seed: int = 0,
    journal: Path | None = None,
) -> dict[str, Any]:
    """Tune `ranged` (a dim, its least and its largest size) with `trials`, and `sizes` of its other sizes
    with `alone` each. Of the rest `looked_up` are looked up, without it all.
    """
    symbol, low, high = ranged
    legal = sizes_in_range(model, dims, symbol, low, high)
    kept = Journal(journal, {"bench": "ranges", "alone": alone, "sizes": sizes}, KEY)
    given = (model.stem, target, load_target(target).digest, symbol, low, high)
    key = dict(zip(KEY, (*given, str(dict(dims)), seed, trials), strict=False))
    with tempfile.TemporaryDirectory(prefix="tilewright-bench-") as folder:
        database = Path(folder if journal is None else journal.parent) / f"{model.stem}-{symbol}-{seed}.db"
        asked: dict[str, Any] = {"ray": "none", "seed": seed, "on_event": lambda event: None}
        found = tune_range(
            model, target, symbol, low, high, trials=trials, dims=dims, database=database, **asked
        )
        for interval in found.intervals:
            print(interval, flush=True)
        rows: list[Row] = []
        for size in drawn(legal, found.sizes, sizes, seed):
            row = kept.row({**key, "size": size})
            if row is None:
                at = {**dims, symbol: size}
                row = {**key, "size": size, **_answered(model, target, at, database)}
                own = Path(folder) / f"{size}.db"
                row["alone_us"] = tune(
                    model, target, trials=alone, dims=at, database=own, **asked
                ).tuned.latency_us
                row["regret"] = None if row["us"] is None else row["us"] / row["alone_us"] - 1
                kept.add(row)
            rows.append(row)
            print(
                *(f"{name} {row[name]}" for name in ("size", "us", "alone_us", "stated", "why")), flush=True
            )
        others = [size for size in legal if size not in {row["size"] for row in rows}]
        if looked_up is not None:
            others = random.Random(seed).sample(others, min(looked_up, len(others)))
        misses = []
        for size in others:
            row = kept.row({**key, "size": size})
            if row is None:
                row = {**key, "size": size, "hit": _looks_up(model, target, {**dims, symbol: size}, database)}
                kept.add(row)
            misses += [] if row["hit"] else [size]
    return {"bench": "ranges", "summary": _summary(rows, len(others), misses), "rows": rows}


def drawn(legal: Sequence[int], tuned: Sequence[int], count: int, seed: int) -> list[int]:
    """Up to `count` sizes that were not tuned, ascending: half of them drawn evenly, half by ratio."""
    rng = random.Random(seed)
    open_sizes = [size for size in legal if size not in tuned]
    if len(open_sizes) <= count:
        return open_sizes
    chosen = set(rng.sample(open_sizes, count // 2))
    while len(chosen) < count:
        ratio = (open_sizes[-1] + 1) / (open_sizes[0] + 1)
        chosen.add(nearest(open_sizes, round((open_sizes[0] + 1) * ratio ** rng.random() - 1)))
    return sorted(chosen)


def _answered(model: Path, target: str, dims: Mapping[str, int], database: Path) -> Row:
    """What the database answers at one size: microseconds, the regret it states, and what is amiss."""
    row: Row = {"us": None, "stated": None, "split": None, "why": ""}
    try:
        answer = lookup(model, target, dims=dims, database=database)
        compiled = compile_known(model, target, dims=dims, database=database)
        timed = SimulatedDevice(compiled.opened.target).run(compiled.program, compiled.graph)
        row["us"] = timed.latency_us
        if answer.selected is None:
            row["why"] = "not answered by the range"
        else:
            row["stated"], row["split"] = answer.selected.interval.predicted_regret, answer.selected.split
        if not verify(model, target, dims=dims, database=database).ok:
            row["why"] = "not verified"
    except TilewrightError as error:
        row["why"] = str(error)
    return row


def _looks_up(model: Path, target: str, dims: Mapping[str, int], database: Path) -> bool:
    try:
        return lookup(model, target, dims=dims, database=database).complete
    except TilewrightError:
        return False


def _summary(rows: Sequence[Row], others: int, misses: Sequence[int]) -> dict[str, Any]:
    good = [row for row in rows if not row["why"]]
    regrets = sorted(row["regret"] for row in good)
    p90 = regrets[min(len(regrets) - 1, int(0.9 * len(regrets)))] if regrets else None
    within = [row for row in good if row["stated"] is not None and row["regret"] <= row["stated"]]
    covered = len(within) / len(good) if good else 0.0
    return {
        "compiled_and_verified": {"value": len(good), "goal": len(rows), "ok": len(good) == len(rows)},
        "looked_up": {"value": others - len(misses), "goal": others, "ok": not misses},
        "p90_regret": {"value": p90, "goal": P90_REGRET, "ok": p90 is not None and p90 <= P90_REGRET},
        "regret_within_stated": {"value": covered, "goal": COVERED, "ok": covered >= COVERED},
    }
