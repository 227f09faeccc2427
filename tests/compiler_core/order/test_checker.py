"""The checker refuses whatever is not exactly a proof."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.synthetic_graphs import random_graph, transformer_training
from compiler_core.errors import CheckError
from compiler_core.order.checker import check_plan
from compiler_core.order.flat import flatten
from compiler_core.order.kernel_graph import KernelGraph
from compiler_core.order.search import may_search_backward, search
from compiler_core.order.solve import solve_peak
from compiler_core.order.witness import DeadEnd, Flow, PeakPlan, SearchWitness, SetWitness


def mutated_claims(plan: PeakPlan) -> Iterator[tuple[str, PeakPlan]]:
    order = plan.order
    yield "peak + 1", replace(plan, peak_bytes=plan.peak_bytes + 1)
    yield "peak - 1", replace(plan, peak_bytes=plan.peak_bytes - 1, bound_bytes=plan.bound_bytes - 1)
    yield "bound above peak", replace(plan, bound_bytes=plan.peak_bytes + 1)
    yield "bound - 1", replace(plan, bound_bytes=plan.bound_bytes - 1)
    yield "bound - 1, said to be open", replace(plan, bound_bytes=plan.bound_bytes - 1, status="open")
    yield "status", replace(plan, status="open" if plan.status == "optimal" else "optimal")
    yield "kernel left out", replace(plan, order=order[:-1])
    yield "kernel twice", replace(plan, order=(*order, order[0]))
    if len(order) > 1:
        yield "kernel for another", replace(plan, order=(order[1], *order[1:]))


def mutated_orders(graph: KernelGraph, plan: PeakPlan) -> Iterator[tuple[str, PeakPlan]]:
    place = {kernel: i for i, kernel in enumerate(plan.order)}
    for tensor in graph.tensors:
        for reader in tensor.consumers[:1]:
            if tensor.producer >= 0:
                swapped = list(plan.order)
                i, j = place[tensor.producer], place[reader]
                swapped[i], swapped[j] = swapped[j], swapped[i]
                yield "reader before producer", replace(plan, order=tuple(swapped))


def mutated_flow(flow: Flow) -> Iterator[tuple[str, Flow]]:
    for i, (tensor, tail, tip, amount) in enumerate(flow.rows):
        rest = (flow.rows[:i], flow.rows[i + 1 :])
        for name, row in (
            ("more flow", (tensor, tail, tip, amount + 1)),
            ("less flow", (tensor, tail, tip, amount - 1)),
            ("back flow", (tensor, tail, tip, -amount)),
            ("other tail", (tensor, tail + 1, tip, amount)),
            ("no such tensor", (10**6, tail, tip, amount)),
            ("no such kernel", (tensor, tail, 10**6, amount)),
        ):
            yield name, replace(flow, rows=(*rest[0], row, *rest[1]))
        yield "row left out", replace(flow, rows=rest[0] + rest[1])
        yield "row twice", replace(flow, rows=(*flow.rows, flow.rows[i]))
    yield "other kernel", replace(flow, kernel=flow.kernel + 1)


def mutated_sets(witness: SetWitness) -> Iterator[tuple[str, SetWitness]]:
    for i, flow in enumerate(witness.flows):
        yield "flow left out", replace(witness, flows=witness.flows[:i] + witness.flows[i + 1 :])
        yield "flow twice", replace(witness, flows=(*witness.flows, flow))
        for name, other in mutated_flow(flow):
            yield name, replace(witness, flows=(*witness.flows[:i], other, *witness.flows[i + 1 :]))
        members = tuple(kernel for kernel in witness.kernels if kernel != flow.kernel)
        yield "head left out", replace(witness, kernels=members)
    yield "empty", replace(witness, kernels=(), flows=())
    yield "no such member", replace(witness, kernels=(*witness.kernels, 10**6))
    yield "member twice", replace(witness, kernels=(*witness.kernels, witness.kernels[-1]))


def mutated_searches(witness: SearchWitness) -> Iterator[tuple[str, SearchWitness]]:
    ends = witness.dead_ends
    for i, end in enumerate(ends):
        yield "dead end left out", replace(witness, dead_ends=ends[:i] + ends[i + 1 :])
        yield "dead end twice", replace(witness, dead_ends=(*ends, end))
        for bit in (0, end.state.bit_length()):
            changed = DeadEnd(end.state ^ 1 << bit, end.move)
            yield "another state", replace(witness, dead_ends=(*ends[:i], changed, *ends[i + 1 :]))
        if end.move is not None:
            for name, flow in mutated_flow(Flow(0, end.move.rows)):
                if name != "other kernel":
                    move = DeadEnd(end.state, replace(end.move, rows=flow.rows))
                    yield name, replace(witness, dead_ends=(*ends[:i], move, *ends[i + 1 :]))
            still = DeadEnd(end.state, replace(end.move, state=end.state))
            yield "move to itself", replace(witness, dead_ends=(*ends[:i], still, *ends[i + 1 :]))
    yield "nothing", replace(witness, dead_ends=())


def refused(graph: KernelGraph, plan: PeakPlan) -> bool:
    try:
        check_plan(graph, plan)
    except CheckError:
        return True
    return False


def test_every_mutation_of_a_set_proof_is_refused() -> None:
    kinds: set[str] = set()
    for graph in (transformer_training(60, heads=2), *map(random_graph, range(150))):
        plan = solve_peak(graph)
        if not isinstance(plan.witness, SetWitness):
            continue
        assert not refused(graph, plan)
        mutations = [*mutated_claims(plan), *mutated_orders(graph, plan)]
        mutations += [(name, replace(plan, witness=other)) for name, other in mutated_sets(plan.witness)]
        for name, mutation in mutations:
            assert refused(graph, mutation), (graph.name, name)
            kinds.add(name)
    assert len(kinds) >= 20


def test_every_mutation_of_a_search_proof_is_refused() -> None:
    kinds: set[str] = set()
    for graph in map(random_graph, range(150)):
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
