"""The checker refuses whatever is not exactly a proof."""

from dataclasses import replace

import pytest

from benchmarks.order.mutated_plans import mutated_claims, mutated_searches, mutations, refused
from benchmarks.order.synthetic_graphs import random_graph, transformer_training
from tilewright.compiler_core.errors import CheckError
from tilewright.compiler_core.order.checker import check_plan
from tilewright.compiler_core.order.flat import flatten
from tilewright.compiler_core.order.search import may_search_backward, search
from tilewright.compiler_core.order.solve import solve_peak
from tilewright.compiler_core.order.witness import SetWitness


def test_every_mutation_of_a_set_proof_is_refused() -> None:
    kinds: set[str] = set()
    for graph in (transformer_training(60, heads=2), *map(random_graph, range(50))):
        plan = solve_peak(graph)
        if not isinstance(plan.witness, SetWitness):
            continue
        assert not refused(graph, plan)
        for name, mutation in mutations(graph, plan):
            assert refused(graph, mutation), (graph.name, name)
            kinds.add(name)
    assert len(kinds) >= 20


def test_every_mutation_of_a_search_proof_is_refused() -> None:
    kinds: set[str] = set()
    for graph in map(random_graph, range(50)):
        flat, plan = flatten(graph), solve_peak(graph)
        for way in (1, -1) if may_search_backward(flat) else (1,):
            result = search(flat, plan.peak_bytes - 1, way, 10_000)
            assert result.witness is not None
            proof = replace(plan, witness=result.witness)
            assert not refused(graph, proof)
            for name, other in mutated_searches(result.witness):
                assert refused(graph, replace(proof, witness=other)), (graph.name, name)
                kinds.add(name)
            for name, claim in mutated_claims(proof):
                # An honest lower bound may follow from the same dead ends: that claim is true.
                if claim.status != "open" or plan.peak_bytes == claim.bound_bytes:
                    assert refused(graph, claim), (graph.name, name)
    assert {"another state", "less flow", "move to itself", "nothing"} <= kinds


def test_a_proof_of_another_graph_is_refused() -> None:
    for seed in range(40):
        mine, other = random_graph(seed, 10), random_graph(seed + 1000, 10)
        plan = solve_peak(mine)
        if mine.kernels != other.kernels or solve_peak(other).peak_bytes != plan.peak_bytes:
            assert refused(other, plan)


def test_the_refusal_names_graph_and_reason() -> None:
    graph = random_graph(3)
    plan = solve_peak(graph)
    with pytest.raises(CheckError, match=r"random_3.*the order does not have the claimed peak"):
        check_plan(graph, replace(plan, peak_bytes=plan.peak_bytes + 1))
