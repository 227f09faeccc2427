"""The order bench: peak memory, proof, check and arena on reference graphs and on synthetic ones."""

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.synthetic_graphs import transformer_training
from compiler_core.allocate import allocate
from compiler_core.order.checker import check_plan
from compiler_core.order.kernel_graph import KernelGraph, kernel_graph_from_json, peak_of
from compiler_core.order.solve import solve_peak

SECONDS_PER_GRAPH = 5.0
SECONDS_AT_50000 = 10.0


def bench_order(reference: Path, quick: bool = False) -> dict[str, Any]:
    """Solves every graph under `reference`/order and the synthetic ones; `quick` leaves out the largest.

    Seconds are CPU time of this process, code compiled beforehand. A plan that the checker refuses raises.
    """
    solve_peak(transformer_training(400))
    allocate(transformer_training(400), range(transformer_training(400).kernels))
    rows = []
    for path in sorted((reference / "order").glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        published = {"best_peak": int(data["best_peak"]), "published": str(data["status"])}
        rows.append(_row(kernel_graph_from_json(data)) | published)
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
    return {"bench": "order", "summary": summary, "rows": rows + synthetic}


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
    print(
        *(f"{value:>12}" if isinstance(value, int | float) else value for value in row.values()), flush=True
    )
    return row
