"""The joint bench: whole networks tuned with fusion, tiles and budget decided together, beside simpler ways.

    joint        groups by price, planned anew three times from what was measured, and groups side by side on
                 cores of their own where that is faster (what `tune run` does)
    staged       groups settled first (elementwise epilogues only), then tiles, in the same budget
    drafts_only  groups settled first, by drafts, then tiles
    own_forms    joint, but every op stays in the form it was imported in
    gradient, round_robin   joint, but the budget goes where MetaSchedule's gradient says, or to all in turn

Everything is measured on the simulator in this process; figures are of whole Programs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, log
from pathlib import Path
from typing import Any

from benchmarks.journal import Journal
from benchmarks.networks.files import Network, light_networks, load_bound, networks_of
from benchmarks.networks.form_examples import EXAMPLES
from benchmarks.networks.schedulers import gradient, round_robin
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import (
    Plan,
    compile_graph,
    default_schedule,
    plan_graph,
    schedule_of,
)
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.cost_model.network_bound import network_bound_cycles
from tilewright.measure.farm.pool import SerialPool
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.measure.simulator.program import simulate_program
from tilewright.search_space.codec import tiling_of
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.stopping import StopRule
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.events import Event, Measured
from tilewright.tuner.network.scheduler import Choose, next_task
from tilewright.tuner.network.search import REPLANS, BudgetPolicy, NetworkSearch
from tilewright.tuner.planning.graph_knobs import GraphKnobs
from tilewright.tuner.planning.planner import Planner
from tilewright.tuner.planning.prices import Prices, draft_us
from tilewright.tuner.planning.side_by_side import PartPrices, Tried, share_cores

BUDGET = 512
TARGET = "ascend910"
LIGHT = ("light_resnet50", "light_inception_v1", "light_squeezenet")
SCHEDULED = ("light_resnet50", "timm_mobilenetv3_small", "randwire_ws32")
EXAMPLE_BUDGET = 64
SEEDS = 5
KEY = ("network", "target", "method", "seed", "budget")


@dataclass(frozen=True)
class Method:
    """One way to tune a network."""

    fuses: bool = True
    forms: bool = True
    shares: bool = True
    replans: tuple[float, ...] = REPLANS
    choose: Choose = next_task


METHODS: Mapping[str, Method] = {
    "joint": Method(),
    "staged": Method(fuses=False, shares=False),
    "own_forms": Method(forms=False),
    "drafts_only": Method(replans=(), shares=False),
    "gradient": Method(choose=gradient),
    "round_robin": Method(choose=round_robin),
}


def bench_joint(
    folder: Path | None = None,
    *,
    quick: bool = False,
    seed: int = 0,
    budget: int = BUDGET,
    journal: Path | None = None,
) -> dict[str, Any]:
    """Tune every network of `folder` and some of the onnx package with every method; rows resume."""
    target = load_target(TARGET)
    kept = Journal(journal, {"target_digest": target.digest}, KEY)
    networks = [network for network in light_networks() if network.path.stem in LIGHT[: 1 if quick else None]]
    if folder is not None and not quick:
        networks += networks_of(folder)
    budget = min(budget, 128) if quick else budget
    rows = []
    for network in networks:
        name = network.path.stem
        wanted = [(method, seed) for method in ("joint", "staged", "drafts_only")]
        if name in SCHEDULED:
            seeds = range(seed, seed + (1 if quick else SEEDS))
            wanted += [(method, s) for s in seeds for method in ("joint", "gradient", "round_robin")]
        rows += _rows(name, partial(_graph, network), target, list(dict.fromkeys(wanted)), budget, kept)
    for name, made in EXAMPLES.items():
        ways = [(method, seed) for method in ("joint", "staged", "own_forms")]
        rows += _rows(name, made, target, ways, min(budget, EXAMPLE_BUDGET), kept)
    return {
        "bench": "joint",
        "target_digest": target.digest,
        "summary": _summary(rows),
        "rows": rows,
    }


def _graph(network: Network) -> Graph:
    return load_bound(network).graph


def _rows(
    name: str,
    made: Callable[[], Graph],
    target: Target,
    wanted: Sequence[tuple[str, int]],
    budget: int,
    kept: Journal,
) -> list[dict[str, Any]]:
    rows = []
    graph: Graph | None = None
    for method, seed in wanted:
        key = {
            "network": name,
            "target": target.name,
            "method": method,
            "seed": seed,
            "budget": budget,
        }
        row = kept.row(key)
        if row is None:
            graph = graph or made()
            row = key | tuned(graph, target, METHODS[method], seed, budget)
            kept.add(row)
        print(
            f"{row['network']:28s} {method:12s} seed {seed}  default {row['default_us']:10.2f} us"
            f"  tuned {row['tuned_us']:10.2f}  bound {row['bound_us']:10.2f}  gap {row['gap']:6.2f}"
            f"  kernels {row['kernels']:4d}  {row['seconds']:6.1f} s",
            flush=True,
        )
        rows.append(row)
    return rows


def tuned(graph: Graph, target: Target, method: Method, seed: int, budget: int) -> dict[str, Any]:
    """One network tuned by one method: latencies of whole Programs, and how they came down.

    `curve` pairs trials with the sum of the best kernels, from when all kernels of the plan are measured.
    """
    begin = time.process_time()
    base = plan_graph(graph, target)
    knobs = GraphKnobs() if method.forms else GraphKnobs().without_forms()
    planner = Planner(base, target, Prices(target, seed), fuses=method.fuses, knobs=knobs)
    search = NetworkSearch(
        planner, f"seed {seed}", budget, SearchSettings(), policy=BudgetPolicy(method.choose, method.replans)
    )
    curve: list[tuple[int, float]] = []

    def watch(event: Event) -> None:
        if not isinstance(event, Measured) or not search.is_measured:
            return
        if not curve or event.sum_us < curve[-1][1]:
            curve.append((event.trials, event.sum_us))

    reason = search.run(
        SerialPool(SimulatedDevice(target)),
        StopRule(max_trials=budget),
        lambda task, trials: None,
        listener=watch,
        clock=time.monotonic,
        cancelled=lambda: False,
    )
    default = simulate_program(
        compile_graph(graph, default_schedule(base, target), target, base), graph, target
    ).latency_us
    found = min(default, *(_whole_us(search, planner, plan, target) for plan in search.plans))
    shared, stages = (
        _side_by_side(search, planner, target) if method.shares else (None, len(search.plan.groups))
    )
    found = min(found, shared or found)
    bound = network_bound_cycles(graph, target) / target.cycles_per_us
    return {
        "default_us": default,
        "tuned_us": found,
        "bound_us": bound,
        "gap": found / bound,
        "kernels": len(search.plan.groups),
        "stages": stages,
        "plans": len(search.plans),
        "trials": search.trials,
        "stop_reason": str(reason),
        "curve": curve,
        "seconds": time.process_time() - begin,
    }


def _whole_us(search: NetworkSearch, planner: Planner, plan: Plan, target: Target) -> float:
    """The simulated latency of a plan with every kernel at its best, or at its guess."""
    chosen = {
        task.digest: tiling_of(_tried(search, planner, task)[0][1], task.regions)
        for task in planner.tasks_of(plan)
    }
    program = compile_graph(plan.graph, schedule_of(plan, chosen), target, plan)
    return simulate_program(program, plan.graph, target).latency_us


def _side_by_side(search: NetworkSearch, planner: Planner, target: Target) -> tuple[float | None, int]:
    """The simulated latency of the last plan with groups side by side, if any promise to gain; its stages."""
    plan = search.plan
    tasks = {task.digest: task for task in planner.tasks_of(plan)}
    tried = {digest: _tried(search, planner, task) for digest, task in tasks.items()}
    shared = share_cores(plan, PartPrices(target, tasks, tried))
    if shared is None:
        return None, len(plan.stages)
    chosen = {digest: tiling_of(tried[digest][0][1], task.regions) for digest, task in tasks.items()}
    beside = {
        co_placement: tiling_of(config, plan.regions[co_placement.digest])
        for co_placement, (_, config) in shared.co_placements.items()
    }
    program = compile_graph(plan.graph, schedule_of(shared.plan, chosen, beside), target, shared.plan)
    return simulate_program(program, plan.graph, target).latency_us, len(shared.plan.stages)


def _tried(search: NetworkSearch, planner: Planner, task: KernelTask) -> Tried:
    """Measured Configs of a kernel, best first, or its guess."""
    ranked = [(m.latency_us, config) for config, m in search.ranked(task.digest) if m.latency_us is not None]
    if ranked:
        return ranked
    priced = planner.prices.kernels.get(task.digest)
    guess = priced.guess if priced is not None and priced.guess is not None else task.default
    return [(draft_us(task, guess), guess)]


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    at = {(row["network"], row["method"], row["seed"]): row for row in rows}
    first = min((row["seed"] for row in rows), default=0)
    pairs = [
        (at[name, "joint", first]["tuned_us"], at[name, "staged", first]["tuned_us"])
        for name in dict.fromkeys(row["network"] for row in rows)
        if name not in EXAMPLES
    ]
    examples = [
        at[name, "joint", first]["tuned_us"] / at[name, "own_forms", first]["tuned_us"] for name in EXAMPLES
    ]
    ratios = [joint / staged for joint, staged in pairs]
    figures = {
        "joint_never_worse_than_staged": _figure(
            sum(ratio <= 1.0 for ratio in ratios), len(ratios), least=True
        ),
        "joint_over_staged_geomean": _figure(_geomean(ratios), 0.95, least=False),
        "examples_over_own_forms": _figure(max(examples), 1.0, least=False),
    }
    for peer, goal in (("gradient", 0.8), ("round_robin", 0.6)):
        shares = [
            share
            for (name, method, seed), row in at.items()
            if method == peer and (share := _trial_share(at[name, "joint", seed], row)) is not None
        ]
        figures[f"trials_over_{peer}"] = _figure(_geomean(shares), goal, least=False)
    return figures


def _trial_share(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float | None:
    """Trials we needed over trials they needed to the worse of the two final latencies."""
    if not ours["curve"] or not theirs["curve"]:
        return None
    reached = max(ours["curve"][-1][1], theirs["curve"][-1][1])
    needed = [
        next(trials for trials, us in row["curve"] if us <= reached * (1 + 1e-9)) for row in (ours, theirs)
    ]
    return float(needed[0] / needed[1])


def _geomean(ratios: Sequence[float]) -> float:
    return exp(sum(map(log, ratios)) / len(ratios)) if ratios else float("nan")


def _figure(value: float, goal: float, *, least: bool) -> dict[str, Any]:
    return {"value": value, "goal": goal, "ok": value >= goal if least else value <= goal}
