"""The figures of the search bench, computed from its rows.

    regret(n)    best after n trials over the optimum, less one
    T(p)         trials until the regret is at most p; a run that never gets there counts with its whole
                 budget, which flatters it
    ratio        our mean T over a peer's on the same tasks and seeds; its interval resamples both

The optimum of a task is the lowest latency known: that of the ground truth, or of any run that went below it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.search.methods import BASELINE, DRAFT, OWN, PEERS

LAYERS = ("vela", "zigzag")
BUDGETS = (16, 32, 64, 128, 256)
REPLAY_BUDGETS = (25, 50, 100, 200, 400)
CLOSE, CLOSER = 0.05, 0.02
RESAMPLED = 2000
KINDS = ("skewed", "nominal", "host")
"""Of tasks: kernels on either kind of chip, and kernels whose rows were measured on a CPU."""
JUDGED = (("skewed", "kernels of skewed chips"), ("host", "kernels on a CPU"))
GOAL_OVER_BEST: Mapping[str, float] = {"skewed": 0.7, "host": 0.5}
"""Our trials over those of the best peer, by kind of task."""
MOST_MS = 10.0
# The best of Kernel Tuner 1.5, Optuna 5.0 and a plain XGBoost loop on two recorded tables, at REPLAY_BUDGETS.
BEST_PEERS: Mapping[str, Sequence[float]] = {
    "convolution_a100": (1.299, 1.191, 1.101, 1.011, 1.000),
    "convolution_w6600": (1.424, 1.248, 1.153, 1.120, 1.058),
}
Row = dict[str, Any]
Floats = npt.NDArray[np.float64]


def kind_of(row: Row) -> str:
    """One of KINDS, or empty for tables and layers of others."""
    parts = row["task"].split("/")
    return next((kind for kind in KINDS if kind in (parts[0], parts[-1])), "")


def regret_at(row: Row, trials: int) -> float:
    """Regret of a run after `trials` of it; infinite before its first success."""
    best = [us for index, us in row["improvements"] if index <= trials]
    return max(0.0, best[-1] / row["optimum_us"] - 1.0) if best else float("inf")


def trials_to(row: Row, regret: float) -> int | None:
    """The first trial at which the regret is at most `regret`; None where it never is."""
    limit = row["optimum_us"] * (1.0 + regret) * (1.0 + 1e-12)
    return next((trial for trial, us in row["improvements"] if us <= limit), None)


def with_best_known(rows: Sequence[Row]) -> list[Row]:
    """The rows with each task's optimum lowered to the best that any of them found."""
    lowest: dict[str, float] = {}
    for row in rows:
        found = row["improvements"][-1][1] if row["improvements"] else float("inf")
        lowest[row["task"]] = min(lowest.get(row["task"], float("inf")), found, row["optimum_us"])
    return [{**row, "optimum_us": lowest[row["task"]]} for row in rows]


def trial_table(rows: Sequence[Row], method: str, regret: float) -> dict[str, Floats]:
    """Per task the trials of each seed of `method`, capped at the budget."""
    table: dict[str, list[float]] = {}
    for row in rows:
        if row["method"] == method:
            needed = trials_to(row, regret)
            table.setdefault(row["task"], []).append(row["budget"] if needed is None else needed)
    return {task: np.array(values, dtype=np.float64) for task, values in table.items()}


def ratio_with_interval(own: Mapping[str, Floats], other: Mapping[str, Floats]) -> tuple[float, float, float]:
    """Mean of `own` over mean of `other`, each task weighing the same, and its 95 % bootstrap interval."""
    tasks = sorted(own.keys() & other.keys())
    rng = np.random.default_rng(0)

    def means(table: Mapping[str, Floats], chosen: npt.NDArray[np.int64]) -> float:
        picked = [table[tasks[index]] for index in chosen]
        return float(np.mean([values[rng.integers(0, len(values), len(values))].mean() for values in picked]))

    ratios = []
    for _ in range(RESAMPLED):
        chosen = rng.integers(0, len(tasks), len(tasks))
        ratios.append(means(own, chosen) / means(other, chosen))
    value = np.mean([own[t].mean() for t in tasks]) / np.mean([other[t].mean() for t in tasks])
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(value), float(low), float(high)


