"""The cheapest cover is the cheapest there is, and records decide what a network is cut into."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.onnx_models import model, node, reals, saved, value
from tests.property.random_graphs import graphs
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import is_remade
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.transforms.fuse import FusionPolicy, Group, group_greedily, in_data_order
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.tuner.answer import cover
from tilewright.tuner.answer.cover import candidate_groups, cheapest_cover
from tilewright.tuner.answer.guess import cover_known
from tilewright.tuner.network.assignment import best_guess
from tilewright.tuner.network.opened import open_network
from tilewright.tuner.request import TuneRequest
from tilewright.tuner.run import run
from tilewright.tuner.subject import Subject
from tilewright.tuner.verbs.lookup import compile_known, lookup
from tilewright.tuner.verbs.tune import tune

TARGET = "ascend310"


def covers(left: frozenset[int], groups: Mapping[Group, frozenset[int]]) -> Iterator[tuple[Group, ...]]:
    """Every way to have each op in one group."""
    if not left:
        yield ()
        return
    for group, inside in groups.items():
        if min(left) in inside and inside <= left:
            for others in covers(left - inside, groups):
                yield (group, *others)


def stored_ops(graph: Graph, group: Iterable[int]) -> frozenset[int]:
    return frozenset(op for op in group if not is_remade(graph, op))


def brute_force(graph: Graph, costs: Mapping[Group, float]) -> float:
    everything = stored_ops(graph, range(len(graph.ops)))
    possible = covers(everything, {group: stored_ops(graph, group) for group in costs})
    sound = (found for found in possible if in_data_order(graph, found) is not None)
    return min(sum(costs[group] for group in found) for found in sound)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_cover_is_cheaper(data: Any) -> None:
    graph, _ = data.draw(graphs(most_steps=6))
    base = group_greedily(graph, FusionPolicy())
    candidates = candidate_groups(graph, base)
    prices = st.integers(1, 40).map(float)
    costs = {group: data.draw(prices) for group in candidates}
    found = cheapest_cover(graph, costs, base)
    stored = sorted(op for group in found for op in stored_ops(graph, group))
    assert stored == sorted(stored_ops(graph, range(len(graph.ops))))
    assert in_data_order(graph, found) is not None
    assert sum(costs[group] for group in found) == brute_force(graph, costs)


def test_out_of_bounds_the_default_groups_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    graph = import_model(saved(network(6), tmp_path)).graph
    base = group_greedily(graph, FusionPolicy())
    monkeypatch.setattr(cover, "MOST_STATES", 1)
    costs = dict.fromkeys(candidate_groups(graph, base), 1.0)
    assert cheapest_cover(graph, costs, base) == base


def network(layers: int, width: int = 16) -> Any:
    """Matrix products with ReLU in between."""
    nodes = list(
        chain.from_iterable(
            (node("MatMul", f"x{index} w{index}", f"p{index}"), node("Relu", f"p{index}", f"x{index + 1}"))
            for index in range(layers)
        )
    )
    constants = {f"w{index}": reals(index, width, width) for index in range(layers)}
    return model(nodes, [value("x0", [8, width])], [f"x{layers}"], constants)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers tuned; the planner may have fused some of them."""
    folder = tmp_path_factory.mktemp("tuned")
    tune(saved(network(3), folder), TARGET, trials=32, database=folder / "tuning.db", ray="none")
    return folder


def test_another_network_is_cut_as_records_know_its_parts(tuned: Path, tmp_path: Path) -> None:
    database = tuned / "tuning.db"
    path = saved(network(4), tmp_path)
    answer = lookup(path, TARGET, database=database)
    assert answer.network_latency_us is None
    assert any(kernel.hit for kernel in answer.kernels)
    with open_network(Subject(path, TARGET), database, read_only=True) as opened:
        cover, _ = cover_known(opened)
        us = sum(cover.choices[digest].latency_us * n for digest, n in cover.plan.counts.items())
        base, base_us = opened.planner.base, 0.0
        for task in opened.planner.tasks_of(base):
            known = opened.records.best_of(task)
            own_us = best_guess(opened, task).latency_us if known is None else known.latency_us
            base_us += base.counts[task.digest] * own_us
    assert us <= base_us * (1 + 1e-9)
    compiled = compile_known(path, TARGET, database=database)
    compiled.close()
    assert set(compiled.sources.values()) <= {"database", "other-placement", "guessed"}
    assert set(compiled.sources) == {kernel.workload_digest for kernel in answer.kernels}
    matches = {kernel.workload_digest: kernel.match for kernel in answer.kernels}
    words = {"exact": "database", "other-placement": "other-placement", "guessed": "guessed"}
    assert {digest: words[match] for digest, match in matches.items()} == dict(compiled.sources)


def test_one_query_fetches_what_records_know_of_all_candidates(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    honest = Repository.best_many

    def counted(self: Repository, workloads: Any, *rest: Any) -> Any:
        asked.append(len(workloads))
        return honest(self, workloads, *rest)

    monkeypatch.setattr(Repository, "best_many", counted)
    path = saved(network(4), tmp_path)
    lookup(path, TARGET, database=tuned / "tuning.db")
    assert max(asked) > 3, "candidates are more than the groups of the default plan"
    assert sum(count > 3 for count in asked) == 1


def test_a_miss_is_guessed_and_says_one_number(tuned: Path, tmp_path: Path) -> None:
    path = saved(network(1, width=48), tmp_path)
    (kernel,) = lookup(path, TARGET, database=tuned / "tuning.db").kernels
    assert (kernel.hit, kernel.match) == (False, "guessed")
    assert kernel.latency_us > 0
    assert kernel.reason
    assert "predict" not in kernel.reason
    guess = run(TuneRequest(path, TARGET, level=1, database=tuned / "tuning.db"))
    assert [each.latency_us for each in guess.kernels] == [kernel.latency_us]


def test_a_cover_of_nothing_known_is_the_default_plan(tmp_path: Path) -> None:
    open_database(tmp_path / "empty.db").close()
    path = saved(network(2), tmp_path)
    answer = lookup(path, TARGET, database=tmp_path / "empty.db")
    assert [kernel.match for kernel in answer.kernels] == ["guessed"] * len(answer.kernels)
    with open_network(Subject(path, TARGET), tmp_path / "empty.db", read_only=True) as opened:
        cover, _ = cover_known(opened)
        assert cover.plan.groups == opened.planner.base.groups
