"""Which ops take another form, how a network's Config says so, and that the database answers with it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compiler_core.test_rewrites import product
from tests.onnx_models import model, node, reals, saved, value
from tests.property.random_graphs import graphs
from tests.property.random_rewrites import rewrites
from tests.targets import small_target
from tests.tuner.planners import imported, planner_of, studied_no_dearer
from tilewright.api.cli.main import main
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph import Rewrites
from tilewright.compiler_core.ir.workload import number_network
from tilewright.compiler_core.lowering.pipeline import compile_graph, plan_graph
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.transforms.rewrites import Split, Unfold, rewritten
from tilewright.cost_model.analytic import graph_bound_cycles
from tilewright.cost_model.network_bound import network_bound_cycles
from tilewright.measure.results import Status
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import (
    REWRITES,
    network_config,
    network_schedule,
    numbered,
    rewrites_from,
    rewrites_text,
)
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.assignment import guessed_of
from tilewright.tuner.network.opened import Opened, open_network
from tilewright.tuner.network.search import NetworkSearch
from tilewright.tuner.planning.graph_knobs import GraphKnobs, ask_knobs
from tilewright.tuner.planning.prices import Reading
from tilewright.tuner.sizes.transfer import carried, portable
from tilewright.tuner.subject import Subject
from tilewright.tuner.verbs.lookup import compile_known, lookup
from tilewright.tuner.verbs.report import report_on
from tilewright.tuner.verbs.tune import tune
from tilewright.tuner.verbs.verify import verify


def loss() -> onnx.ModelProto:
    """mean of (x - y)^2 over a quarter of a million values."""
    nodes = [node("Sub", "x y", "d"), node("Mul", "d d", "e"), node("ReduceMean", "e", "loss", keepdims=0)]
    return model(nodes, [value("x", [16, 16384]), value("y", [16, 16384])], ["loss"])


def first_layer() -> onnx.ModelProto:
    """A convolution of three channels: 7 x 7 with stride 2."""
    conv = node("Conv", "x w", "c", pads=[3, 3, 3, 3], strides=[2, 2])
    return model(
        [conv, node("Relu", "c", "y")], [value("x", [1, 3, 112, 112])], ["y"], {"w": reals(0, 64, 3, 7, 7)}
    )


def test_a_large_sum_to_one_number_is_split(tmp_path: Path) -> None:
    planner = planner_of(imported(loss(), tmp_path))
    plan = planner.replan()
    ((at, form),) = plan.graph.rewrites.items()
    assert planner.base.graph.ops[at].kind == "sum"
    assert isinstance(form, Split)
    assert form.parts >= 8
    assert [[plan.graph.ops[op].kind for op in group] for group in plan.groups] == [
        ["sub", "mul", "sum"],
        ["sum", "div"],
    ]
    assert planner.better[at].form_us < 0.7 * planner.better[at].own_us


def test_windows_of_few_channels_are_written_out(tmp_path: Path) -> None:
    planner = planner_of(imported(first_layer(), tmp_path))
    plan = planner.replan()
    assert list(plan.graph.rewrites.values()) == [Unfold(0)]
    assert planner.plain is not None
    assert planner.plain.graph is planner.base.graph
    assert NetworkSearch(planner, "any", 16, SearchSettings()).plans == [planner.plain, plan]
    assert [plan.graph.ops[op].kind for op in plan.groups[0]] == ["move", "contract", "relu"]


def test_forms_are_given_up_when_they_turn_out_slower(tmp_path: Path) -> None:
    planner = planner_of(imported(first_layer(), tmp_path))
    plan = planner.replan()
    planner.prices.measured = {digest: Reading(50.0, 50.0, 64) for digest in plan.counts}
    again = planner.replan()
    assert not again.graph.rewrites
    assert again.graph is planner.base.graph
    assert planner.replan() is again


def test_a_network_with_nothing_to_rewrite_keeps_its_graph(tmp_path: Path) -> None:
    graph = imported(model([node("Relu", "x", "y")], [value("x", [64, 64])], ["y"]), tmp_path)
    assert planner_of(graph).replan().graph is graph


def test_a_study_asks_for_forms_where_there_are_any() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked = [ask_knobs(study.ask(), spills=False, splits=True, unfolds=True) for _ in range(16)]
    assert {knobs.splits for knobs in asked} == {knobs.unfolds for knobs in asked} == {True, False}
    assert all(ask_knobs(study.ask(), spills=False).splits for _ in range(8))
    knobs = GraphKnobs(splits=False)
    assert knobs.takes(Unfold(0))
    assert not knobs.takes(Split(2, 2))


def test_a_study_prices_the_network_with_and_without_forms(tmp_path: Path) -> None:
    studied_no_dearer(imported(loss(), tmp_path))


@settings(max_examples=40)
@given(st.data())
def test_a_config_says_the_forms_and_its_program_is_right(data: Any) -> None:
    graph, inputs = data.draw(graphs())
    network, target = numbered(graph), small_target(cores=3, l1_kib=1024)
    forms = {index: form for index, form in data.draw(rewrites(graph)).items() if index in network.number_of}
    plan = plan_graph(rewritten(graph, forms), target)
    if not set(range(len(plan.graph.ops))) <= set(network.under(forms).ops):
        return  # a network with ops that no output needs: imported ones have none
    chosen = {digest: KernelTask(regions, target).default for digest, regions in plan.regions.items()}
    config = network_config(plan, chosen, network)
    assert (REWRITES in dict(config.items)) == bool(forms)
    there, schedule = network_schedule(network.task, config, target)
    program = compile_graph(there.graph, schedule, target, there)
    assert verify_program(there.graph, program, target) == []
    values = number_network(graph).number_of
    given_there = {values[read]: array for read, array in inputs.items() if read in values}
    got, meant = emulate(there.graph, program, given_there), interpret(graph, inputs)
    for output in graph.outputs:
        if values[output] in got:
            np.testing.assert_array_equal(got[values[output]], meant[output])
    measured = SimulatedDevice(target).measure(network.task, [config])[0]
    assert measured.status is Status.OK
    assert measured.latency_cycles is not None
    assert measured.latency_cycles >= network_bound_cycles(graph, target)


def test_the_bound_allows_for_forms(tmp_path: Path) -> None:
    graph, target = imported(first_layer(), tmp_path), load_target("gemmini16")
    assert network_bound_cycles(graph, target) < 0.5 * graph_bound_cycles(graph, target)
    plain = imported(model([node("Relu", "x", "y")], [value("x", [64, 64])], ["y"]), tmp_path)
    assert network_bound_cycles(plain, target) == graph_bound_cycles(plain, target)


@pytest.mark.parametrize("text", ["0", "0:", "x:unfold.0", "0:unfold", "0:unfold.0|", "0:unfold.0:1"])
def test_what_lists_no_rewrites_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="lists its rewrites as"):
        rewrites_from(text)


def test_text_of_rewrites_is_read_back() -> None:
    forms: Rewrites = {3: Split(2, 16), 0: Unfold(1)}
    assert rewrites_text(forms) == "0:unfold.1|3:split.2.16"
    assert rewrites_from(rewrites_text(forms)) == forms
    assert rewrites_from("") == {}


def test_a_config_with_an_impossible_form_is_refused(tmp_path: Path) -> None:
    network = numbered(imported(first_layer(), tmp_path))
    for text in ("1:unfold.0", "0:split.0.2", "7:unfold.0"):
        with pytest.raises(ConfigError, match="rewrit"):
            network_schedule(
                network.task, Config((("groups", "0|1"), (REWRITES, text))), load_target("ascend910")
            )


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tall and a skinny matrix multiplied, tuned."""
    folder = tmp_path_factory.mktemp("skinny")
    made = model([node("MatMul", "a b", "c")], [value("a", [16, 16384]), value("b", [16384, 16])], ["c"])
    path, database = saved(made, folder), folder / "skinny.db"
    report = tune(path, "ascend910", trials=12, database=database, ray="none")
    assert report.speedup > 2.0
    ((told),) = report.to_json()["rewrites"]
    assert (told["value"], told["op"]) == ("MatMul c", "contract")
    assert told["form"].startswith("split.2.")
    assert "as it was" in told["why"]
    return path, database


