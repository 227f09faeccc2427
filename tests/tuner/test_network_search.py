"""The search over a network: its budget, the order of its steps, resumption, its answers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.tuner.open_runs import OpenRun, open_run
from tilewright.measure.farm.pool import SerialPool
from tilewright.measure.results import Measurement
from tilewright.tuner.kernel.problem import SearchTrial
from tilewright.tuner.kernel.stopping import StopReason, StopRule
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.events import Event, Measured, Phase
from tilewright.tuner.network.search import NetworkSearch

Committed = list[tuple[str, SearchTrial]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenRun]:
    with open_run(tmp_path) as run:
        yield run


def work(
    search: NetworkSearch,
    run: OpenRun,
    trials: int,
    *,
    events: list[Event] | None = None,
    cancelled: bool = False,
    seconds: Sequence[float] = (),
    time_limit_s: float | None = None,
    regret: float | None = None,
) -> tuple[StopReason, Committed]:
    """Run a search, and return its reason and what it committed; `seconds` are what its clock shows."""
    committed: Committed = []
    clock = iter(seconds)

    def commit(task: KernelTask, batch: Sequence[SearchTrial]) -> None:
        known = len(search.searches[task.digest].kernel.trials)
        done = sum(digest == task.digest for digest, _ in committed)
        assert known - resumed.get(task.digest, 0) == done, "committed before it is learned"
        committed.extend((task.digest, trial) for trial in batch)

    resumed = dict(search.spent)
    reason = search.run(
        SerialPool(run.device),
        StopRule(trials, time_limit_s=time_limit_s, regret=regret, settle=8),
        commit,
        listener=(events if events is not None else []).append,
        clock=lambda: next(clock, 0.0),
        cancelled=lambda: cancelled,
    )
    return reason, committed


def test_the_budget_is_spent_to_the_last_trial_and_every_trial_is_committed(opened: OpenRun) -> None:
    search, events = opened.search(budget=30), []  # type: ignore[var-annotated]  # work says what it takes
    reason, committed = work(search, opened, 30, events=events)
    assert reason is StopReason.BUDGET
    assert search.trials == len(committed) == len(opened.device.asked) == 30
    assert sum(search.spent.values()) == 30
    assert search.is_measured
    told = [event.trials for event in events if isinstance(event, Measured)]
    assert told == sorted(told)
    assert told[-1] == 30
    prices = [event.detail for event in events if isinstance(event, Phase) and event.name == "price"]
    assert len(prices) == 3, "told where the network is planned anew"
    assert " now: " in prices[-1]


def test_no_budget_asks_for_nothing(opened: OpenRun) -> None:
    search = opened.search()
    assert work(search, opened, 0) == (StopReason.BUDGET, [])
    assert search.spent == {}
    assert not search.is_measured


def test_a_cancelled_search_asks_for_nothing(opened: OpenRun) -> None:
    assert work(opened.search(), opened, 8, cancelled=True) == (StopReason.CANCELLED, [])
    assert opened.device.asked == []


def test_a_search_ends_by_the_clock_after_a_whole_batch(opened: OpenRun) -> None:
    # Readings: the start, one before every batch, and three in it.
    reason, committed = work(opened.search(), opened, 30, seconds=(0, 0, 1, 1, 1, 61), time_limit_s=60.0)
    assert reason is StopReason.TIME_LIMIT
    assert 0 < len(committed) < 30


def test_a_search_that_ends_by_its_regret_states_no_more_than_was_asked_for(opened: OpenRun) -> None:
    search = opened.search(budget=300)
    reason, committed = work(search, opened, 300, regret=0.3)
    assert reason is StopReason.REGRET
    assert 8 <= len(committed) < 300
    outlook = search.outlook()
    assert outlook is not None
    assert outlook.within(0.3) >= 0.95
    assert outlook.band().expected < 0.3


@pytest.mark.parametrize("cut", [7, 16])
def test_a_search_that_is_resumed_measures_the_same_trials(opened: OpenRun, cut: int) -> None:
    """Whole batches of the first part are given back; the rest of the budget repeats the undisturbed run."""
    _, whole = work(opened.search(budget=32), opened, 32)
    first = opened.search(budget=32)
    _, head = work(first, opened, cut)
    again = opened.search(budget=32)
    again.resume(head)
    assert again.spent == first.spent
    _, tail = work(again, opened, 32)
    assert len(head) + len(tail) == 32
    asked = [(digest, trial.config) for digest, trial in whole]
    assert [(digest, trial.config) for digest, trial in head] == asked[: len(head)]
    if cut == 16:  # the end of a batch: nothing differs from then on
        assert [(digest, trial.config) for digest, trial in (*head, *tail)] == asked


def test_trials_are_ranked_best_first_and_failures_left_out(opened: OpenRun) -> None:
    search = opened.search(budget=24)
    _, committed = work(search, opened, 24)
    for digest, count in search.spent.items():
        ranked = search.ranked(digest)
        values = [measured.latency_us for _, measured in ranked]
        assert values == sorted(us for us in values if us is not None)
        ok = [trial for of, trial in committed if of == digest and trial.measurement.latency_us is not None]
        assert len(ranked) == len(ok) <= count
    assert search.ranked("0" * 64) == []


def test_a_plan_adds_up_the_best_of_each_kernel_as_often_as_it_runs(opened: OpenRun) -> None:
    search = opened.search(budget=24)
    promised = search.sum_us(search.plan)
    assert promised > 0.0, "before a trial the expected times count"
    work(search, opened, 24)
    best_us = {digest: search.ranked(digest)[0][1].latency_us for digest in search.plan.counts}
    wanted = sum(count * (best_us[digest] or 0.0) for digest, count in search.plan.counts.items())
    assert search.sum_us(search.plan) == pytest.approx(wanted)
    readings: dict[tuple[str, str], float] = search.readings_us
    assert {digest for digest, _ in readings} == set(search.spent)


def test_a_device_on_which_nothing_runs_ends_the_search_without_an_answer(opened: OpenRun) -> None:
    opened.device.broken = True
    search = opened.search(budget=12)
    reason, committed = work(search, opened, 12)
    assert reason is StopReason.BUDGET
    assert len(committed) == 12
    assert not search.is_measured
    assert search.readings_us == {}
    assert all(isinstance(trial.measurement, Measurement) for _, trial in committed)
    assert search.outlook() is None