def stronger_form(rows: Sequence[Row], peer: str) -> str:
    """Of a peer as it comes and with our draft, the one with the lower mean T(5%)."""
    forms = [name for name in (peer, peer + DRAFT) if any(row["method"] == name for row in rows)]
    return min(forms, key=lambda name: mean_trials(rows, name, CLOSE), default=peer)


def mean_trials(rows: Sequence[Row], method: str, regret: float) -> float:
    """Mean T over tasks, capped at the budget."""
    table = trial_table(rows, method, regret)
    return float(np.mean([values.mean() for values in table.values()])) if table else float("inf")


def summary_of(rows: Sequence[Row]) -> dict[str, Any]:
    """One figure per question, for every chip kind and every recorded table among the rows."""
    rows = with_best_known(rows)
    figures: dict[str, Any] = {}
    for kind in KINDS:
        part = [row for row in rows if kind_of(row) == kind]
        if part:
            figures |= {f"{kind}/{name}": figure for name, figure in _kernel_figures(part, kind).items()}
    for tool in LAYERS:
        part = [row for row in rows if row["task"].startswith(f"{tool}/")]
        figures |= {f"{tool}/{name}": figure for name, figure in _layer_figures(part).items()}
    for table in sorted({row["task"] for row in rows if "/" not in row["task"]}):
        part = [row for row in rows if row["task"] == table]
        figures |= {f"{table}/{name}": figure for name, figure in _table_figures(part, table).items()}
    return figures


def _kernel_figures(rows: Sequence[Row], kind: str) -> dict[str, Any]:
    judged = kind == "skewed"
    figures: dict[str, Any] = {}
    methods = list(dict.fromkeys(row["method"] for row in rows))
    own = trial_table(rows, OWN, CLOSE)
    rivals = {}
    for peer in PEERS:
        strong = stronger_form(rows, peer)
        for form in (peer, peer + DRAFT):
            if not own or not (other := trial_table(rows, form, CLOSE)):
                continue
            value, low, high = ratio_with_interval(own, other)
            goal = 0.25 if peer == BASELINE and form == strong and judged else None
            figures[f"t5_over/{form}"] = _figure(value, goal, value <= 0.25 and high < 1.0, [low, high])
            if form == strong:
                rivals[form] = value
    others = {form: value for form, value in rivals.items() if form.removesuffix(DRAFT) != BASELINE}
    if others:
        best = max(others, key=lambda form: others[form])
        value, low, high = ratio_with_interval(own, trial_table(rows, best, CLOSE))
        goal = GOAL_OVER_BEST.get(kind)
        met = goal is not None and value <= goal and high < 1.0
        figures["t5_over_best_peer"] = _figure(value, goal, met, [low, high], best)
    for method in methods:
        figures |= _method_figures([row for row in rows if row["method"] == method], method, judged)
    return figures


def _method_figures(rows: Sequence[Row], method: str, judged: bool) -> dict[str, Any]:
    """Regrets, T and proposal time of one method; only ours on skewed chips has goals."""
    ours = judged and method == OWN
    figures = {}
    for budget in BUDGETS:
        if budget <= rows[0]["budget"]:
            regrets = np.array([regret_at(row, budget) for row in rows])
            for name, share, goal in (("median", 0.5, 0.02), ("p95", 0.95, 0.08)):
                value = float(np.quantile(regrets, share, method="inverted_cdf"))
                wanted = goal if ours and budget == 128 else None
                figures[f"{method}/regret_{budget}_{name}"] = _figure(value, wanted, value <= goal)
    for regret, name in ((CLOSE, "t5"), (CLOSER, "t2")):
        needed = [trials_to(row, regret) for row in rows]
        figures[f"{method}/{name}_mean"] = _figure(mean_trials(rows, method, regret))
        figures[f"{method}/{name}_reached"] = _figure(sum(n is not None for n in needed) / len(needed))
    spent = float(np.mean([row["ms_per_trial"] for row in rows]))
    figures[f"{method}/ms_per_trial"] = _figure(spent, MOST_MS if ours else None, spent <= MOST_MS)
    return figures


