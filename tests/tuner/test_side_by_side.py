"""Kernels that need nothing of each other share the cores where that is faster, and only there."""

from pathlib import Path

import numpy as np
import pytest

from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import (
    CoPlacement,
    Plan,
    compile_graph,
    plan_graph,
    schedule_of,
)
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.program import simulate_program
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.network import network_config, network_schedule, numbered
from tilewright.tuner.answer.check import random_inputs
from tilewright.tuner.kernel.task import kernel_tasks
from tilewright.tuner.planning.prices import guessed
from tilewright.tuner.planning.side_by_side import PartPrices, Shared, share_cores
from tilewright.tuner.verbs.lookup import compile_known
from tilewright.tuner.verbs.tune import tune, tune_range

TARGET = load_target("ascend910")


def heads(folder: Path, names: str, width: int, rows: int | str = 64) -> Path:
    """A product of one input for every name, each an output of its own."""
    rng = np.random.default_rng(0)
    nodes = [node("MatMul", f"x w_{name}", name) for name in names]
    weights = {
        f"w_{name}": rng.integers(-2, 3, (width, width + 16 * index)).astype(np.float32)
        for index, name in enumerate(names)
    }
    return saved(model(nodes, [value("x", (rows, width))], list(names), weights), folder)


def shared(graph: Graph, target: Target) -> tuple[Plan, Shared | None, PartPrices]:
    plan = plan_graph(graph, target)
    tasks = {task.digest: task for task in kernel_tasks(plan, target)}
    tried = {}
    for digest, task in tasks.items():
        priced = guessed(task, 0)
        assert priced.guess is not None
        tried[digest] = [(priced.guess_us, priced.guess)]
    prices = PartPrices(target, tasks, tried)
    return plan, share_cores(plan, prices), prices


def test_small_products_of_one_input_run_side_by_side_and_are_right(tmp_path: Path) -> None:
    graph = import_model(heads(tmp_path, "qkv", 64)).graph
    plan, found, prices = shared(graph, TARGET)
    assert found is not None
    assert [len(stage) for stage in found.plan.stages] == [3]
    alone = {digest: tried[0][1] for digest, tried in prices.tried.items()}
    network, beside = (
        numbered(graph),
        {co_placement: config for co_placement, (_, config) in found.co_placements.items()},
    )
    config = network_config(found.plan, alone, network, beside)
    again, _ = network_schedule(network.task, config, TARGET)
    assert again.stages == found.plan.stages
    chosen = {digest: tiling_of(each, plan.regions[digest]) for digest, each in alone.items()}
    co_placed = {
        co_placement: tiling_of(each, plan.regions[co_placement.digest])
        for co_placement, each in beside.items()
    }
    program = compile_graph(graph, schedule_of(found.plan, chosen, co_placed), TARGET, found.plan)
    assert verify_program(graph, program, TARGET) == []
    inputs = random_inputs(graph, 0)
    expected = interpret(graph, inputs)
    for output, got in emulate(graph, program, inputs).items():
        np.testing.assert_array_equal(got, expected[output])
    before = simulate_program(compile_graph(graph, schedule_of(plan, chosen), TARGET, plan), graph, TARGET)
    after = simulate_program(program, graph, TARGET)
    assert after.cycles < 0.6 * before.cycles


def test_products_that_fill_the_chip_stay_apart(tmp_path: Path) -> None:
    graph = import_model(heads(tmp_path, "ab", 2048, rows=4096)).graph
    _, found, prices = shared(graph, TARGET)
    assert found is None
    digests = list(prices.tried)
    together_us, cores = prices.shared_out(digests)
    assert sum(cores) <= TARGET.cores
    assert together_us > 0.9 * sum(prices.alone_us(digest) for digest in digests)


def test_one_core_is_not_shared(tmp_path: Path) -> None:
    graph = import_model(heads(tmp_path, "qkv", 64)).graph
    _, found, _ = shared(graph, load_target("ethos_u55_256"))
    assert found is None


def test_a_kernel_is_no_slower_on_more_cores(tmp_path: Path) -> None:
    graph = import_model(heads(tmp_path, "q", 256)).graph
    _, _, prices = shared(graph, TARGET)
    (digest,) = prices.tried
    times = [prices.of(CoPlacement(digest, size))[0] for size in prices.sizes]
    assert times == sorted(times, reverse=True)
    assert times[0] > 1.2 * prices.alone_us(digest)


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_a_run_answers_with_groups_side_by_side(tmp_path: Path, objective: str) -> None:
    path, database = heads(tmp_path, "qkv", 64), tmp_path / "t.db"
    report = tune(path, "ascend910", trials=24, objective=objective, database=database, ray="none")
    assert {group.stage for group in report.groups} == {0}
    assert report.verification == "value-exact"
    assert report.gap.launch_us == 0.0
    again = tune(path, "ascend910", trials=24, objective=objective, database=database, ray="none")
    assert (again.stop_reason, again.tuned) == ("database", report.tuned)
    assert [group.stage for group in again.groups] == [group.stage for group in report.groups]


def test_a_range_of_sizes_keeps_them_side_by_side(tmp_path: Path) -> None:
    path, database = heads(tmp_path, "qkv", 64, rows="rows"), tmp_path / "t.db"
    tune_range(path, "ascend910", "rows", 16, 64, trials=48, database=database, ray="none")
    compiled = compile_known(path, "ascend910", dims={"rows": 40}, database=database)
    assert set(compiled.sources.values()) == {"range"}
    assert [len(stage) for stage in compiled.program.stages] == [3]
    assert verify_program(compiled.opened.graph, compiled.program, compiled.opened.target) == []
