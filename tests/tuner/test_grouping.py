"""Groups merge where a merged kernel is cheaper, never into a cycle, and say why they stay apart."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.onnx_models import model, node, reals, value
from tests.property.random_graphs import graphs
from tests.tuner.planners import imported, planner_of, studied_no_dearer
from tilewright.compiler_core.ir.workload import is_remade
from tilewright.compiler_core.order.portfolio import ListWeights
from tilewright.compiler_core.transforms.fuse import FusionPolicy, Group, group_greedily, in_data_order
from tilewright.tuner.planning.graph_knobs import GraphKnobs, ask_knobs, default_trial
from tilewright.tuner.planning.grouping import NotFused, boundaries_of, merge_while_it_pays
from tilewright.tuner.planning.prices import Reading


@given(st.data())
def test_any_prices_give_a_schedule_that_costs_no_more(data: Any) -> None:
    graph, _ = data.draw(graphs())
    groups = group_greedily(graph, FusionPolicy())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    drawn: dict[Group, float] = {}

    def price(group: Group) -> float:
        return drawn.setdefault(
            group, float(rng.choice([0.5, 1.0, 2.0, 4.0, np.inf], p=[0.3, 0.2, 0.2, 0.2, 0.1]))
        )

    for group in groups:
        drawn[group] = float(rng.uniform(0.5, 2.0))
    before = sum(drawn[group] for group in groups)
    merged = merge_while_it_pays(graph, groups, price)
    assert merged.price_us <= before
    assert merged.price_us == pytest.approx(sum(drawn[group] for group in merged.groups))
    stored = [op for group in merged.groups for op in group if not is_remade(graph, op)]
    assert sorted(stored) == [index for index in range(len(graph.ops)) if not is_remade(graph, index)]
    assert in_data_order(graph, merged.groups) == merged.groups
    for boundary in boundaries_of(graph, merged.groups, price):
        if boundary.reason is NotFused.COST:
            assert boundary.whole_us is not None
            assert boundary.whole_us >= boundary.parts_us


@pytest.mark.parametrize("seed", range(8))
def test_random_wiring_merges_without_a_cycle(seed: int, tmp_path: Path) -> None:
    """Networks wired at random have many ways around every edge: none may become a cycle of groups."""
    rng = np.random.default_rng(seed)
    nodes = []
    for index in range(60):
        near = ["x", *(f"v{earlier}" for earlier in range(index))][-30:]
        read = rng.choice(near, size=min(len(near), int(rng.integers(1, 4))), replace=False)
        nodes.append(node("Sum", " ".join(read), f"s{index}"))
        nodes.append(node("Relu", f"s{index}", f"r{index}"))
        nodes.append(node("MatMul", f"r{index} w", f"v{index}"))
    used = {name for each in nodes for name in each.input}
    outputs = [f"v{index}" for index in range(60) if f"v{index}" not in used]
    graph = imported(model(nodes, [value("x", [4, 8])], outputs, {"w": reals(1, 8, 8)}), tmp_path)
    groups = group_greedily(graph, FusionPolicy(epilogues=False))
    drawn: dict[Group, float] = dict.fromkeys(groups, 1.0)

    def price(group: Group) -> float:
        return drawn.setdefault(group, float(rng.choice([0.2, 0.5, 1.0, 2.0, np.inf])))

    merged = merge_while_it_pays(graph, groups, price)
    assert len(merged.groups) < len(groups)
    assert merged.price_us < len(groups)
    assert in_data_order(graph, merged.groups) == merged.groups


def test_many_branches_into_one_sum_are_weighed_once_each(tmp_path: Path) -> None:
    """64 branches made 64 unions after each merge, 2,000 in all."""
    nodes = [node("Relu", "x", f"a{index}") for index in range(64)]
    nodes += [node("MatMul", f"a{index} w", f"b{index}") for index in range(64)]
    nodes.append(node("Sum", " ".join(f"b{index}" for index in range(64)), "y"))
    graph = imported(model(nodes, [value("x", [4, 8])], ["y"], {"w": reals(1, 8, 8)}), tmp_path)
    asked: set[Group] = set()

    def price(group: Group) -> float:
        asked.add(group)
        return 1.0 + 0.01 * len(group)

    groups = group_greedily(graph, FusionPolicy())
    merged = merge_while_it_pays(graph, groups, price, floor=lambda group: 1.0)
    assert max(map(len, merged.groups)) > 32
    assert len(asked) < 8 * len(groups)


@given(st.data())
def test_a_floor_saves_prices_and_changes_no_group(data: Any) -> None:
    graph, _ = data.draw(graphs())
    groups = group_greedily(graph, FusionPolicy(epilogues=False))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    drawn: dict[Group, float] = {}
    share: dict[Group, float] = {}
    asked: set[Group] = set()

    def price(group: Group) -> float:
        return drawn.setdefault(group, float(rng.uniform(0.5, 3.0)))

    def floor(group: Group) -> float:
        return price(group) * share.setdefault(group, float(rng.uniform(0.2, 1.0)))

    def counted(group: Group) -> float:
        asked.add(group)
        return price(group)

    lazily = merge_while_it_pays(graph, groups, counted, floor=floor)
    priced = len(asked)
    eagerly = merge_while_it_pays(graph, groups, counted, floor=price)
    assert lazily == eagerly
    assert len(asked) >= priced


@pytest.mark.parametrize(("shape", "axes"), [((512, 256), [1]), ((256, 4096), [0]), ((32, 64), [0, 1])])
def test_a_reduction_of_a_product_is_one_kernel(
    tmp_path: Path, shape: tuple[int, ...], axes: list[int]
) -> None:
    """reduce_sum(x + y * z): the example of XLA's documentation."""
    nodes = [node("Mul", "y z", "p"), node("Add", "x p", "s"), node("ReduceSum", "s axes", "r", keepdims=0)]
    made = model(nodes, [value(name, shape) for name in "xyz"], ["r"], {"axes": np.array(axes)})
    plan = planner_of(imported(made, tmp_path), "ascend910").replan()
    assert len(plan.groups) == 1