def test_the_database_answers_with_forms(tuned: tuple[Path, Path]) -> None:
    path, database = tuned
    assert lookup(path, "ascend910", database=database).complete
    compiled = compile_known(path, "ascend910", database=database)
    assert set(compiled.sources.values()) == {"network"}
    assert compiled.graph.rewrites
    assert verify_program(compiled.graph, compiled.program, compiled.opened.target) == []
    assert verify(path, "ascend910", database=database).ok
    again = tune(path, "ascend910", trials=12, database=database, ray="none")
    assert (again.trials, again.stop_reason) == (0, "database")
    assert again.rewrites[0].form.startswith("split.2.")


def test_a_report_and_a_profile_show_forms(tuned: tuple[Path, Path], tmp_path: Path) -> None:
    path, database = tuned
    told = report_on(path, "ascend910", database=database).result["rewrites"]
    assert [each["op"] for each in told] == ["contract"]
    out = tmp_path / "trace.json"
    assert main(["profile", str(path), "--target", "ascend910", "--db", str(database), "-o", str(out)]) == 0
    assert main(["compile", str(path), "--target", "ascend910", "--db", str(database), "-o", str(out)]) == 0


def test_a_form_is_carried_to_another_size() -> None:
    """24 in parts of 6 is 20 in parts of 5, and 7 in one part."""
    for extent, parts in ((24, 6), (20, 5), (7, 1)):
        graph, _ = product(extent)
        assert Split(2, 6).carried(graph.ops[0]) == Split(2, parts)
        assert not Split(2, parts).objection(graph, graph.ops[0])


def test_a_range_of_sizes_carries_forms(tmp_path: Path) -> None:
    made = model([node("MatMul", "a b", "c")], [value("a", [16, "depth"]), value("b", ["depth", 16])], ["c"])
    path, database = saved(made, tmp_path), tmp_path / "range.db"

    def opened(depth: int) -> Opened:
        return open_network(Subject(path, "ascend910", dims={"depth": depth}), database)

    with opened(16384) as tuned_at:
        plan = tuned_at.planner.replan()
        split = plan.graph.rewrites[0]
        assert isinstance(split, Split)
        assert split.parts >= 8
        told = portable(tuned_at, guessed_of(tuned_at, plan).config)
    with opened(5000) as network:
        config = carried(told, network).config
        most = max(parts for parts in range(split.parts + 1) if parts and 5000 % parts == 0)
        assert dict(config.items)[REWRITES] == f"0:split.2.{most}"
        there, schedule = network.schedule_of(config)
        program = compile_graph(there.graph, schedule, network.target, there)
        assert verify_program(there.graph, program, network.target) == []
