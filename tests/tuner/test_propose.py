"""A proposal is a pure function that never repeats, breaks no rule and never asks for what cannot win."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tuner.landscapes import problem_and_device, space
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.measure.recorded.replay import SpaceTask
from tilewright.search_space.knobs import Knob, Rows
from tilewright.search_space.moves import enumerate_rows, row_keys
from tilewright.search_space.space import Space
from tilewright.tuner.kernel.climb import unlike
from tilewright.tuner.kernel.problem import Floats, History, Problem, no_history, trial_seed
from tilewright.tuner.kernel.propose import optimism, propose
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.settings import ProposeSettings

SETTINGS = ProposeSettings()


def history_of(problem: Problem, count: int, seed: int = 0) -> History:
    rng = np.random.default_rng(seed)
    assert problem.whole is not None
    rows = problem.whole[rng.permutation(len(problem.whole))[:count]]
    return History(rows, cost(rows), rows[:0])


def cost(rows: Rows) -> Floats:
    distance: Floats = np.abs(rows - np.array([5, 1, 2, 1, 1])).sum(axis=1) / 4.0
    return distance


def modelled(problem: Problem, history: History) -> RunModel:
    model = RunModel("run")
    model.tell(problem, history)
    return model


def ask(problem: Problem, history: History, count: int = 16, seed: int = 1) -> Rows:
    return propose(problem, history, modelled(problem, history).predictor(problem), count, seed, SETTINGS)


@pytest.mark.parametrize("measured", [0, 3, 40])
def test_proposals_are_new_distinct_feasible_and_repeatable(measured: int) -> None:
    problem = problem_and_device()[0]
    history = history_of(problem, measured)
    rows = ask(problem, history)
    keys = set(row_keys(rows).tolist())
    assert len(keys) == 16
    assert not keys & set(history.asked.tolist())
    assert problem.space.feasible(rows).all()
    assert np.array_equal(rows, ask(problem, history))


def test_pending_rows_are_not_asked_again() -> None:
    problem = problem_and_device()[0]
    history = history_of(problem, 40)
    first = ask(problem, history)
    second = ask(problem, replace(history, pending=first))
    assert not np.isin(row_keys(second), row_keys(first)).any()


def test_a_model_of_an_easy_valley_asks_near_its_bottom() -> None:
    problem = problem_and_device()[0]
    history = history_of(problem, 60)
    assert problem.whole is not None
    asked = cost(ask(problem, history, 8))
    assert asked.min() == 0.0
    assert np.median(asked) < 0.7 * np.median(cost(problem.whole))


def test_seeds_come_first_and_once() -> None:
    base = problem_and_device()[0]
    assert base.whole is not None
    problem = replace(base, seeds=base.whole[[5, 9]])
    assert ask(problem, no_history(problem.space)).tolist() == base.whole[[5, 9]].tolist()
    history = History(base.whole[[5, 9]], np.zeros(2), base.whole[:0])
    assert not np.isin(row_keys(ask(problem, history)), history.asked).any()


def test_what_cannot_beat_the_best_is_never_asked() -> None:
    base = problem_and_device()[0]
    problem = replace(base, bound_log=lambda rows: cost(rows) - 0.1)
    history = history_of(problem, 40)
    rows = ask(problem, history)
    assert len(rows)
    assert (cost(rows) - 0.1 < history.best_log).all()


def test_warm_up_goes_by_draft_rank_until_the_run_has_measured_enough() -> None:
    base = problem_and_device()[0]
    problem = replace(base, features=base.feature_function, draft_log=cost)
    rows = ask(problem, no_history(problem.space), 4)
    assert (cost(rows) <= 0.75).all()


def test_half_of_a_batch_goes_to_chance_while_the_favourites_of_the_draft_fail() -> None:
    problem = replace(problem_and_device()[0], draft_log=cost)
    favourites = problem.climbed[:8]
    failing = History(favourites, np.full(8, np.nan), favourites[:0])
    lowest = row_keys(problem.climbed[:64])
    rows = propose(problem, failing, None, 8, 1, SETTINGS)
    assert len(np.unique(row_keys(rows))) == 8
    assert not np.isin(row_keys(rows), failing.asked).any()
    assert 4 <= np.isin(row_keys(rows), lowest).sum() < 8
    working = replace(failing, value_log=cost(favourites))
    assert np.isin(row_keys(propose(problem, working, None, 8, 1, SETTINGS)), lowest).all()


def test_an_exhausted_space_has_nothing_more() -> None:
    problem = problem_and_device()[0]
    assert problem.whole is not None
    all_but_three = History(problem.whole[3:], cost(problem.whole[3:]), problem.whole[:0])
    assert sorted(ask(problem, all_but_three).tolist()) == sorted(problem.whole[:3].tolist())
    everything = History(problem.whole, cost(problem.whole), problem.whole[:0])
    assert len(ask(problem, everything)) == 0


def test_a_space_too_large_to_rank_whole_is_searched_by_evolution() -> None:
    knobs = tuple(Knob(f"k{index}", tuple(range(10))) for index in range(8))
    large = Space(knobs, feasible=lambda rows: rows.sum(axis=1) % 2 == 0, rules="even")
    problem = Problem(SpaceTask(large), large)
    assert problem.whole is None
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 10, (120, 8)).astype(np.int32)
    rows = rows[large.feasible(rows)]
    history = History(rows, np.abs(rows - 5).sum(axis=1) / 8.0, rows[:0])
    proposed = ask(problem, history)
    assert large.feasible(proposed).all()
    assert np.median(np.abs(proposed - 5).sum(axis=1)) < np.abs(rows - 5).sum(axis=1).min() + 2


def test_trial_seeds_differ_by_run_and_number() -> None:
    seeds = {trial_seed(run, number) for run in ("a", "b") for number in range(100)}
    assert len(seeds) == 200
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_the_small_landscape_is_what_the_tests_think() -> None:
    rows = enumerate_rows(space())
    assert rows is not None
    assert 300 < len(rows) < 2000


def test_a_prior_shares_the_first_batch_with_the_draft() -> None:
    problem, device = problem_and_device()
    assert problem.whole is not None
    worst = problem.whole[np.argsort(-cost(problem.whole), kind="stable")]
    drafted = replace(problem, draft_log=lambda rows: -cost(rows))
    answers = device.measure(problem.task, [problem.space.decode(row) for row in worst])
    logs = np.log([answer.latency_us or np.nan for answer in answers])
    model = RunModel("run")
    records = TaskRecords("known", drafted.feature_function(worst), drafted.drafts(worst), logs)
    model.set_prior(drafted, (records,))
    rows = propose(drafted, no_history(problem.space), model.predictor(drafted), 4, 0, SETTINGS)
    lowest = row_keys(unlike(drafted.climbed, 2))
    assert row_keys(rows[::2]).tolist() == lowest.tolist()
    assert not np.isin(row_keys(rows[1::2]), lowest).any()


def test_a_blind_search_grows_restless_on_a_plateau() -> None:
    """Where a model is sure that all near by is as good as the best, what lies far off is asked."""
    problem = problem_and_device()[0]
    assert problem.whole is not None
    rows = problem.whole[:120]
    level = History(rows, np.append(np.ones(20), np.full(100, 2.0)), rows[:0])
    assert optimism(problem, level, SETTINGS) == pytest.approx(3.0 * level.since_best / 48.0)
    fresh = History(rows[:30], np.ones(30), rows[:0])
    assert optimism(problem, fresh, SETTINGS) == 3.0
