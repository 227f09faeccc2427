"""Does every run end with an answer? Networks at several budgets, seeds, targets and objectives.

An answer is published, verified, and no slower than its default.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.journal import Journal
from benchmarks.networks.files import Network, dims_of, light_networks, networks_of
from tilewright.compiler_core.errors import TilewrightError
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.objectives import Objective
from tilewright.tuner.answer.report import Figures
from tilewright.tuner.request import objectives_of
from tilewright.tuner.verbs.lookup import lookup
from tilewright.tuner.verbs.tune import tune

BUDGETS = (32, 64, 96, 200, 512)
TARGETS = ("ascend910", "ethos_u55_256")
KEY = ("model", "target", "target_digest", "seed", "trials", "objective")
Row = dict[str, Any]


def bench_answers(
    folder: Path | None = None,
    *,
    light: bool = True,
    budgets: Sequence[int] = BUDGETS,
    objectives: Sequence[str] = ("latency",),
    targets: Sequence[str] = TARGETS,
    seeds: int = 2,
    seed: int = 0,
    quick: bool = False,
    journal: Path | None = None,
) -> dict[str, Any]:
    """One run a network, target, objective, seed and budget, each in a database of its own."""
    networks = [*(light_networks() if light else ()), *(networks_of(folder) if folder else ())]
    if quick:
        networks, budgets, targets, seeds = networks[:2], budgets[:1], targets[:1], 1
    kept = Journal(journal, {"bench": "answers"}, KEY)
    rows: list[Row] = []
    for network in networks:
        for target in targets:
            for key in _keys(network, target, budgets, objectives, range(seed, seed + seeds)):
                row = kept.row(key) or _row(network, key)
                kept.add(row)
                rows.append(row)
                print(*(f"{name} {row[name]}" for name in (*KEY, "answered", "speedup", "why")), flush=True)
    answered = sum(row["answered"] for row in rows)
    slower = sum(row["speedup"] is not None and row["speedup"] < 1.0 for row in rows)
    return {
        "bench": "answers",
        "summary": {
            "answered": {"value": answered, "goal": len(rows), "ok": answered == len(rows)},
            "slower_than_default": {"value": slower, "goal": 0, "ok": slower == 0},
        },
        "rows": rows,
    }


def _keys(
    network: Network, target: str, budgets: Sequence[int], objectives: Sequence[str], seeds: Sequence[int]
) -> list[Row]:
    digest = load_target(target).digest
    return [
        dict(zip(KEY, (network.path.stem, target, digest, seed, trials, objective), strict=True))
        for objective in objectives
        for seed in seeds
        for trials in budgets
    ]


def _row(network: Network, key: Row) -> Row:
    start = time.process_time()
    found: Row = {**key, "answered": False, "speedup": None, "why": "", "default": None, "tuned": None}
    try:
        found |= _answer(network, key)
    except TilewrightError as error:
        found["why"] = str(error)
    return found | {"processor_s": round(time.process_time() - start, 2)}


def _answer(network: Network, key: Row) -> Row:
    with tempfile.TemporaryDirectory(prefix="tilewright-bench-") as folder:
        database = Path(folder) / "tuning.db"
        asked: dict[str, Any] = {"dims": dims_of(network), "database": database}
        report = tune(
            network.path,
            key["target"],
            trials=key["trials"],
            objective=key["objective"],
            seed=key["seed"],
            ray="none",
            on_event=lambda event: None,
            **asked,
        )
        first = objectives_of(key["objective"])[0]
        known = lookup(network.path, key["target"], objective=first, **asked).network_latency_us is not None
    default, tuned = _figure(report.default, first), _figure(report.tuned, first)
    speedup = default / tuned if default and tuned else 1.0
    verified = report.verification in ("value-exact", "sampled")
    why = "" if verified and known else f"verified {report.verification}, published {known}"
    return {
        "answered": verified and known,
        "speedup": speedup,
        "why": why,
        "default": default,
        "tuned": tuned,
    }


def _figure(figures: Figures, objective: Objective) -> float | None:
    if objective is Objective.EDP:
        return None if figures.energy_uj is None else figures.latency_us * figures.energy_uj
    number: float | None = getattr(figures, objective.row.figure)
    return number
