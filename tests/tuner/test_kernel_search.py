"""The loop: commit before tell, resume where the records end, and stop for the reason given."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from optuna.samplers import RandomSampler

from tests.tuner.landscapes import problem_and_device
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.measure.device import Task
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.problem import SearchTrial
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.search import KernelSearch, search_kernel
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.stopping import Progress, StopReason, StopRule, stop_reason
from tilewright.tuner.outlook.course import WORST_LOG


def test_every_batch_is_committed_before_it_is_told() -> None:
    problem, device = problem_and_device()
    committed: list[SearchTrial] = []
    told: list[int] = []

    class Watching(KernelSearch):
        def tell(self, trials: Sequence[SearchTrial]) -> None:
            told.append(len(committed))
            super().tell(trials)

    search = Watching(problem, "run")
    for _ in range(4):
        trials = search.trials_of(device.measure(problem.task, search.ask()))
        committed.extend(trials)
        search.tell(trials)
    assert told == [2, 4, 6, 8]
    result = search_kernel(KernelSearch(problem, "run"), device, StopRule(8), commit=committed.extend)
    assert committed[8:] == list(result.trials) == search.trials


def test_a_run_killed_after_a_commit_goes_on_as_if_nothing_had_happened() -> None:
    problem, device = problem_and_device()
    whole = search_kernel(KernelSearch(problem, "run"), device, StopRule(48))
    kept: list[SearchTrial] = []

    def die(trials: Sequence[SearchTrial]) -> None:
        kept.extend(trials)
        if len(kept) >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_kernel(KernelSearch(problem, "run"), device, StopRule(48), commit=die)
    resumed = search_kernel(KernelSearch(problem, "run"), device, StopRule(48), earlier=kept)
    assert resumed == whole


def test_lost_trials_say_nothing_and_may_be_asked_again() -> None:
    problem, device = problem_and_device()

    class LosesTheFirst:
        calls = 0

        def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
            self.calls += 1
            if self.calls == 1:
                return [failure(Status.LOST, "worker died")] * len(configs)
            return device.measure(task, configs)

    result = search_kernel(KernelSearch(problem, "run"), LosesTheFirst(), StopRule(24))
    lost = [trial for trial in result.trials if trial.measurement.status is Status.LOST]
    kept = [trial.config.digest for trial in result.trials if trial.measurement.status is not Status.LOST]
    assert len(lost) == 2
    assert len(set(kept)) == len(kept) == 22


def test_an_exhausted_space_ends_the_search_with_every_config_measured_once() -> None:
    base, device = problem_and_device()
    few = base.space.knobs[:1]
    small = replace(
        base.space,
        knobs=(few[0], *(replace(knob, values=knob.values[:1]) for knob in base.space.knobs[1:])),
        rules="small",
    )
    result = search_kernel(KernelSearch(replace(base, space=small), "run"), device, StopRule(100))
    assert result.reason is StopReason.EXHAUSTED
    assert len({trial.config.digest for trial in result.trials}) == len(result.trials) == 12


def test_the_best_is_the_lowest_and_ties_go_to_the_lower_digest() -> None:
    problem, _ = problem_and_device()

    class Flat:
        def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
            return [Measurement(Status.OK, latency_us=5.0)] * len(configs)

    result = search_kernel(KernelSearch(problem, "run"), Flat(), StopRule(20))
    assert result.best is not None
    assert result.best.config.digest == min(trial.config.digest for trial in result.trials)


def test_a_prior_of_the_same_landscape_leads_at_once_and_a_reversed_one_loses_its_vote() -> None:
    problem, device = problem_and_device()
    assert problem.whole is not None
    configs = [problem.space.decode(row) for row in problem.whole]
    features = problem.feature_function(problem.whole)
    logs = np.log([m.latency_us or np.nan for m in device.measure(problem.task, configs)])

    def best_after_four(sign: float) -> tuple[float, float]:
        model = RunModel("run")
        records = TaskRecords("other", features, np.zeros(len(logs)), sign * logs)
        model.set_prior(problem, (records,))
        early = search_kernel(KernelSearch(problem, "run", model=model), device, StopRule(4))
        search_kernel(KernelSearch(problem, "run", model=model), device, StopRule(60))
        predictor = model.predictor(problem)
        assert predictor is not None
        latency = early.best.measurement.latency_us if early.best else None
        return (latency or np.inf) / device.optimum_us, float(predictor.votes[0].max())

    like, unlike = best_after_four(1.0), best_after_four(-1.0)
    assert like[0] < 1.2 < unlike[0]
    assert unlike[1] == 0.0 < 0.2 < like[1]  # both fade


def test_a_search_that_has_asked_everything_has_nothing_left_to_find() -> None:
    problem, device = problem_and_device()
    search = KernelSearch(problem, "run")
    seen = search.seen()
    assert seen is not None
    assert (seen.trials, seen.ceiling_log) == (0, WORST_LOG)
    while configs := search.ask(40):
        search.tell(search.trials_of(device.measure(problem.task, configs)))
    seen = search.seen()
    assert seen is not None
    assert (seen.trials, seen.since_best, seen.ceiling_log) == (len(search.trials), search.since_best, 0.0)
    assert KernelSearch(problem, "run", sampler=lambda seed: RandomSampler(seed)).seen() is None


def test_a_search_that_believes_itself_done_stops_and_says_so() -> None:
    problem, device = problem_and_device()
    assert problem.whole is not None
    rule = StopRule(len(problem.whole), regret=0.02)
    result = search_kernel(KernelSearch(problem, "run"), device, rule)
    assert result.reason is StopReason.REGRET
    assert result.best is not None
    assert result.best.measurement.latency_us is not None
    assert result.best.measurement.latency_us <= 1.02 * device.optimum_us
    since = len(result.trials) - result.best.number - 1
    assert since >= max(rule.settle, len(result.trials) // 3)


def test_batches_grow_with_what_is_known() -> None:
    sizes = [SearchSettings().batch_size(asked) for asked in (0, 16, 31, 32, 64, 5000)]
    assert sizes == [4, 4, 7, 8, 16, 16]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"trials": 100}, StopReason.BUDGET),
        ({"since_best": 30}, StopReason.PATIENCE),
        ({"elapsed_s": 9.0}, StopReason.TIME_LIMIT),
        ({"p_within": 0.95}, StopReason.REGRET),
        ({"at_bound": True, "trials": 100}, StopReason.BOUND),
    ],
)
def test_each_limit_stops_for_its_own_reason(changed: dict[str, float], reason: StopReason | None) -> None:
    rule = StopRule(max_trials=100, patience=30, time_limit_s=9.0, regret=0.02)
    calm = Progress(trials=50, since_best=5, elapsed_s=1.0, p_within=0.5, at_bound=False)
    assert stop_reason(rule, replace(calm, **changed)) is reason  # type: ignore[arg-type]
