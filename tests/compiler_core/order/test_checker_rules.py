"""Each sentence of the checker, at small graphs: what it computes, and what it must refuse."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from benchmarks.order.mutated_plans import mutations, refused
from benchmarks.order.synthetic_graphs import random_graph
from tilewright.compiler_core.errors import CheckError, UsageError
from tilewright.compiler_core.order.checker import _Checker, check_plan
from tilewright.compiler_core.order.kernel_graph import KernelGraph, KernelTensor, live_profile, peak_of
from tilewright.compiler_core.order.witness import (
    DeadEnd,
    Flow,
    PeakPlan,
    SafeMove,
    SearchWitness,
    SetWitness,
)

GRAPHS = [random_graph(seed, 5) for seed in range(24)]


def down_sets(graph: KernelGraph) -> dict[int, tuple[int, ...]]:
    """Every down-set as a bit mask, with one order that ends in it."""
    needs = [
        {tensor.producer for tensor in graph.tensors if kernel in tensor.consumers and tensor.producer >= 0}
        for kernel in range(graph.kernels)
    ]
    found: dict[int, tuple[int, ...]] = {0: ()}
    waiting = [0]
    while waiting:
        state = waiting.pop()
        for kernel in set(range(graph.kernels)) - set(found[state]):
            after = state | 1 << kernel
            if needs[kernel] <= set(found[state]) and after not in found:
                found[after] = (*found[state], kernel)
                waiting.append(after)
    return found


@pytest.mark.parametrize("graph", GRAPHS[:12], ids=lambda graph: graph.name)
def test_an_order_costs_what_the_definition_says(graph: KernelGraph) -> None:
    checker = _Checker(graph)
    for order in permutations(range(graph.kernels)):
        try:
            expected = peak_of(graph, order)
        except UsageError:
            with pytest.raises(CheckError, match="runs before one it needs"):
                checker.peak(order)
        else:
            assert checker.peak(order) == expected
    for order in (*range(graph.kernels), 0), tuple(range(1, graph.kernels)):
        with pytest.raises(CheckError, match="no permutation"):
            checker.peak(order)


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_states_cost_what_the_definition_says(graph: KernelGraph) -> None:
    """One more kernel that writes nothing and reads nothing shows what is live in a state."""
    checker, states = _Checker(graph), down_sets(graph)
    probe = KernelGraph("probe", graph.kernels + 1, graph.tensors, (*graph.in_place, False))
    for state, order in states.items():
        rest = [kernel for kernel in range(graph.kernels) if kernel not in order]
        # What stays to the end although nobody reads it is part of a state too.
        live = live_profile(probe, (*order, graph.kernels, *rest))[len(order)]
        assert checker._live(state) == live
        assert checker._kernels(state) == set(order)
        ahead = [kernel for kernel in rest if state | 1 << kernel in states]
        behind = [kernel for kernel in sorted(order) if state ^ 1 << kernel in states]
        assert checker._movable(state, True) == ahead
        assert checker._movable(state, False) == behind
        for kernel in ahead:
            after = [other for other in rest if other != kernel]
            need = live_profile(graph, (*order, kernel, *after))[len(order)]
            assert checker._need(state, kernel, True) == need
            assert checker._need(state | 1 << kernel, kernel, False) == need


@pytest.mark.parametrize(("result", "peak"), [(7, 8), (8, 8), (9, 17)])
def test_a_kernel_runs_in_place_where_there_is_room(result: int, peak: int) -> None:
    tensors = (KernelTensor(8, -1, (0,)), KernelTensor(result, 0, (), is_output=True))
    checker = _Checker(KernelGraph("one", 1, tensors, (True,)))
    assert checker.peak((0,)) == peak
    assert checker._need(0, 0, True) == checker._need(1, 0, False) == peak


def test_a_graph_output_is_never_overwritten() -> None:
    tensors = (KernelTensor(8, 0, (1,), is_output=True), KernelTensor(8, 1, (), is_output=True))
    checker = _Checker(KernelGraph("two", 2, tensors, (False, True)))
    assert checker.peak((0, 1)) == 16
    assert checker._need(1, 1, True) == checker._need(3, 1, False) == 16


DIAMOND = KernelGraph(
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
"""No order stays below 19 bytes: the later of kernels 0 and 1 runs beside the other's result."""
DETOUR = KernelGraph(
    "detour",
    3,
    (
        KernelTensor(10, -1, (0,)),
        KernelTensor(12, 0, (1,)),
        KernelTensor(3, 1, (), is_output=True),
        KernelTensor(5, -1, (2,)),
        KernelTensor(20, 2, (), is_output=True),
    ),
    (False, False, False),
)
"""Kernels 0 and 1 leave less than was there before, so they run first; kernel 2 then takes 28 bytes."""
CHAIN = KernelGraph(
    "chain",
    3,
    (
        KernelTensor(5, -1, (0,)),
        KernelTensor(7, 0, (1,)),
        KernelTensor(6, 1, (2,)),
        KernelTensor(2, 2, (), is_output=True),
    ),
    (False, False, False),
)
IN_PLACE = replace(CHAIN, in_place=(False, False, True))
END = SetWitness("last", (0, 1, 2), (Flow(2, ((2, 1, 2, 6),)),))
BEGIN = SetWitness("first", (1, 2), (Flow(1, ((1, 0, 1, 7),)),))
FAR = SetWitness("first", (2,), (Flow(2, ((1, 0, 1, 7), (2, 1, 2, 6))),))
LAST = SetWitness(
    "last", (0, 1), (Flow(0, ((0, -1, 0, 10), (2, 1, 2, 5))), Flow(1, ((0, -1, 1, 10), (1, 0, 2, 4))))
)
FIRST = SetWitness("first", (0, 1), (Flow(0, ((0, -1, 1, 10),)), Flow(1, ((0, -1, 1, 9),))))
FORWARD = SearchWitness("forward", tuple(DeadEnd(state, None) for state in (0, 1, 2)))
BACKWARD = SearchWitness("backward", (DeadEnd(7, None), DeadEnd(3, None)))
SAFE_ROWS = ((0, -1, 0, 3), (1, 0, 1, 3), (2, 1, -1, 3), (3, -1, 2, 5))
SAFE = SearchWitness("forward", (DeadEnd(0, SafeMove(3, SAFE_ROWS)), DeadEnd(3, None)))
ORDER = (0, 1, 2)
PROOFS = {
    "last": (DIAMOND, PeakPlan(ORDER, 19, 19, LAST, "optimal")),
    "first": (DIAMOND, PeakPlan(ORDER, 19, 14, FIRST, "open")),
    "end": (CHAIN, PeakPlan(ORDER, 13, 8, END, "open")),
    "begin": (CHAIN, PeakPlan(ORDER, 13, 13, BEGIN, "optimal")),
    "in place": (IN_PLACE, PeakPlan(ORDER, 13, 6, END, "open")),
    "forward": (DIAMOND, PeakPlan(ORDER, 19, 19, FORWARD, "optimal")),
    "backward": (DIAMOND, PeakPlan(ORDER, 19, 19, BACKWARD, "optimal")),
    "safe move": (DETOUR, PeakPlan(ORDER, 28, 28, SAFE, "optimal")),
}


