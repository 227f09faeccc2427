"""What every sampler keeps to in the kernel loop. A new one overrides `sampler` of SamplerSuite."""

import pytest

from tests.tuner.landscapes import problem_and_device
from tilewright.measure.results import Measurement
from tilewright.tuner.kernel.problem import SearchTrial
from tilewright.tuner.kernel.search import KernelSearch, SamplerFactory, search_kernel
from tilewright.tuner.kernel.stopping import StopReason, StopRule

TRIALS = 40


class SamplerSuite:
    """Override `sampler`: from a seed to an Optuna sampler, or None for our own."""

    @pytest.fixture
    def sampler(self) -> SamplerFactory | None:
        raise NotImplementedError

    def run(
        self, sampler: SamplerFactory | None, run: str = "run", earlier: tuple[SearchTrial, ...] = ()
    ) -> list[SearchTrial]:
        problem, device = problem_and_device()
        result = search_kernel(
            KernelSearch(problem, run, sampler=sampler), device, StopRule(TRIALS), earlier=earlier
        )
        assert result.reason is StopReason.BUDGET
        return list(result.trials)

    def test_measures_only_feasible_configs_and_none_twice(self, sampler: SamplerFactory | None) -> None:
        problem, _ = problem_and_device()
        trials = self.run(sampler)
        assert [trial.number for trial in trials] == list(range(TRIALS))
        assert len({trial.config.digest for trial in trials}) == TRIALS
        assert all(problem.space.contains(trial.config) for trial in trials)

    def test_repeats_itself_by_run(self, sampler: SamplerFactory | None) -> None:
        assert self.run(sampler) == self.run(sampler)
        assert self.run(sampler) != self.run(sampler, run="another")

    def test_finishes_the_budget_after_a_resume(self, sampler: SamplerFactory | None) -> None:
        whole = self.run(sampler)
        resumed = self.run(sampler, earlier=tuple(whole[:12]))
        assert resumed[:12] == whole[:12]
        assert len({trial.config.digest for trial in resumed}) == TRIALS

    def test_finds_something_better_than_the_median(self, sampler: SamplerFactory | None) -> None:
        problem, device = problem_and_device()
        assert problem.whole is not None
        answers = device.measure(problem.task, [problem.space.decode(row) for row in problem.whole])
        median = sorted(_latency(answer) for answer in answers)[len(answers) // 2]
        assert min(_latency(trial.measurement) for trial in self.run(sampler)) < median


def _latency(measurement: Measurement) -> float:
    return measurement.latency_us if measurement.latency_us is not None else float("inf")
