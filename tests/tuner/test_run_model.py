"""The model that the kernels of a run share: a function of trials in their order, not of their batches."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from tests.tuner.landscapes import problem_and_device
from tilewright.cost_model.learned.ensemble import EnsembleSettings
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.search_space.knobs import Rows
from tilewright.tuner.kernel.problem import Floats, History, Problem
from tilewright.tuner.kernel.run_model import RunModel, last_mark


@dataclass(frozen=True)
class Named:
    digest: str


def test_slow_parts_are_learned_anew_after_a_quarter_more_and_at_most_128() -> None:
    marks = sorted({last_mark(count) for count in range(1200)})
    assert marks[:6] == [0, 16, 20, 25, 31, 38]
    assert all(b - a <= min(max(1, a // 4), 128) or a == 0 for a, b in pairwise(marks))
    assert marks[-1] - marks[-2] == 128


def test_a_model_depends_on_the_trials_and_not_on_how_they_came() -> None:
    """Kernels take turns; as after a resumption, the trials of a turn come at once or one by one."""
    space_problem, device = problem_and_device()
    assert space_problem.whole is not None
    rows = np.random.default_rng(0).permutation(space_problem.whole)[:90]
    answers = device.measure(space_problem.task, [space_problem.space.decode(row) for row in rows])
    logs = np.log([answer.latency_us or np.nan for answer in answers])
    problems = [replace(space_problem, task=Named(name * 64)) for name in "abc"]
    turns = [(0, 30), (1, 25), (0, 10), (1, 20), (2, 3)]

    def predicted(step: int) -> Floats:
        model, told = RunModel("run", EnsembleSettings(process_rows=20)), [0, 0, 0]
        for which, count in turns:
            end = told[which] + count
            while told[which] < end:
                told[which] = min(end, told[which] + step)
                _tell(model, problems[which], rows[: told[which]], logs[: told[which]])
                if step < 30:  # a fit between changes nothing of the next one
                    model.predictor(problems[which])
        predictor = model.predictor(problems[0])
        assert predictor is not None
        return predictor.predict(rows).mean_log

    np.testing.assert_array_equal(predicted(7), predicted(1000))


def test_with_a_prior_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sources say is weighed by all trials so far, whenever they were told."""
    own = RunModel.__init__

    def taught(model: RunModel, run: str, settings: EnsembleSettings | None = None) -> None:
        own(model, run, settings)
        problem, device = problem_and_device()
        assert problem.whole is not None
        rows = problem.whole[::3]
        answers = device.measure(problem.task, [problem.space.decode(row) for row in rows])
        logs = np.log([answer.latency_us or np.nan for answer in answers])
        features = problem.feature_function(rows)
        model.set_prior(problem, (TaskRecords("known", features, np.zeros(len(rows)), logs),))

    monkeypatch.setattr(RunModel, "__init__", taught)
    test_a_model_depends_on_the_trials_and_not_on_how_they_came()


def _tell(model: RunModel, problem: Problem, rows: Rows, logs: Floats) -> None:
    model.tell(problem, History(rows, logs, rows[:0]))
