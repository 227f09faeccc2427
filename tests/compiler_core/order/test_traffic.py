"""Traffic under a capacity, worked by hand and against its bound."""

import pytest

from benchmarks.synthetic_graphs import random_graph
from compiler_core.errors import UsageError
from compiler_core.order.kernel_graph import KernelGraph, KernelTensor, peak_of
from compiler_core.order.traffic import traffic_bound, traffic_of

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


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="skip: kernel 2 does not fit 8 bytes"):
        traffic_of(SKIP, (0, 1, 2), 8)


def test_the_farthest_use_is_spilled_and_comes_back() -> None:
    tensors = (
        KernelTensor(1, -1, (0,)),
        KernelTensor(4, 0, (1, 3)),
        KernelTensor(6, 1, (2,)),
        KernelTensor(2, 2, (3,)),
        KernelTensor(1, 3, (), True),
    )
    graph = KernelGraph("spill", 4, tensors, (False,) * 4)
    assert peak_of(graph, range(4)) == 12
    traffic = traffic_of(graph, range(4), 10)
    assert (traffic.load_bytes, traffic.store_bytes) == (1 + 4, 4 + 1)


def test_the_bound_counts_what_one_cut_forces_out() -> None:
    tensors = (KernelTensor(5, 0, (2,)), KernelTensor(5, 1, (2,)), KernelTensor(1, 2, (3,)))
    graph = KernelGraph("join", 4, tensors, (False,) * 4)
    assert [traffic_bound(graph, capacity) for capacity in (11, 10, 8)] == [0, 2, 6]


def test_never_below_the_bound_and_compulsory_at_the_peak() -> None:
    forced = 0
    for seed in range(200):
        graph = random_graph(seed)
        order = range(graph.kernels)
        roomy = traffic_of(graph, order, peak_of(graph, order))
        assert roomy.total_bytes == roomy.compulsory_bytes
        capacity = peak_of(graph, order) * 3 // 4
        try:
            tight = traffic_of(graph, order, capacity)
        except UsageError:
            continue
        bound = traffic_bound(graph, capacity)
        assert tight.total_bytes >= bound >= tight.compulsory_bytes
        forced += bound > tight.compulsory_bytes
    assert forced > 0
