"""Offsets: no overlap, in-place results on their operands, and no larger than need be."""

from itertools import combinations

from benchmarks.order.synthetic_graphs import random_graph, transformer_training
from tilewright.compiler_core.lowering.memory.allocate import AllocationBudget, Arena, allocate
from tilewright.compiler_core.order.kernel_graph import KernelGraph, KernelTensor, peak_of
from tilewright.compiler_core.order.solve import solve_peak


def overlaps(arena: Arena) -> bool:
    spans = [s for block in arena.blocks for s in block.spans if s.bytes and s.first_step <= s.last_step]
    return any(
        a.first_step <= b.last_step
        and b.first_step <= a.last_step
        and arena.offsets[a.tensor] < arena.offsets[b.tensor] + b.bytes
        and arena.offsets[b.tensor] < arena.offsets[a.tensor] + a.bytes
        for a, b in combinations(spans, 2)
    )


def test_random_orders_fit_without_overlap() -> None:
    equal = 0
    for seed in range(200):
        graph = random_graph(seed)
        arena = allocate(graph, range(graph.kernels))
        assert arena.live_bytes == peak_of(graph, range(graph.kernels))
        assert arena.arena_bytes >= arena.live_bytes
        assert not overlaps(arena)
        equal += arena.gap_bytes == 0
    assert equal >= 190


def test_training_step_meets_its_live_maximum() -> None:
    graph = transformer_training(1_000)
    arena = allocate(graph, solve_peak(graph).order)
    assert arena.gap_bytes == 0
    assert not overlaps(arena)


def test_in_place_results_lie_on_their_operand_one_after_the_other() -> None:
    tensors = (
        KernelTensor(10, -1, (0,)),
        KernelTensor(4, 0, (1,)),
        KernelTensor(6, 0, (1,)),
        KernelTensor(1, 1, (), True),
    )
    arena = allocate(KernelGraph("split", 2, tensors, (True, False)), (0, 1))
    assert arena.arena_bytes == 11
    assert arena.offsets[1] == arena.offsets[0]
    assert arena.offsets[2] == arena.offsets[0] + 4


def test_exhaustive_search_finds_what_greedy_misses() -> None:
    missed = 0
    for seed in range(300):
        graph = random_graph(seed, 14)
        order = range(graph.kernels)
        greedy = allocate(graph, order, AllocationBudget(climbs=0, nodes=0))
        exact = allocate(graph, order, AllocationBudget(climbs=0, nodes=50_000))
        assert exact.arena_bytes <= greedy.arena_bytes
        assert not overlaps(exact)
        assert greedy.gap_bytes == greedy.arena_bytes - greedy.live_bytes
        missed += exact.arena_bytes < greedy.arena_bytes
    assert missed > 0


def test_same_seed_same_offsets() -> None:
    graph = random_graph(11, 14)
    assert allocate(graph, range(graph.kernels)) == allocate(graph, range(graph.kernels))
