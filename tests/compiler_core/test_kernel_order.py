"""Groups to kernel graph and back: sizes, who may run in place, and orders that run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.onnx_models import model, node, reals, saved, small_cnn, value
from tests.property.random_graphs import graphs
from tests.targets import small_target
from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.kernel_order import (
    crossing_of,
    in_order,
    least_peak,
    order_groups,
    spilled_bytes,
)
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.order.checker import check_plan
from tilewright.compiler_core.order.kernel_graph import KernelGraph, peak_of
from tilewright.compiler_core.order.witness import PeakPlan
from tilewright.compiler_core.transforms.fuse import FusionPolicy, Group, group_greedily


def imported(made: Any, folder: Path) -> tuple[Graph, tuple[Group, ...]]:
    graph = import_model(saved(made, folder)).graph
    return graph, group_greedily(graph, FusionPolicy())


def in_place_by_result(graph: Graph, groups: tuple[Group, ...]) -> dict[str, bool]:
    crossing = crossing_of(graph, groups)
    return {
        graph.name_of(crossing.values[results[0]]): flag
        for results, flag in zip(crossing.kernels.results, crossing.kernels.in_place, strict=True)
    }


def require_proven(kernels: KernelGraph, plan: PeakPlan) -> None:
    check_plan(kernels, plan)
    assert plan.peak_bytes == peak_of(kernels, plan.order) <= peak_of(kernels, range(kernels.kernels))


def two_branches(branches: int = 2) -> Any:
    """Wide values made first, narrowed later: depth first, one wide value is alive instead of all."""
    wide = {f"w{i}": reals(i, 64, 4, 1, 1) for i in range(branches)}
    narrow = {f"n{i}": reals(9 + i, 4, 64, 1, 1) for i in range(branches)}
    nodes = [
        *(node("Conv", f"x w{i}", f"a{i}") for i in range(branches)),
        *(node("Conv", f"a{i} n{i}", f"b{i}") for i in range(branches)),
        node("Concat", " ".join(f"b{i}" for i in range(branches)), "y", axis=1),
    ]
    return model(nodes, [value("x", [1, 4, 8, 8])], ["y"], wide | narrow)


def test_depth_first_is_found_and_proven(tmp_path: Path) -> None:
    graph, groups = imported(two_branches(), tmp_path)
    kernels = crossing_of(graph, groups).kernels
    plan = least_peak(kernels)
    x, wide, narrow = 4 * 64 * 4, 64 * 64 * 4, 4 * 64 * 4
    assert peak_of(kernels, range(5)) == x + 2 * wide
    assert (plan.peak_bytes, plan.bound_bytes, plan.status) == (
        x + wide + narrow,
        x + wide + narrow,
        "optimal",
    )
    require_proven(kernels, plan)
    ordered = in_order(groups, plan.order)
    seen = set(graph.inputs) | set(graph.constants)
    for group in ordered:
        for index in group:
            assert all(access.value in seen for access in graph.ops[index].operands)
            seen.add(graph.ops[index].result)
    assert set(ordered) == set(groups)


def test_the_given_order_stays_where_none_is_better(tmp_path: Path) -> None:
    graph, groups = imported(small_cnn(), tmp_path)
    kernels = crossing_of(graph, groups).kernels
    plan = least_peak(kernels)
    assert plan.order == tuple(range(kernels.kernels))
    require_proven(kernels, plan)


def test_sizes_are_those_of_the_target_or_of_the_model(tmp_path: Path) -> None:
    graph, groups = imported(small_cnn(), tmp_path)
    own, stored = crossing_of(graph, groups), crossing_of(graph, groups, small_target())
    assert own.values == stored.values
    assert not set(own.values) & set(graph.constants)
    for value_, tensor, half in zip(own.values, own.kernels.tensors, stored.kernels.tensors, strict=True):
        assert tensor.bytes == 4 * graph.elements(value_) == 2 * half.bytes
        assert tensor.is_output == (value_ in graph.outputs)


def test_an_epilogue_overwrites_what_it_reads_point_by_point(tmp_path: Path) -> None:
    """The sum may take the place of the residual `x`, never of an operand that a window reads, `r`."""
    constants = {"w1": reals(1, 2, 8, 1, 1), "w2": reals(2, 8, 2, 1, 1), "w3": reals(3, 8, 8, 3, 3)}
    nodes = [
        node("Conv", "x w1", "m"),
        node("Conv", "m w2", "c"),
        node("Add", "c x", "s"),
        node("Relu", "s", "r"),
        node("Conv", "r w3", "d", pads=[1, 1, 1, 1]),
        node("Add", "d r", "e"),
        node("GlobalMaxPool", "e", "y"),
    ]
    made = model(nodes, [value("x", [1, 8, 6, 6])], ["y"], constants)
    assert in_place_by_result(*imported(made, tmp_path)) == {"m": False, "r": True, "e": False, "y": False}


def test_a_kernel_that_stores_two_values_is_not_in_place(tmp_path: Path) -> None:
    made = model([node("Relu", "x", "a"), node("Sigmoid", "a", "b")], [value("x", [4, 4])], ["a", "b"])
    graph, _ = imported(made, tmp_path)
    crossing = crossing_of(graph, (tuple(range(len(graph.ops))),))
    assert crossing.kernels.in_place == (False,)
    assert len(crossing.kernels.results[0]) == 2


def test_an_order_names_every_group_once() -> None:
    assert in_order(((0,), (1,), (2,)), (2, 0, 1)) == ((2,), (0,), (1,))
    for order in ((0, 1), (0, 1, 1), (0, 1, 3)):
        with pytest.raises(UsageError, match="each once"):
            in_order(((0,), (1,), (2,)), order)


def test_groups_that_read_what_comes_later_are_refused(tmp_path: Path) -> None:
    graph, groups = imported(small_cnn(), tmp_path)
    with pytest.raises(ModelError, match="after its producer"):
        crossing_of(graph, tuple(reversed(groups)))


@given(graphs(most_steps=10))
def test_every_network_gets_a_proven_order(drawn: tuple[Graph, dict[int, np.ndarray[Any, Any]]]) -> None:
    graph, _ = drawn
    groups = group_greedily(graph, FusionPolicy())
    kernels = crossing_of(graph, groups).kernels
    require_proven(kernels, least_peak(kernels))


@given(graphs(most_steps=10), st.integers(0, 2**31))
def test_what_is_overwritten_is_needed_at_its_own_point_only(
    drawn: tuple[Graph, dict[int, np.ndarray[Any, Any]]], seed: int
) -> None:
    """Another number in one element of the operand reaches that element of the result, and no other."""
    graph, data = drawn
    groups = group_greedily(graph, FusionPolicy())
    crossing = crossing_of(graph, groups)
    known = interpret(graph, data)
    rng = np.random.default_rng(seed)
    for kernel, group in enumerate(groups):
        for tensor in crossing.kernels.overwritable(kernel):
            operand, result = crossing.values[tensor], graph.ops[max(group)].result
            ops = tuple(graph.ops[index] for index in group)
            outer = {a.value for op in ops for a in op.operands} - {op.result for op in ops}
            alone = replace(graph, ops=ops, inputs=tuple(sorted(outer - set(graph.constants))))
            at = tuple(int(rng.integers(extent)) for extent in graph.shape(operand))
            changed = known[operand].copy()
            changed[at] += 3
            other = interpret(alone, {**{v: known[v] for v in alone.inputs}, operand: changed})[result]
            same = np.isclose(other, known[result], rtol=0, atol=0, equal_nan=True)
            same[at] = True
            assert same.all()


def test_groups_in_the_order_of_least_traffic(tmp_path: Path) -> None:
    """Three wide values at once do not fit 12 KiB of an LLB of 16; one after the other they do."""
    graph, groups = imported(two_branches(3), tmp_path)
    target = small_target()
    tight = replace(target, llb=replace(target.llb, kib=16))
    ordered = order_groups(graph, groups, tight)
    assert sorted(ordered) == sorted(groups)
    assert spilled_bytes(graph, ordered, tight) == 0 < spilled_bytes(graph, groups, tight)


def test_groups_stay_in_order_where_nothing_spills(tmp_path: Path) -> None:
    graph, groups = imported(two_branches(3), tmp_path)
    assert order_groups(graph, groups, small_target()) == groups


@given(graphs(), st.integers(1, 64))
def test_groups_never_spill_more_than_in_the_given_order(
    drawn: tuple[Graph, dict[int, np.ndarray[Any, Any]]], kib: int
) -> None:
    graph, _ = drawn
    groups = group_greedily(graph, FusionPolicy())
    target = small_target()
    tight = replace(target, llb=replace(target.llb, kib=kib))
    ordered = order_groups(graph, groups, tight)
    assert spilled_bytes(graph, ordered, tight) <= spilled_bytes(graph, groups, tight)
