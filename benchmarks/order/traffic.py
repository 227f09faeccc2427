"""DRAM bytes saved by order and residency under a limited buffer: the traffic rows of `tune bench order`."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.order.wide_graphs import (
    amoebanet_cells,
    dense_block,
    nested_unet,
    per_head_attention,
    random_wiring,
)
from tilewright.compiler_core.order.kernel_graph import KernelGraph, peak_of
from tilewright.compiler_core.order.traffic.bound import traffic_bound
from tilewright.compiler_core.order.traffic.search import TrafficBudget, least_traffic

SHARES = (25, 50, 75)
"""Capacities in % of the peak of the graph's own order."""
GOALS = {"per_head_attention": 0.60, "randwire": 0.30}
"""Share of the own order's DRAM bytes that is to be saved, over all graphs and capacities of a family."""
QUICK = TrafficBudget(moves=10_000)


def families() -> dict[str, tuple[KernelGraph, ...]]:
    """The graphs by family, from shapes alone."""
    return {
        "per_head_attention": (per_head_attention(), per_head_attention(12, 512, 768)),
        "randwire": (random_wiring(0), random_wiring(1), random_wiring(2, kernels=64)),
        "amoebanet": (amoebanet_cells(3), amoebanet_cells(6)),
        "densenet": (dense_block(16), dense_block(24)),
        "unetpp": (nested_unet(3), nested_unet(4)),
    }


def traffic_rows(budget: TrafficBudget, seed: int = 0) -> Iterator[dict[str, Any]]:
    """A row per graph and capacity: bytes of the own order, of the order found, and the certified bound."""
    for family, graphs in families().items():
        for graph in graphs:
            peak_bytes = peak_of(graph, range(graph.kernels))
            for share in SHARES:
                capacity_bytes = peak_bytes * share // 100
                plan = least_traffic(graph, capacity_bytes, budget, seed)
                bound_bytes = traffic_bound(graph, capacity_bytes)
                yield {
                    "graph": graph.name,
                    "family": family,
                    "capacity": share,
                    "given_bytes": plan.given_bytes,
                    "found_bytes": plan.total_bytes,
                    "bound_bytes": bound_bytes,
                    "saved": round(plan.saved, 4),
                    "gap": round(plan.total_bytes / bound_bytes, 3),
                }


def saved_by_family(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """One less the geometric mean of found over given bytes, per family."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        ratios.setdefault(row["family"], []).append(row["found_bytes"] / row["given_bytes"])
    return {name: round(float(1 - np.exp(np.mean(np.log(each)))), 4) for name, each in ratios.items()}