@pytest.mark.parametrize("name", PROOFS)
def test_a_proof_by_hand_holds_and_no_change_to_it_does(name: str) -> None:
    graph, plan = PROOFS[name]
    check_plan(graph, plan)
    for change, other in mutations(graph, plan):
        assert refused(graph, other), change


def test_what_is_led_to_by_several_steps_counts() -> None:
    check_plan(CHAIN, PeakPlan(ORDER, 13, 8, FAR, "open"))


@pytest.mark.parametrize(
    ("name", "changes", "complaint"),
    [
        ("last", {"peak_bytes": 20}, "does not have the claimed peak"),
        ("last", {"bound_bytes": 20}, "the bound exceeds the peak"),
        ("last", {"status": "open"}, "status open contradicts"),
        ("first", {"status": "optimal"}, "status optimal contradicts"),
        ("last", {"witness": replace(LAST, kernels=(1, 0))}, "not in ascending order"),
        ("last", {"witness": replace(LAST, kernels=(0, 0, 1))}, "not in ascending order"),
        ("last", {"witness": SetWitness("last", (), ())}, "the set is empty"),
        ("last", {"witness": replace(LAST, kernels=(0, 1, 3))}, "not of kernels"),
        ("last", {"witness": replace(LAST, kernels=(-1, 0, 1))}, "not of kernels"),
        ("last", {"witness": replace(LAST, flows=LAST.flows[::-1])}, "not those of the set"),
        ("last", {"bound_bytes": 18, "status": "open"}, "the flow of kernel 0 misses the bound"),
        ("first", {"bound_bytes": 3, "witness": SetWitness("first", (0,), (Flow(0, ()),))}, "more than"),
        ("forward", {"witness": replace(FORWARD, dead_ends=FORWARD.dead_ends[:2])}, "out of the dead ends"),
        ("forward", {"witness": replace(FORWARD, dead_ends=FORWARD.dead_ends[1:])}, "not led to"),
        ("forward", {"witness": replace(FORWARD, dead_ends=FORWARD.dead_ends * 2)}, "listed twice"),
    ],
)
def test_each_refusal_names_its_reason(name: str, changes: dict[str, Any], complaint: str) -> None:
    graph, plan = PROOFS[name]
    with pytest.raises(CheckError, match=complaint):
        check_plan(graph, replace(plan, **changes))


