"""Fusions that turn out slow are taken apart while there is budget left."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.onnx_models import model, node, value
from tests.tuner.planners import imported, planner_of
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.farm.pool import SerialPool
from tilewright.measure.results import Measurement
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.problem import SearchTrial
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.stopping import StopReason, StopRule
from tilewright.tuner.network.challenges import contests
from tilewright.tuner.network.events import silent
from tilewright.tuner.network.search import NetworkSearch

TARGET, BUDGET = "ascend910", 64
SPILLING = 1.6
"""So much that the correction of drafts, twice at most, hides that the parts are faster."""


class SpillingDevice:
    """A chip that keeps nothing between the ops of a kernel: fused kernels take SPILLING times as long."""

    def __init__(self) -> None:
        self._chip = SimulatedDevice(load_target(TARGET))
        self.trials_of_fused = 0

    def describe(self) -> DeviceInfo:
        return self._chip.describe()

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        assert isinstance(task, Workload)
        answers = self._chip.measure(task, configs)
        if len(task.graph.ops) == 1:
            return answers
        self.trials_of_fused += len(configs)
        return [
            replace(each, latency_us=each.latency_us and SPILLING * each.latency_us, samples_us=())
            for each in answers
        ]


@pytest.fixture
def row_and_column_sum(tmp_path: Path) -> Graph:
    """Sums of 128 rows of 128, then the sum of these: a fusion that every draft is in favour of."""
    nodes = [
        node("ReduceSum", "x rows", "r", keepdims=1),
        node("ReduceSum", "r columns", "y", keepdims=1),
    ]
    axes = {"rows": np.array([1]), "columns": np.array([0])}
    return imported(model(nodes, [value("x", [128, 128])], ["y"], axes), tmp_path)


def test_parts_of_a_slow_fusion_are_measured_and_it_is_taken_apart(row_and_column_sum: Graph) -> None:
    planner = planner_of(row_and_column_sum, TARGET)
    search = NetworkSearch(planner, "any", BUDGET, SearchSettings())
    assert len(search.plan.groups) == 1, "the drafts are in favour"
    device = SpillingDevice()
    search.run(
        SerialPool(device),
        StopRule(BUDGET),
        lambda task, trials: None,
        listener=silent,
        clock=lambda: 0.0,
        cancelled=lambda: False,
    )
    assert len(search.plan.groups) == 2
    assert device.trials_of_fused <= BUDGET // 2, "the rest of the budget followed the better plan"
    assert search.is_measured
    fused, apart = search.plans[0], search.plan
    assert search.sum_us(apart) < search.sum_us(fused)


def test_a_search_whose_kernels_are_done_plans_anew_before_it_ends(
    row_and_column_sum: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fusion is done with long before the first share of the budget after which plans are made anew."""
    monkeypatch.setattr(NetworkSearch, "_p_within", lambda search, rule: float(search.trials >= 40))
    rule, trials = StopRule(4096, regret=0.02), list[tuple[str, SearchTrial]]()
    search, again = (
        NetworkSearch(planner_of(row_and_column_sum, TARGET), "any", rule.max_trials, SearchSettings())
        for _ in range(2)
    )
    reason = search.run(
        SerialPool(SpillingDevice()),
        rule,
        lambda task, batch: trials.extend((task.digest, trial) for trial in batch),
        listener=silent,
        clock=lambda: 0.0,
        cancelled=lambda: False,
    )
    assert reason is StopReason.REGRET
    assert search.trials < 256
    assert len(search.plan.groups) == 2
    again.resume(trials)
    assert again.spent == search.spent


def test_a_fusion_that_keeps_its_promise_is_not_contested(row_and_column_sum: Graph) -> None:
    planner = planner_of(row_and_column_sum, TARGET)
    plan = planner.replan()
    ((whole, parts),) = planner.merged_kernels()
    assert len(parts) == 2
    assert set(plan.counts) == {whole.digest}
    drafts_us = sum(planner.prices.priced(part.workload).guess_us for part in parts)
    assert contests(planner, {}) == []
    assert contests(planner, {whole.digest: 0.9 * drafts_us}) == []
    (contest,) = contests(planner, {whole.digest: 1.1 * drafts_us})
    assert contest.parts == parts
    assert contest.saves_us == pytest.approx(0.1 * drafts_us)
    measured = dict.fromkeys((part.digest for part in parts), 1.0)
    assert contests(planner, {whole.digest: 9.0, **measured}) == [], "nothing is left to find out"
