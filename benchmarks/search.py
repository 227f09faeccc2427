"""The search bench on recorded tables: best found over optimum after so many measurements, and its peers.

A Config counts when it satisfies the constraints and was not asked before; failures on the device count.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna

from cost_model.residual import TaskRecords
from measure.replay import ReplayDevice, SpaceTask, load_t4
from search_space.space import Space
from search_space.t1 import load_t1
from tuner.kernel_search import SamplerFactory, SearchResult, SearchSettings, search_kernel
from tuner.problem import Problem
from tuner.run_model import RunModel
from tuner.stopping import StopRule

BUDGETS = (25, 50, 100, 200, 400)
SEEDS = 20
# Kernel Tuner 1.5, Optuna 5.0 and a plain XGBoost loop on the two recorded convolution tables: column minima.
BEST_PEERS = {
    "convolution_a100": (1.299, 1.191, 1.101, 1.011, 1.000),
    "convolution_w6600": (1.424, 1.248, 1.153, 1.120, 1.058),
}
Curve = npt.NDArray[np.float64]


def bench_search(
    replay: Sequence[Path],
    space: Path,
    quick: bool = False,
    seed: int = 0,
    seeds: int = SEEDS,
    methods: Sequence[str] = ("tilewright", "polish", "prior", "random"),
) -> dict[str, Any]:
    """Search every T4 table of `replay` in the T1 space of `space`; `quick` takes three seeds and 100 trials.

    Rows are keyed (task, method, seed) and hold the ratio at each budget; CPU milliseconds per trial include
    the model's refits. Method `prior` learns from the other tables and is left out where there is only one.
    """
    tuned = load_t1(space)
    tables = {table.name: table for table in (load_t4(path, tuned) for path in replay)}
    budgets = [budget for budget in BUDGETS if not quick or budget <= 100]
    rows = []
    for name, table in tables.items():
        others = [other for other in tables.values() if other is not table]
        for method in methods:
            if method == "prior" and not others:
                continue
            for number in range(seed, seed + (3 if quick else seeds)):
                start = time.thread_time()
                result = _run(tuned, table, others, method, number, budgets[-1])
                spent = (time.thread_time() - start) / len(result.trials) * 1e3
                ratios = _curve(result, budgets[-1]) / table.optimum_us
                at = {str(budget): round(float(ratios[budget - 1]), 4) for budget in budgets}
                key = {"task": name, "method": method, "seed": number}
                rows.append(key | {"ratio": at, "ms_per_trial": spent})
    return {"bench": "search", "summary": _summary(rows, budgets), "rows": rows}


def _run(
    space: Space, table: ReplayDevice, others: Sequence[ReplayDevice], method: str, seed: int, budget: int
) -> SearchResult:
    problem, run = Problem(SpaceTask(space), space), f"bench/{seed}"
    model, settings = RunModel(run), SearchSettings()
    sampler: SamplerFactory | None = _SAMPLERS.get(method)
    if method == "polish":
        settings = replace(settings, propose=replace(settings.propose, polish_share=0.25))
    if method == "prior":
        model.set_prior(problem, tuple(_records(problem, other) for other in others))
    return search_kernel(
        problem, table, run, StopRule(budget), model=model, settings=settings, sampler=sampler
    )


def _records(problem: Problem, table: ReplayDevice) -> TaskRecords:
    rows = problem.whole
    assert rows is not None
    answers = table.measure(problem.task, [problem.space.decode(row) for row in rows])
    logs = np.log([answer.latency_us or np.nan for answer in answers])
    return TaskRecords(table.name, problem.feature_function(rows), np.zeros(len(rows)), logs)


def _curve(result: SearchResult, budget: int) -> Curve:
    """Best latency so far after each trial, microseconds [budget]; an exhausted space keeps its last."""
    latencies = [trial.measurement.latency_us or np.inf for trial in result.trials]
    best = np.minimum.accumulate(np.array(latencies))
    return np.concatenate([best, np.full(budget - len(best), best[-1])])


def _summary(rows: Sequence[dict[str, Any]], budgets: Sequence[int]) -> dict[str, Any]:
    """One figure per task, method and budget: the mean ratio. Our own has a goal where peers are known."""
    figures = {}
    for task, method in dict.fromkeys((row["task"], row["method"]) for row in rows):
        chosen = [row for row in rows if (row["task"], row["method"]) == (task, method)]
        for at, budget in enumerate(budgets):
            value = float(np.mean([row["ratio"][str(budget)] for row in chosen]))
            goal = BEST_PEERS.get(task, (None,) * 5)[at] if method == "tilewright" else None
            ok = None if goal is None else value <= goal
            figures[f"{task}/{method}/{budget}"] = {"value": round(value, 4), "goal": goal, "ok": ok}
        spent = float(np.mean([row["ms_per_trial"] for row in chosen]))
        goal_ms = 10.0 if method == "tilewright" else None
        ok = None if goal_ms is None else spent <= goal_ms
        figures[f"{task}/{method}/ms_per_trial"] = {"value": round(spent, 2), "goal": goal_ms, "ok": ok}
    return figures


_SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True),
    "nsga": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replay", type=Path, action="append", required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--method", action="append")
    given = parser.parse_args()
    chosen = given.method or ("tilewright", "polish", "prior", "random")
    outcome = bench_search(given.replay, given.space, given.quick, given.seed, given.seeds, chosen)
    json.dump(outcome, sys.stdout, indent=1)
