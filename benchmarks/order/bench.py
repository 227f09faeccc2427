"""The order bench: peak, proof, check, arena and traffic on reference, published and synthetic graphs."""

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.order.brute_force import least_peak
from benchmarks.order.mutated_plans import mutations, refused
from benchmarks.order.published_orders import published_graphs, published_row
from benchmarks.order.synthetic_graphs import random_graph, transformer_training
from benchmarks.order.traffic import GOALS, QUICK, saved_by_family, traffic_rows
from tilewright.compiler_core.lowering.memory.allocate import allocate
from tilewright.compiler_core.order.checker import check_plan
from tilewright.compiler_core.order.kernel_graph import KernelGraph, kernel_graph_from_json, peak_of
from tilewright.compiler_core.order.solve import solve_peak
from tilewright.compiler_core.order.traffic.search import TrafficBudget

SECONDS_PER_GRAPH = 5.0
SECONDS_AT_50000 = 10.0
RANDOM_GRAPHS = 1000


def bench_order(reference: Path, quick: bool = False) -> dict[str, Any]:
    """Solves every graph under `reference`/order and the synthetic ones; `quick` leaves out the largest.

    Seconds are CPU time of this process, code compiled beforehand. A plan that the checker refuses raises.
    """
    solve_peak(transformer_training(400))
    allocate(transformer_training(400), range(transformer_training(400).kernels))
    rows = []
    for path in sorted((reference / "order").glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        best_known = {"best_peak": int(data["best_peak"]), "published": str(data["status"])}
        rows.append(_row(kernel_graph_from_json(data)) | best_known)
    synthetic = [_row(transformer_training(size)) for size in ((10_000,) if quick else (10_000, 50_000))]
    optimal = [row for row in rows if row["published"] == "optimal"]
    still_open = [row for row in rows if row["published"] != "optimal"]
    proven = [r for r in optimal if r["status"] == "optimal" and r["peak_bytes"] == r["best_peak"]]
    summary = {
        "optimal_proven": _figure(len(proven), len(optimal)),
        "slowest_s": _figure(max((r["seconds"] for r in rows), default=0.0), SECONDS_PER_GRAPH, least=False),
        "open_no_worse": _figure(sum(r["peak_bytes"] <= r["best_peak"] for r in still_open), len(still_open)),
        "synthetic_certified": _figure(sum(r["status"] == "optimal" for r in synthetic), len(synthetic)),
        "synthetic_s": _figure(max(r["seconds"] for r in synthetic), SECONDS_AT_50000, least=False),
        "arena_equal": _figure(
            sum(r["arena_gap_bytes"] == 0 for r in rows + synthetic), len(rows + synthetic)
        ),
    }
    published = [_shown(published_row(graph)) for graph in published_graphs()]
    traffic = [_shown(row) for row in traffic_rows(QUICK if quick else TrafficBudget())]
    saved = saved_by_family(traffic)
    summary |= _random_graphs(RANDOM_GRAPHS // 10 if quick else RANDOM_GRAPHS)
    summary |= {
        "published_at_bound": _figure(sum(row["met"] for row in published), len(published)),
        "traffic_never_worse": _figure(
            sum(row["found_bytes"] <= row["given_bytes"] for row in traffic), len(traffic)
        ),
        **{f"traffic_saved_{name}": _figure(saved[name], GOALS.get(name, 0.0)) for name in saved},
    }
    return {"bench": "order", "summary": summary, "rows": rows + synthetic + published + traffic}


def _random_graphs(count: int) -> dict[str, Any]:
    """Random DAGs of up to 10 kernels: agreement with brute force, and mutated proofs that are refused."""
    agree = caught = tried = 0
    for seed in range(count):
        graph = random_graph(seed)
        plan = solve_peak(graph)
        check_plan(graph, plan)
        agree += plan.peak_bytes == plan.bound_bytes == least_peak(graph)
        verdicts = [refused(graph, mutation) for _, mutation in mutations(graph, plan)]
        caught, tried = caught + sum(verdicts), tried + len(verdicts)
    return {"brute_force_agrees": _figure(agree, count), "mutations_refused": _figure(caught, tried)}


def _figure(value: float, goal: float, least: bool = True) -> dict[str, Any]:
    return {"value": value, "goal": goal, "ok": value >= goal if least else value <= goal}


def _row(graph: KernelGraph) -> dict[str, Any]:
    """Solve, check, allocate; printed as it comes."""
    begin = time.process_time()
    plan = solve_peak(graph)
    seconds = time.process_time() - begin
    check_plan(graph, plan)
    arena = allocate(graph, plan.order)
    row = {
        "graph": graph.name,
        "kernels": graph.kernels,
        "given_peak_bytes": peak_of(graph, range(graph.kernels)),
        "peak_bytes": plan.peak_bytes,
        "bound_bytes": plan.bound_bytes,
        "status": plan.status,
        "witness": type(plan.witness).__name__,
        "seconds": round(seconds, 3),
        "arena_gap_bytes": arena.gap_bytes,
    }
    return _shown(row)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """`row`, printed as it comes."""
    print(
        *(f"{value:>12}" if isinstance(value, int | float) else value for value in row.values()), flush=True
    )
    return row