def test_attention_is_one_kernel_where_a_block_of_rows_fits(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "q k", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights v", "out"),
    ]
    shapes = [value("q", [4, 256, 64]), value("k", [4, 64, 256]), value("v", [4, 256, 64])]
    graph = imported(model(nodes, shapes, ["out"], {}), tmp_path)
    assert len(planner_of(graph, "ascend910").replan().groups) == 1


def test_what_is_not_fused_says_why(tmp_path: Path) -> None:
    """Two products whose weights fill L1 many times over: together they would recompute, or not fit."""
    weights = {"a": reals(1, 2048, 2048), "b": reals(2, 2048, 2048)}
    nodes = [node("MatMul", "x a", "h"), node("MatMul", "h b", "y")]
    graph = imported(model(nodes, [value("x", [2048, 2048])], ["y"], weights), tmp_path)
    planner = planner_of(graph, "ascend910")
    plan = planner.replan()
    assert len(plan.groups) == 2
    (boundary,) = planner.boundaries(plan)
    assert boundary.reason in (NotFused.COST, NotFused.CAPACITY)
    assert boundary.parts_us > 0.0
    (priced,) = boundaries_of(graph, plan.groups, planner.pricing(plan))
    assert priced.exact
    assert (boundary.producer, boundary.consumer, boundary.parts_us) == (0, 1, priced.parts_us)
    assert boundary.whole_us is None or priced.whole_us is None or boundary.whole_us <= priced.whole_us


def test_a_fusion_that_measures_worse_is_taken_apart(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x a", "h"), node("Relu", "h", "r"), node("MatMul", "r b", "y")]
    weights = {"a": reals(1, 64, 64), "b": reals(2, 64, 64)}
    graph = imported(model(nodes, [value("x", [512, 64])], ["y"], weights), tmp_path)
    planner = planner_of(graph, "ascend910")
    fused = planner.replan()
    assert len(fused.groups) == 1
    (digest,) = fused.counts
    planner.prices.measured = {digest: Reading(1000.0, 1000.0, 64)}
    assert len(planner.replan().groups) == 2
    planner.prices.measured = {digest: Reading(1.1, 1.1, 64)}
    assert len(planner.replan().groups) == 1


def test_groups_are_priced_as_the_objective(tmp_path: Path) -> None:
    """Fused: 1.1 us and 100 uJ; apart: 2 us and 10 uJ each."""
    nodes = [node("MatMul", "x a", "h"), node("Relu", "h", "r"), node("MatMul", "r b", "y")]
    weights = {"a": reals(1, 64, 64), "b": reals(2, 64, 64)}
    graph = imported(model(nodes, [value("x", [512, 64])], ["y"], weights), tmp_path)
    planner = planner_of(graph, "ascend910")
    (fused,) = planner.replan().counts
    apart = planner.base.counts
    planner.prices.measured = {fused: Reading(100.0, 1.1, 64), **dict.fromkeys(apart, Reading(10.0, 2.0, 64))}
    assert len(planner.replan().groups) == 2
    planner.prices.measured = {fused: Reading(1.1, 1.1, 64), **dict.fromkeys(apart, Reading(2.0, 2.0, 64))}
    assert len(planner.replan().groups) == 1


def test_the_knobs_of_the_network_promise_no_less_than_the_default(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "x a", "h"),
        node("Add", "h c", "s"),
        node("Relu", "s", "r"),
        node("MatMul", "r b", "y"),
    ]
    weights = {"a": reals(1, 256, 64), "c": reals(3, 64), "b": reals(2, 64, 256)}
    graph = imported(model(nodes, [value("x", [2048, 256])], ["y"], weights), tmp_path)
    studied = studied_no_dearer(graph)
    again = planner_of(graph, "ascend910")
    again.studied = 8
    assert again.replan().groups == studied.plan.groups


def test_a_study_chooses_weights_where_values_spill_only() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked = [ask_knobs(study.ask(), spills=True) for _ in range(16)]
    assert {knobs.weights is None for knobs in asked} == {True, False}
    assert all(ask_knobs(study.ask(), spills=False).weights is None for _ in range(8))
    study.enqueue_trial(default_trial())
    assert ask_knobs(study.ask(), spills=True) == GraphKnobs()


def test_a_list_order_is_an_order_of_the_groups(tmp_path: Path) -> None:
    names = "abcd"
    nodes = [node("MatMul", f"x w{name}", name) for name in names] + [node("Concat", "a b c d", "y", axis=1)]
    weights = {f"w{name}": reals(index, 64, 64) for index, name in enumerate(names)}
    graph = imported(model(nodes, [value("x", [64, 64])], ["y"], weights), tmp_path)
    planner = planner_of(graph, "ascend910")
    knobs = GraphKnobs(weights=ListWeights(given=-1.0))
    ordered = knobs.ordered(planner.base, planner.base.groups, planner.target)
    assert sorted(ordered) == sorted(planner.base.groups)
    assert ordered != planner.base.groups
    assert in_data_order(graph, ordered) is not None