def _layer_figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Of layers of a tool: trials, the community's score, and our trials over those of each other method.

    Without a draft ours is `no_draft` where that has run.
    """
    figures: dict[str, Any] = {}
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for method in methods:
        part = [row for row in rows if row["method"] == method]
        for regret, name in ((CLOSE, "t5"), (CLOSER, "t2")):
            needed = [trials_to(row, regret) for row in part]
            figures[f"{method}/{name}_mean"] = _figure(mean_trials(part, method, regret))
            figures[f"{method}/{name}_reached"] = _figure(sum(n is not None for n in needed) / len(needed))
        if scores := [row["score"] for row in part if "score" in row]:
            figures[f"{method}/score"] = _figure(float(np.mean(scores)))
        blind = not method.endswith(DRAFT) and "no_draft" in methods and method not in (OWN, "transfer")
        ours = "no_draft" if blind else OWN
        if method != ours and ours in methods:
            value, low, high = ratio_with_interval(
                trial_table(rows, ours, CLOSE), trial_table(rows, method, CLOSE)
            )
            figures[f"t5_over/{method}"] = _figure(value, None, True, [low, high], ours)
    return figures


def _table_figures(rows: Sequence[Row], table: str) -> dict[str, Any]:
    """Mean ratio to the optimum of a recorded table after so many measurements."""
    figures = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        part = [row for row in rows if row["method"] == method]
        for index, budget in enumerate(REPLAY_BUDGETS):
            if budget <= part[0]["budget"]:
                value = 1.0 + float(np.mean([regret_at(row, budget) for row in part]))
                goal = BEST_PEERS.get(table, (None,) * 5)[index] if method == OWN else None
                figures[f"{method}/{budget}"] = _figure(value, goal, goal is not None and value <= goal)
        if scores := [row["score"] for row in part if "score" in row]:
            figures[f"{method}/score"] = _figure(float(np.mean(scores)))
        spent = float(np.mean([row["ms_per_trial"] for row in part]))
        goal_ms = MOST_MS if method == OWN else None
        figures[f"{method}/ms_per_trial"] = _figure(spent, goal_ms, spent <= MOST_MS)
    return figures


def verdict(rows: Sequence[Row]) -> str:
    """What the rows say, in one or two sentences."""
    known = with_best_known(rows)
    kind, where = next((each for each in JUDGED if any(kind_of(row) == each[0] for row in known)), ("", ""))
    rows = [row for row in known if kind and kind_of(row) == kind]
    figures = _kernel_figures(rows, kind) if rows else {}
    if "t5_over_best_peer" not in figures:
        return "No peer ran beside our own search on kernels; nothing to compare."
    best = figures["t5_over_best_peer"]
    low, high = best["interval"]
    sure = "surely fewer" if high < 1.0 else "surely more" if low > 1.0 else "not surely more or fewer"
    kernels = len({row["task"] for row in rows})
    return (
        f"On {kernels} {where} our search needs {best['value']:.2f} times the trials of"
        f" {best['against']}, the strongest peer, to come within 5 % of the optimum (95 % interval {low:.2f}"
        f" to {high:.2f}: {sure})."
    )


def _figure(
    value: float,
    goal: float | None = None,
    ok: bool = True,
    interval: Sequence[float] = (),
    against: str = "",
) -> dict[str, Any]:
    shown: dict[str, Any] = {"value": round(value, 4) if np.isfinite(value) else None, "goal": goal}
    shown["ok"] = True if goal is None else ok
    if interval:
        shown["interval"] = [round(float(end), 4) for end in interval]
    return {**shown, "against": against} if against else shown
