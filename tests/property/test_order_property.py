"""Laws of ordering and allocation over random kernel graphs."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.order.synthetic_graphs import random_graph
from tilewright.compiler_core.lowering.memory.allocate import allocate
from tilewright.compiler_core.order.bounds import cut_bound
from tilewright.compiler_core.order.checker import check_plan
from tilewright.compiler_core.order.flat import flatten
from tilewright.compiler_core.order.flow import UNLIMITED, min_cut
from tilewright.compiler_core.order.kernel_graph import KernelGraph, peak_of
from tilewright.compiler_core.order.portfolio import ListWeights, list_order
from tilewright.compiler_core.order.solve import solve_peak

graphs = st.integers(0, 10**6).map(lambda seed: random_graph(seed, 14))
weights = st.builds(ListWeights, *[st.floats(-1, 1) for _ in range(6)], backward=st.booleans())


@given(graph=graphs, weights=weights)
def test_no_list_schedule_beats_the_proven_peak(graph: KernelGraph, weights: ListWeights) -> None:
    plan = solve_peak(graph)
    check_plan(graph, plan)
    order = list_order(flatten(graph), weights).tolist()
    assert peak_of(graph, order) >= plan.peak_bytes == plan.bound_bytes
    assert allocate(graph, order).live_bytes == peak_of(graph, order)


@given(graph=graphs)
def test_a_larger_tensor_never_lowers_the_peak(graph: KernelGraph) -> None:
    if graph.tensors and not any(graph.in_place):
        larger = (replace(graph.tensors[0], bytes=graph.tensors[0].bytes + 5), *graph.tensors[1:])
        assert solve_peak(replace(graph, tensors=larger)).peak_bytes >= solve_peak(graph).peak_bytes


@given(graph=graphs)
def test_compiled_and_plain_cuts_agree(graph: KernelGraph) -> None:
    flat = flatten(graph)
    plain: Any = min_cut
    side = np.zeros(graph.kernels, dtype=np.int8)
    value, least, rows = min_cut(flat, side, UNLIMITED)
    plain_value, plain_least, plain_rows = plain.py_func(flat, side, UNLIMITED)
    assert value == plain_value
    assert np.array_equal(least, plain_least)
    assert np.array_equal(rows, plain_rows)
    assert cut_bound(flat, np.arange(graph.kernels)).bytes <= solve_peak(graph).peak_bytes
