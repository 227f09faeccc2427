"""The optimum of every fixed kernel task, found once and kept in ground_truth.json.

Spaces of up to EXHAUSTIVE combinations are simulated whole. In larger ones TRIALS simulations go to the
best drafts, to chance, and to all neighbours of whatever is best so far; the lowest is the best known, not
a proof.

    tune bench search --truth
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.arena import SearchArena, case_arena
from benchmarks.search.kernel_tasks import CASES, Case
from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import distinct, enumerate_rows, mutate, neighbours, row_keys, sample
from tilewright.tuner.kernel.climb import best_drafts
from tilewright.tuner.kernel.problem import Floats

FILE = Path(__file__).with_name("ground_truth.json")
EXHAUSTIVE = 300_000
TRIALS, FEWER = 50_000, 8_000
_DRAFTS, _CHANCE, _EXPANDED = 8_000, 4_000, 16
COMMAND = "tune bench search --truth"


@dataclass(frozen=True)
class Truth:
    """The lowest latency known of a task: whether it is proven, and from how many simulations.

    `made_for` is the digest of the target and of the toolchain under which it holds.
    """

    latency_us: float
    exhaustive: bool
    trials: int
    made_for: str = ""


def load_truth() -> dict[str, Truth]:
    """From `task/chip` to its Truth, `chip` one of nominal and skewed; stale ones included."""
    if not FILE.exists():
        return {}
    entries = json.loads(FILE.read_text(encoding="utf-8"))["optima"]
    return {key: Truth(**entry) for key, entry in entries.items()}


def valid_for(case: Case) -> str:
    """What a Truth about `case` must have been made for."""
    return digest_of([case.task().target.digest, TOOLCHAIN])[:16]


def truth_of(case: Case, chip: str) -> Truth:
    """The case's Truth; where target or toolchain have changed since it was found, one from FEWER trials."""
    truth = load_truth().get(f"{case.key}/{chip}")
    if truth is not None and truth.made_for == valid_for(case):
        return truth
    return find_optimum(case_arena(case, nominal=chip == "nominal"), FEWER)


def make_truth(say: Callable[[str], None] = print, only: str = "", trials: int = TRIALS) -> dict[str, Any]:
    """Find the optimum of every case whose key contains `only`, on both chips, and rewrite the file."""
    chosen = [case for case in CASES if only in case.key]
    if not chosen:
        raise UsageError(f"no task is called {only!r}; choose from {', '.join(case.key for case in CASES)}")
    known: dict[str, Truth] = {}
    for case in chosen:
        for chip in ("skewed", "nominal"):
            found = find_optimum(case_arena(case, nominal=chip == "nominal"), trials)
            truth = replace(found, made_for=valid_for(case))
            known = load_truth() | {f"{case.key}/{chip}": truth}
            say(f"{case.key}/{chip}  {truth.latency_us:.4f} us  {truth.trials} trials")
            write_truth(known)
    rows = [{"task": key, **vars(truth)} for key, truth in known.items()]
    return {"bench": "search_truth", "summary": {}, "rows": rows}


def write_truth(known: dict[str, Truth]) -> None:
    """The file, sorted by task."""
    optima = {key: vars(known[key]) for key in sorted(known)}
    FILE.write_text(json.dumps({"command": COMMAND, "optima": optima}, indent=1) + "\n", encoding="utf-8")


def find_optimum(arena: SearchArena, trials: int) -> Truth:
    """Simulate the whole space where it is small enough, else spend `trials` on it."""
    space = arena.problem.space
    rows = enumerate_rows(space) if space.grid_size <= EXHAUSTIVE * trials // TRIALS else None
    if rows is not None:
        return Truth(float(np.nanmin(simulate(arena, rows))), True, len(rows))
    rng = np.random.default_rng(0)
    problem = arena.problem
    assert problem.draft_log is not None, "kernels have drafts"
    assert problem.start is not None, "and a default"
    start = best_drafts(space, problem.draft_log, problem.start, _DRAFTS * trials // TRIALS, rng)
    rows = distinct(np.concatenate([start, sample(space, _CHANCE * trials // TRIALS, rng)]))
    values = simulate(arena, rows)
    expanded: set[int] = set()
    while len(rows) < trials:
        fresh = _around_best(arena, rows, values, expanded, rng)[: trials - len(rows)]
        rows, values = np.concatenate([rows, fresh]), np.concatenate([values, simulate(arena, fresh)])
    return Truth(float(np.nanmin(values)), False, len(rows))


def simulate(arena: SearchArena, rows: Rows) -> Floats:
    """Latencies of rows without remembering each."""
    decode = arena.problem.space.decode
    answers = arena.device.measure(arena.problem.task, [decode(row) for row in rows])
    return np.array([answer.latency_us or np.nan for answer in answers])


def _around_best(
    arena: SearchArena, rows: Rows, values: Floats, expanded: set[int], rng: np.random.Generator
) -> Rows:
    """All one-knob neighbours of the best rows not yet expanded, and as many changed in a few knobs."""
    space, order = arena.problem.space, np.argsort(values, kind="stable")
    keys = row_keys(rows[order[:20_000]])
    chosen = [row for row, key in zip(order, keys, strict=False) if int(key) not in expanded][:_EXPANDED]
    expanded.update(int(key) for key in row_keys(rows[chosen]))
    near = [neighbours(space, row) for row in rows[chosen]]
    elite = rows[order[:256]]
    far = mutate(space, mutate(space, elite[rng.integers(0, len(elite), 256)], rng), rng)
    return distinct(np.concatenate([*near, far]), without=row_keys(rows))
