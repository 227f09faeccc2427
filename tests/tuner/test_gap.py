"""The gap between an answer and its bound: its parts are not negative, and add up to the difference."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.onnx_models import saved, small_cnn
from tilewright.tuner.answer.gap import explain_gap, ratio_of
from tilewright.tuner.answer.report import Figures
from tilewright.tuner.network.assignment import Assignment, guessed_of
from tilewright.tuner.network.opened import open_network
from tilewright.tuner.subject import Subject


@pytest.fixture(scope="module")
def assignment(tmp_path_factory: pytest.TempPathFactory) -> Assignment:
    folder = tmp_path_factory.mktemp("gap")
    with open_network(Subject(saved(small_cnn(), folder), "ascend910"), folder / "tuning.db") as opened:
        return guessed_of(opened, opened.planner.base)


def figures(assignment: Assignment, latency_us: float) -> Figures:
    return Figures(latency_us, latency_us * assignment.opened.target.cycles_per_us, None, None)


def parts(assignment: Assignment, tuned_us: float) -> tuple[float, float, float, float]:
    bound = figures(assignment, assignment.opened.bound_us)
    gap = explain_gap(assignment, figures(assignment, tuned_us), bound)
    assert gap.ratio == pytest.approx(tuned_us / assignment.opened.bound_us)
    return gap.launch_us, gap.padding_us, gap.bandwidth_us, gap.rest_us


@given(st.floats(1.0, 1000.0))
@settings(max_examples=60)
def test_parts_are_not_negative_and_add_up(assignment: Assignment, factor: float) -> None:
    bound_us = assignment.opened.bound_us
    found = parts(assignment, factor * bound_us)
    assert min(found) >= 0.0
    assert sum(found) == pytest.approx((factor - 1.0) * bound_us, abs=1e-9)


def test_an_answer_at_its_bound_has_no_gap(assignment: Assignment) -> None:
    assert parts(assignment, assignment.opened.bound_us) == (0.0, 0.0, 0.0, 0.0)


def test_time_beyond_all_causes_is_rest(assignment: Assignment) -> None:
    """Of two slow answers by the same schedule the slower one has more rest, and no more of anything else."""
    some, more = parts(assignment, 1e4), parts(assignment, 2e4)
    assert some[:3] == more[:3]
    assert more[3] - some[3] == pytest.approx(1e4)


def test_launches_beyond_the_first_are_counted_once_per_stage(assignment: Assignment) -> None:
    target, stages = assignment.opened.target, len(assignment.plan.stages)
    launch_us = target.launch_cycles / target.cycles_per_us
    assert parts(assignment, 1e4)[0] == pytest.approx((stages - 1) * launch_us)


@pytest.mark.parametrize(
    ("number", "bound", "ratio"),
    [(6.0, 3.0, 2.0), (0.0, 0.0, 1.0), (5.0, 0.0, 1.0), (None, 3.0, None), (6.0, None, None)],
)
def test_a_ratio_is_absent_where_one_number_is(
    number: float | None, bound: float | None, ratio: float | None
) -> None:
    assert ratio_of(number, bound) == ratio