@pytest.mark.parametrize(
    ("state", "rows", "complaint"),
    [
        (0, (), "does not go on"),
        (3, SAFE_ROWS[:3], "not safe"),
        (7, (), "not safe"),
    ],
)
def test_a_safe_move_goes_on_and_shows_what_is_live(state: int, rows: Any, complaint: str) -> None:
    graph, plan = PROOFS["safe move"]
    moved = SearchWitness("forward", (DeadEnd(0, SafeMove(state, rows)), DeadEnd(state, None)))
    with pytest.raises(CheckError, match=complaint if state else r"listed twice|does not go on"):
        check_plan(graph, replace(plan, witness=moved))


def test_the_goal_is_no_dead_end() -> None:
    """A graph whose only order fits below the bound: a false proof ends at the goal."""
    chain = KernelGraph("chain", 1, (KernelTensor(2, 0, (), is_output=True),), (False,))
    for way, state in ("forward", 1), ("backward", 0):
        begin = DeadEnd(1 - state, None)
        proof = SearchWitness(way, (begin, DeadEnd(state, None)))  # type: ignore[arg-type]
        with pytest.raises(CheckError, match=r"not led to|is the goal"):
            _Checker(chain).search_witness(proof, 3)


ROWS: list[tuple[Any, set[int], set[int], Any]] = [
    ((), set(), set(), 0),
    (((0, -1, 0, 10),), set(), {0}, 10),
    (((0, -1, 0, 10),), {0}, set(), 0),
    (((0, -1, 0, 6), (0, -1, 1, 4)), set(), {0, 1}, 10),
    (((0, -1, 0, 4), (1, 0, 2, 4)), set(), {2}, 4),
    (((3, 2, -1, 1),), {2}, set(), 1),
    (((1, 0, 2, 4), (-1, 2, 1, 4)), {0}, {1}, 4),
    (((1, 0, 2, 4), (-1, 2, 1, 3)), {0}, {1, 2}, 4),
    (((-1, 2, 1, 3),), {1}, {2}, -3),
    (((-1, 2, 1, 3),), {2}, {1}, 3),
    (((0, -1, 0, 0),), set(), {0}, "an empty or a double row"),
    (((0, -1, 0, 1), (0, -1, 0, 1)), set(), {0}, "an empty or a double row"),
    (((0, -1, 0, 6), (0, -1, 1, 5)), set(), {0, 1}, "exceeds a tensor's bytes"),
    (((-2, 2, 1, 3),), {2}, {1}, "names no tensor"),
    (((-1, 3, 1, 3),), set(), set(), "names no tensor"),
    (((-1, -1, 1, 3),), set(), {1}, "names no tensor"),
    (((4, 2, -1, 1),), {2}, set(), "names no tensor"),
    (((-1, 1, 2, 3),), {2}, {1}, "along no precedence"),
    (((-1, 0, 1, 3),), {0}, {1}, "along no precedence"),
    (((3, 2, 0, 1),), {2}, {0}, "strays from its tensor"),
    (((0, 0, 1, 3),), {0}, {1}, "strays from its tensor"),
    (((0, -1, 2, 3),), set(), {2}, "strays from its tensor"),
    (((0, -1, -1, 3),), set(), set(), "strays from its tensor"),
    (((1, 0, -1, 3),), {0}, set(), "strays from its tensor"),
    (((0, -1, 0, 3),), set(), set(), "lost or made at a kernel"),
    (((1, 0, 2, 3),), set(), {2}, "lost or made at a kernel"),
]


