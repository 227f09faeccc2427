"""The solver against brute force, the reference tables, its own checker, and plain Python."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.order.brute_force import least_peak
from benchmarks.order.synthetic_graphs import random_graph, transformer_training
from tilewright.compiler_core.order.checker import check_plan
from tilewright.compiler_core.order.flat import flatten
from tilewright.compiler_core.order.kernel_graph import (
    KernelGraph,
    KernelTensor,
    kernel_graph_from_json,
    live_profile,
    peak_of,
)
from tilewright.compiler_core.order.search import DEAD, FOUND, OPEN, may_search_backward, search
from tilewright.compiler_core.order.solve import PeakBudget, solve_peak
from tilewright.compiler_core.order.witness import SearchWitness, Status

REFERENCE = Path(__file__).parents[3].parent / "shared" / "reference" / "order"
FILES = sorted(REFERENCE.glob("*.json"))


@pytest.mark.skipif(not FILES, reason=f"no reference graphs at {REFERENCE}")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_reference_graphs_are_proven(path: Path) -> None:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    graph = kernel_graph_from_json(data)
    assert peak_of(graph, range(graph.kernels)) == data["given_order_peak"]
    plan = solve_peak(graph)
    check_plan(graph, plan)
    assert plan.status == "optimal"
    assert data["proven_bound"] <= plan.peak_bytes <= data["best_peak"]


def test_random_graphs_agree_with_brute_force() -> None:
    for seed in range(250):
        graph = random_graph(seed)
        plan = solve_peak(graph)
        assert plan.status == "optimal"
        assert plan.peak_bytes == plan.bound_bytes == least_peak(graph) == peak_of(graph, plan.order), seed
        check_plan(graph, plan)


def test_search_alone_climbs_to_the_optimum_with_checked_proofs() -> None:
    moves = 0
    for seed in range(120):
        graph = random_graph(seed)
        flat, best, plan = flatten(graph), least_peak(graph), solve_peak(graph)
        for way in (1, -1) if may_search_backward(flat) else (1,):
            limit, outcome = 0, DEAD
            while outcome == DEAD:
                result = search(flat, limit, way, 10_000)
                outcome = result.outcome
                if isinstance(result.witness, SearchWitness):
                    limit = result.next_limit
                    met: Status = "optimal" if limit == best else "open"
                    proof = replace(plan, bound_bytes=limit, witness=result.witness, status=met)
                    check_plan(graph, proof)
                    moves += sum(dead_end.move is not None for dead_end in result.witness.dead_ends)
            assert (outcome, limit) == (FOUND, best), seed
            assert peak_of(graph, result.order.tolist()) == best
    assert moves > 0, "no safe move of several kernels was ever tried"


def test_search_gives_up_when_its_states_are_spent() -> None:
    flat = flatten(transformer_training(400))
    assert search(flat, 0, 1, 5).outcome == DEAD
    tight = solve_peak(transformer_training(400)).peak_bytes - 1
    assert search(flat, tight, 1, 5).outcome == OPEN


def test_synthetic_training_is_certified() -> None:
    graph = transformer_training(5_000)
    plan = solve_peak(graph)
    assert plan.status == "optimal"
    check_plan(graph, plan)


def test_results_repeat_and_stopping_is_said() -> None:
    graph = random_graph(7)
    assert solve_peak(graph) == solve_peak(graph)
    stopped = solve_peak(transformer_training(400), stop=lambda: True)
    assert stopped.status == "stopped"
    check_plan(transformer_training(400), stopped)


def test_without_search_the_gap_is_stated() -> None:
    needs_search = next(
        graph
        for graph in map(random_graph, range(500))
        if isinstance(solve_peak(graph).witness, SearchWitness)
    )
    plan = solve_peak(needs_search, PeakBudget(search_states=0))
    assert plan.status == "open"
    assert plan.gap > 1.0
    check_plan(needs_search, plan)


def test_textbook_six_kernels() -> None:
    """The example of the tour in the docs: results of kernels 2 and 5 are large, and never alive together."""
    tensors = (
        KernelTensor(1, 0, (1, 3)),
        KernelTensor(8, 1, (2,)),
        KernelTensor(1, 2, (5,)),
        KernelTensor(1, 3, (4,)),
        KernelTensor(8, 4, (5,)),
        KernelTensor(1, 5, (), True),
    )
    graph = KernelGraph("textbook", 6, tensors, (False,) * 6)
    plan = solve_peak(graph)
    assert live_profile(graph, (0, 1, 2, 3, 4, 5)) == (1, 9, 10, 3, 10, 10)
    assert live_profile(graph, (0, 1, 3, 4, 2, 5)) == (1, 9, 10, 17, 17, 10)
    assert (plan.order, plan.status) == ((0, 1, 2, 3, 4, 5), "optimal")
    assert plan.peak_bytes == plan.bound_bytes == 10
    check_plan(graph, plan)


def test_edges_of_the_definition() -> None:
    for graph in (
        KernelGraph("empty", 0, (KernelTensor(5, -1, ()),), ()),
        KernelGraph("silent", 2, (), (False, True)),
        KernelGraph("weightless", 2, (KernelTensor(0, 0, (1,)),), (False, True)),
    ):
        plan = solve_peak(graph)
        assert (plan.status, plan.peak_bytes) == ("optimal", least_peak(graph))
        check_plan(graph, plan)
