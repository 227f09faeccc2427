"""The report of a run: every number comes from the outcome, and each from one place."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.onnx_models import model, node, saved, small_cnn, value
from tilewright.measure.objectives import Objective
from tilewright.tuner.answer.outcome import Outcome, nothing_runs
from tilewright.tuner.answer.report import Figures
from tilewright.tuner.answer.summary import bound_of_answer, summarise
from tilewright.tuner.kernel.stopping import StopReason
from tilewright.tuner.network.assignment import Choice, guessed_of
from tilewright.tuner.network.book import Dropped
from tilewright.tuner.network.opened import Opened, open_network
from tilewright.tuner.subject import Subject


def opened_network(folder: Path, objective: Objective = Objective.LATENCY) -> Opened:
    subject = Subject(saved(small_cnn(), folder), "ascend910", (objective,))
    return open_network(subject, folder / "tuning.db")


def outcome_of(opened: Opened) -> Outcome:
    """An outcome with a number of its own in every field."""
    assignment = guessed_of(opened, opened.planner.base)
    first, *others = assignment.choices
    choices = {first: replace(assignment.choices[first], source="database", latency_us=7.0)} | {
        digest: Choice(assignment.choices[digest].config, 3.0, "measured") for digest in others
    }
    return Outcome(
        replace(assignment, choices=choices),
        default=Figures(80.0, 80_000.0, 5.0, 4096),
        tuned=Figures(40.0, 40_000.0, 4.0, 2048),
        verification="value_exact",
        reason=StopReason.BUDGET,
        spent=dict.fromkeys(others, 5),
        regret=0.02,
        dropped=(Dropped("a candidate", "value 3 is off"),),
    )


def test_figures_are_those_of_the_outcome(tmp_path: Path) -> None:
    with opened_network(tmp_path) as opened:
        outcome = outcome_of(opened)
        report = summarise(outcome, 12.5)
        kernels = len(outcome.assignment.choices)
        assert (report.default, report.tuned, report.speedup) == (outcome.default, outcome.tuned, 2.0)
        assert (report.trials, report.cache_hits) == (5 * (kernels - 1), 1)
        assert (report.regret_estimate, report.wall_s, report.stop_reason) == (0.02, 12.5, "budget")
        assert report.dropped == outcome.dropped
        assert report.bound.latency_us == opened.bound_us
        assert report.graph_digest == opened.network.task.digest


def test_kernels_and_groups_describe_the_plan(tmp_path: Path) -> None:
    with opened_network(tmp_path) as opened:
        outcome = outcome_of(opened)
        report, plan = summarise(outcome, 1.0), outcome.assignment.plan
        assert [kernel.workload_digest for kernel in report.kernels] == list(plan.counts)
        assert [kernel.count for kernel in report.kernels] == list(plan.counts.values())
        assert sum(k.count * k.latency_us for k in report.kernels) == pytest.approx(report.sum_of_kernels_us)
        for kernel in report.kernels:
            choice = outcome.assignment.choices[kernel.workload_digest]
            assert (kernel.latency_us, kernel.source) == (choice.latency_us, choice.source)
            assert kernel.config == dict(choice.config.items)
            assert kernel.trials == outcome.spent.get(kernel.workload_digest, 0)
            assert kernel.bound_us > 0.0
        assert len(report.groups) == len(plan.groups)
        assert [group.stage for group in report.groups] == sorted(group.stage for group in report.groups)
        assert all(group.name for group in report.groups)


@pytest.mark.parametrize("objective", [Objective.LATENCY, Objective.MEMORY])
def test_a_bound_on_memory_is_proven_where_memory_is_asked_for(tmp_path: Path, objective: Objective) -> None:
    with opened_network(tmp_path, objective) as opened:
        bound = bound_of_answer(guessed_of(opened, opened.planner.base))
        assert (bound.peak_bytes is not None) == (objective is Objective.MEMORY)
        assert bound.latency_us == opened.bound_us
        assert bound.energy_uj is not None
        assert bound.energy_uj > 0.0


def test_a_network_without_ops_takes_no_time_and_has_no_gap(tmp_path: Path) -> None:
    empty = saved(model([node("Identity", "x", "y")], [value("x", [4])], ["y"]), tmp_path)
    with open_network(Subject(empty, "ascend910"), tmp_path / "tuning.db") as opened:
        report = summarise(nothing_runs(opened), 0.5)
        assert report.tuned == report.default
        assert (report.tuned.latency_us, report.trials, report.kernels, report.groups) == (0.0, 0, (), ())
        assert report.gap.ratio == 1.0
        assert report.gap.rest_us == 0.0