@pytest.mark.parametrize(("rows", "inside", "outside", "expected"), ROWS)
def test_a_flow_carries_what_leaves_the_set(
    rows: Any, inside: set[int], outside: set[int], expected: int | str
) -> None:
    checker = _Checker(DIAMOND)
    if isinstance(expected, int):
        assert checker.flow_bytes(rows, inside, outside) == expected
    else:
        with pytest.raises(CheckError, match=expected):
            checker.flow_bytes(rows, inside, outside)


def test_an_input_that_nobody_reads_carries_flow_to_the_end() -> None:
    checker = _Checker(KernelGraph("kept", 1, (KernelTensor(5, -1, ()), KernelTensor(5, 0, ())), (False,)))
    assert checker.flow_bytes(((0, -1, -1, 5),), set(), set()) == 5
    with pytest.raises(CheckError, match="strays from its tensor"):
        checker.flow_bytes(((1, 0, -1, 5),), {0}, set())


def test_no_way_back_where_a_place_depends_on_the_order() -> None:
    """Kernel 0 may overwrite what kernel 1 reads too."""
    tensors = (KernelTensor(8, -1, (0, 1)), KernelTensor(8, 0, (), True), KernelTensor(2, 1, (), True))
    shared = KernelGraph("shared", 2, tensors, (True, False))
    backward = SearchWitness("backward", (DeadEnd(3, None),))
    with pytest.raises(CheckError, match="no move back is safe"):
        _Checker(shared).search_witness(backward, 1)
    alone = KernelGraph("alone", 2, (KernelTensor(8, -1, (0,)), *tensors[1:]), (True, False))
    _Checker(alone).search_witness(backward, 10)


def test_nothing_is_witnessed_without_kernels() -> None:
    empty = KernelGraph("empty", 0, (KernelTensor(5, -1, ()),), ())
    plan = PeakPlan((), 5, 5, SetWitness("last", (), ()), "optimal")
    check_plan(empty, plan)
    for other in (
        replace(plan, witness=SetWitness("first", (), ())),
        replace(plan, bound_bytes=4, status="open"),
    ):
        with pytest.raises(CheckError, match="nothing to witness"):
            check_plan(empty, other)


BACK = KernelGraph(
    "back",
    3,
    (
        KernelTensor(20, -1, (0,)),
        KernelTensor(5, 0, (), is_output=True),
        KernelTensor(3, -1, (1,)),
        KernelTensor(12, 1, (2,)),
        KernelTensor(10, 2, (), is_output=True),
    ),
    (False, False, False),
)
"""The detour backward in time: from the end, kernels 2 and 1 are taken back before kernel 0."""
BACK_ROWS = ((2, -1, 1, 3), (3, 1, 2, 3), (4, 2, -1, 3), (1, 0, -1, 5))


