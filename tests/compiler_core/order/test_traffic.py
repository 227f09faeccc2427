"""Traffic under a capacity, worked by hand and against its bound."""

from itertools import combinations, permutations

import numpy as np

from benchmarks.order.synthetic_graphs import random_graph
from benchmarks.order.wide_graphs import per_head_attention, random_wiring
from tilewright.compiler_core.order.kernel_graph import KernelGraph, KernelTensor, peak_of
from tilewright.compiler_core.order.traffic.bound import traffic_bound
from tilewright.compiler_core.order.traffic.count import traffic_of
from tilewright.compiler_core.order.traffic.search import TrafficBudget, least_traffic
from tilewright.compiler_core.order.traffic.walk import traffic_bytes, traffic_graph

SKIP = KernelGraph(
    "skip",
    3,
    (
        KernelTensor(4, -1, (0,)),
        KernelTensor(4, 0, (1, 2)),
        KernelTensor(4, 1, (2,)),
        KernelTensor(4, 2, (), True),
    ),
    (False, False, False),
)


def test_with_room_only_the_compulsory_bytes_move() -> None:
    traffic = traffic_of(SKIP, (0, 1, 2), 12)
    assert (traffic.load_bytes, traffic.store_bytes, traffic.compulsory_bytes) == (4, 4, 8)


def test_what_does_not_fit_is_streamed() -> None:
    """Kernel 1 reads the first value out of the buffer while its result goes to DRAM; kernel 2 reads both."""
    traffic = traffic_of(SKIP, (0, 1, 2), 7)
    assert (traffic.load_bytes, traffic.store_bytes) == (4 + 4, 4 + 4)
    assert traffic.resident_bytes == (4, 4, 4)


def test_nothing_is_resident_without_a_buffer() -> None:
    traffic = traffic_of(SKIP, (0, 1, 2), 0)
    assert (traffic.load_bytes, traffic.store_bytes) == (4 * 4, 3 * 4)


def test_the_farthest_use_is_spilled_and_comes_back() -> None:
    tensors = (
        KernelTensor(1, -1, (0,)),
        KernelTensor(4, 0, (1, 4)),
        KernelTensor(6, 1, (2,)),
        KernelTensor(2, 2, (3,)),
        KernelTensor(1, 3, (4,)),
        KernelTensor(1, 4, (), True),
    )
    graph = KernelGraph("spill", 5, tensors, (False,) * 5)
    assert peak_of(graph, range(5)) == 12
    traffic = traffic_of(graph, range(5), 10)
    assert (traffic.load_bytes, traffic.store_bytes) == (1 + 4, 4 + 1)


def test_the_bound_counts_what_one_cut_forces_out() -> None:
    tensors = (KernelTensor(5, 0, (2,)), KernelTensor(5, 1, (2,)), KernelTensor(1, 2, (3,)))
    graph = KernelGraph("join", 4, tensors, (False,) * 4)
    assert [traffic_bound(graph, capacity) for capacity in (11, 10, 8)] == [0, 2, 6]


def test_moments_of_disjoint_values_add_up() -> None:
    """Two joins one after the other, each 4 bytes too large: both are counted."""
    tensors = (
        KernelTensor(5, 0, (2,)),
        KernelTensor(5, 1, (2,)),
        KernelTensor(1, 2, (3, 4)),
        KernelTensor(5, 3, (5,)),
        KernelTensor(5, 4, (5,)),
        KernelTensor(1, 5, (6,)),
    )
    graph = KernelGraph("joins", 7, tensors, (False,) * 7)
    assert traffic_bound(graph, 7) == 2 * 4 + 2 * 4


