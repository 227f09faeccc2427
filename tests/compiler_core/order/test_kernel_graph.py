"""What an order costs, worked by hand."""

import pytest

from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.order.kernel_graph import (
    KernelGraph,
    KernelTensor,
    kernel_graph_from_json,
    live_profile,
    peak_of,
)


def test_profile_of_a_diamond_by_hand() -> None:
    graph = KernelGraph(
        "diamond",
        3,
        (
            KernelTensor(10, -1, (0, 1)),
            KernelTensor(4, 0, (2,)),
            KernelTensor(5, 1, (2,)),
            KernelTensor(1, 2, (), is_output=True),
        ),
        (False, False, False),
    )
    assert live_profile(graph, (0, 1, 2)) == (14, 19, 10)
    assert live_profile(graph, (1, 0, 2)) == (15, 19, 10)
    assert peak_of(graph, (0, 1, 2)) == 19


def test_in_place_needs_the_last_reader_and_room() -> None:
    def graph(result: int) -> KernelGraph:
        tensors = (KernelTensor(8, -1, (0, 1)), KernelTensor(result, 0, ()), KernelTensor(2, 1, (), True))
        return KernelGraph("two readers", 2, tensors, (True, False))

    assert live_profile(graph(8), (0, 1)) == (16, 10), "kernel 1 still reads the operand"
    assert live_profile(graph(8), (1, 0)) == (10, 10), "now kernel 0 is its last reader"
    assert live_profile(graph(9), (1, 0)) == (10, 19), "the operand is too small"


def test_unread_inputs_stay_and_unread_results_vanish() -> None:
    tensors = (KernelTensor(7, -1, ()), KernelTensor(3, 0, ()), KernelTensor(2, 1, ()))
    assert live_profile(KernelGraph("dead", 2, tensors, (False, False)), (0, 1)) == (10, 9)


def test_no_kernels_cost_their_inputs() -> None:
    assert peak_of(KernelGraph("empty", 0, (KernelTensor(5, -1, ()),), ()), ()) == 5


@pytest.mark.parametrize("order", [(0, 0), (0,), (1, 0)])
def test_orders_that_do_not_run_are_refused(order: tuple[int, ...]) -> None:
    graph = KernelGraph("chain", 2, (KernelTensor(1, 0, (1,)),), (False, False))
    with pytest.raises(UsageError, match="chain"):
        live_profile(graph, order)


@pytest.mark.parametrize(
    "tensor",
    [
        KernelTensor(-1, 0, (1,)),
        KernelTensor(1, 1, (0,)),
        KernelTensor(1, 0, (2,)),
        KernelTensor(1, 0, (1, 1)),
    ],
)
def test_contradictory_graphs_are_refused(tensor: KernelTensor) -> None:
    with pytest.raises(ModelError, match="tensor 0"):
        KernelGraph("bad", 2, (tensor,), (False, False))


def test_a_file_without_its_keys_is_refused() -> None:
    with pytest.raises(ModelError, match="nodes"):
        kernel_graph_from_json({"name": "x"})