def test_a_safe_move_may_go_back() -> None:
    proof = SearchWitness("backward", (DeadEnd(7, SafeMove(1, BACK_ROWS)), DeadEnd(1, None)))
    plan = PeakPlan(ORDER, 28, 28, proof, "optimal")
    check_plan(BACK, plan)
    for change, other in mutations(BACK, plan):
        assert refused(BACK, other), change


def test_a_safe_move_neither_stays_nor_returns() -> None:
    stays = SearchWitness("forward", (DeadEnd(0, SafeMove(0, ())),))
    returns = SearchWitness("forward", (DeadEnd(0, SafeMove(3, SAFE_ROWS)), DeadEnd(3, SafeMove(0, ()))))
    for proof in (stays, returns):
        with pytest.raises(CheckError, match="does not go on"):
            _Checker(DETOUR).search_witness(proof, 28)


@pytest.mark.parametrize(
    ("state", "complaint"), [(7, "is the goal"), (15, "is no down-set"), (-1, "is no down-set")]
)
def test_a_safe_move_leads_to_no_goal_and_to_no_other_place(state: int, complaint: str) -> None:
    rows = ((0, -1, 0, 2), (1, 0, 1, 2), (2, 1, 2, 2), (3, 2, -1, 2))
    proof = SearchWitness("forward", (DeadEnd(0, SafeMove(state, rows)), DeadEnd(state, None)))
    with pytest.raises(CheckError, match=complaint):
        _Checker(CHAIN).search_witness(proof, 13)


def test_a_safe_move_back_leads_to_no_goal() -> None:
    sizes = {0: 2, 1: 6, 2: 7, 3: 5}
    tensors = tuple(replace(each, bytes=sizes[index]) for index, each in enumerate(CHAIN.tensors))
    rows = ((0, -1, 0, 2), (1, 0, 1, 2), (2, 1, 2, 2), (3, 2, -1, 2))
    proof = SearchWitness("backward", (DeadEnd(7, SafeMove(0, rows)), DeadEnd(0, None)))
    with pytest.raises(CheckError, match="is the goal"):
        _Checker(replace(CHAIN, tensors=tensors)).search_witness(proof, 13)


def test_rows_of_a_flow_may_come_in_any_order() -> None:
    assert _Checker(DIAMOND).flow_bytes(((1, 0, 2, 4), (0, -1, 0, 4)), set(), {2}) == 4


def test_forward_a_place_may_depend_on_the_order_and_backward_one_settled_operand_is_enough() -> None:
    tensors = (KernelTensor(8, -1, (0, 1)), KernelTensor(8, 0, (), True), KernelTensor(2, 1, (), True))
    shared = KernelGraph("shared", 2, tensors, (True, False))
    _Checker(shared).search_witness(SearchWitness("forward", (DeadEnd(0, None),)), 10)
    settled = KernelGraph("settled", 2, (*tensors, KernelTensor(8, -1, (0,))), (True, False))
    _Checker(settled).search_witness(SearchWitness("backward", (DeadEnd(3, None),)), 18)


def test_a_state_is_closed_by_moves_that_end_no_higher_and_fit() -> None:
    def falling(*sizes: int) -> _Checker:
        tensors = [KernelTensor(size, index - 1, (index,)) for index, size in enumerate(sizes)]
        tensors[-1] = replace(tensors[-1], consumers=(), is_output=True)
        kernels = len(sizes) - 1
        return _Checker(KernelGraph("falling", kernels, tuple(tensors), (False,) * kernels))

    assert falling(5, 4, 3, 2)._close(0, True, 20) == 7
    assert falling(5, 5, 6)._close(0, True, 20) == 1
    assert falling(5, 4, 3)._close(0, True, 9) == 0
    assert falling(5, 4, 3)._close(0, True, 10) == 3
    assert falling(2, 3, 4, 5)._close(7, False, 20) == 0
    assert falling(2, 3, 4, 5)._close(7, False, 9) == 7