def test_never_below_the_bound_and_compulsory_at_the_peak() -> None:
    forced = 0
    for seed in range(200):
        graph = random_graph(seed)
        order = range(graph.kernels)
        peak = peak_of(graph, order)
        roomy = traffic_of(graph, order, peak)
        assert roomy.total_bytes == roomy.compulsory_bytes == traffic_bound(graph, peak)
        for capacity in (peak // 4, peak // 2, peak * 3 // 4):
            tight = traffic_of(graph, order, capacity)
            bound = traffic_bound(graph, capacity)
            assert tight.total_bytes >= bound >= tight.compulsory_bytes
            assert max(tight.resident_bytes) <= capacity
            forced += bound > tight.compulsory_bytes
    assert forced > 0


def test_the_bound_holds_for_every_order_and_residency_of_small_graphs() -> None:
    for seed in range(60):
        graph = random_graph(seed, max_kernels=5)
        capacity = peak_of(graph, range(graph.kernels)) // 2
        bound = traffic_bound(graph, capacity)
        tensors = range(min(6, len(graph.tensors)))
        barred = [s for size in range(3) for s in combinations(tensors, size)]
        for order in permutations(range(graph.kernels)):
            step_of = {kernel: step for step, kernel in enumerate(order)}
            if all(
                step_of[t.producer] < step_of[k]
                for t in graph.tensors
                if t.producer >= 0
                for k in t.consumers
            ):
                assert min(traffic_of(graph, order, capacity, s).total_bytes for s in barred) >= bound


def test_compiled_traffic_is_that_of_the_oracle() -> None:
    rng = np.random.default_rng(0)
    for seed in range(200):
        graph = random_graph(seed, max_kernels=14)
        arrays, order = traffic_graph(graph), np.arange(graph.kernels)
        peak = peak_of(graph, range(graph.kernels))
        for capacity in (0, peak // 4, peak // 2, peak):
            streamed = (rng.random(len(graph.tensors)) < 0.2).astype(np.int8)
            plain = traffic_of(graph, order.tolist(), capacity, np.flatnonzero(streamed).tolist())
            assert traffic_bytes(arrays, order, streamed, capacity) == plain.total_bytes


def test_search_is_never_worse_than_the_given_order_and_says_what_it_found() -> None:
    gained = 0
    for seed in range(40):
        graph = random_graph(seed, max_kernels=12)
        capacity = peak_of(graph, range(graph.kernels)) // 2
        plan = least_traffic(graph, capacity, TrafficBudget(schedules=8, moves=600))
        found = traffic_of(graph, plan.order, capacity, plan.streamed)
        given = traffic_of(graph, range(graph.kernels), capacity)
        assert traffic_bound(graph, capacity) <= found.total_bytes == plan.total_bytes
        assert plan.total_bytes <= plan.given_bytes == given.total_bytes
        gained += plan.total_bytes < plan.given_bytes
    assert gained > 0


def test_search_is_never_worse_than_an_order_known_from_elsewhere() -> None:
    """Without moves of its own, the best of the orders it knows is the answer."""
    budget = TrafficBudget(schedules=0, moves=0)
    better = 0
    for seed in range(12):
        graph = random_graph(seed, max_kernels=12)
        capacity = peak_of(graph, range(graph.kernels)) // 3
        known = [least_traffic(graph, capacity, TrafficBudget(moves=300), each).order for each in range(3)]
        alone = least_traffic(graph, capacity, budget)
        plan = least_traffic(graph, capacity, budget, known=known)
        least = min(traffic_of(graph, order, capacity).total_bytes for order in known)
        assert plan.total_bytes <= min(least, alone.total_bytes)
        better += plan.total_bytes < alone.total_bytes
    assert better


def test_search_repeats() -> None:
    graph = random_wiring(3, kernels=16)
    capacity = peak_of(graph, range(graph.kernels)) // 2
    budget = TrafficBudget(schedules=8, moves=600)
    assert least_traffic(graph, capacity, budget, seed=1) == least_traffic(graph, capacity, budget, seed=1)


def test_heads_run_one_after_the_other() -> None:
    """All scores first, then all of the rest: a quarter of that peak is enough for a third of its traffic."""
    graph = per_head_attention(heads=4, sequence=64, width=32)
    plan = least_traffic(graph, peak_of(graph, range(graph.kernels)) // 4, TrafficBudget(moves=3_000))
    assert plan.saved > 0.6
