"""The models rank what they were not shown, repeat themselves, and tell failures apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tilewright.cost_model.learned.ensemble import EnsembleSettings
from tilewright.cost_model.learned.feasibility import fit_feasibility
from tilewright.cost_model.learned.gaussian import find_scales, fit_gaussian
from tilewright.cost_model.learned.residual import TaskRecords, fit_residual
from tilewright.cost_model.learned.scores import rank_correlation, top_k_score
from tilewright.cost_model.plain_features import plain_features
from tilewright.search_space.knobs import Knob
from tilewright.search_space.space import Space

SETTINGS = EnsembleSettings()
RNG = np.random.default_rng(7)
FEATURES = RNG.uniform(0, 1, (400, 5)).astype(np.float32)
TRUTH = (3 * np.abs(FEATURES[:, 0] - 0.5) + FEATURES[:, 1] * FEATURES[:, 2]).astype(np.float64)


def records(count: int, task: str = "t", draft: float = 0.0, level: float = 2.0) -> TaskRecords:
    return TaskRecords(task, FEATURES[:count], np.full(count, draft), TRUTH[:count] + level + draft)


@pytest.mark.parametrize("count", [25, 100, 300])
def test_ranks_rows_it_has_not_seen(count: int) -> None:
    model = fit_residual([records(count)], FEATURES, 0, SETTINGS)
    assert model is not None
    predicted = model.predict("t", FEATURES[300:], np.zeros(100))
    assert rank_correlation(predicted.mean_log, TRUTH[300:]) > {25: 0.7, 100: 0.9, 300: 0.95}[count]
    assert (predicted.std_log > 0).all()
    assert (predicted.feasible == 1.0).all()


def test_a_fit_repeats_itself_and_depends_on_its_seed() -> None:
    fits = [fit_residual([records(300)], FEATURES, seed, SETTINGS) for seed in (1, 1, 2)]
    means = [fit.predict("t", FEATURES, np.zeros(400)).mean_log for fit in fits if fit is not None]
    assert np.array_equal(means[0], means[1])
    assert not np.array_equal(means[0], means[2])


def test_records_of_another_task_teach_a_new_one() -> None:
    model = fit_residual([records(200, "old"), records(2, "new", level=9.0)], FEATURES, 0, SETTINGS)
    assert model is not None
    predicted = model.predict("new", FEATURES[300:], np.zeros(100)).mean_log
    assert rank_correlation(predicted, TRUTH[300:]) > 0.8
    assert abs(predicted.mean() - (TRUTH[300:].mean() + 9.0)) < 1.0


def test_the_draft_is_added_back() -> None:
    model = fit_residual([records(100, draft=4.0)], FEATURES, 0, SETTINGS)
    assert model is not None
    low, high = (model.predict("t", FEATURES, np.full(400, draft)).mean_log for draft in (4.0, 5.0))
    assert np.allclose(high - low, 1.0)
    assert abs((low - TRUTH - 6.0)[300:].mean()) < 0.2


def test_nothing_is_fitted_to_failures_alone() -> None:
    failed = TaskRecords("t", FEATURES[:5], np.zeros(5), np.full(5, np.nan))
    assert fit_residual([failed], FEATURES, 0, SETTINGS) is None


def test_failures_are_told_apart() -> None:
    ok = FEATURES[:, 3] < 0.6
    probability = fit_feasibility(FEATURES[:300], ok[:300], 0, SETTINGS).probability(FEATURES[300:])
    assert probability[ok[300:]].mean() > 0.8 > 0.3 > probability[~ok[300:]].mean()
    assert (
        fit_feasibility(FEATURES, np.ones(400, dtype=np.bool_), 0, SETTINGS).probability(FEATURES) == 1
    ).all()


def test_thinning_bounds_the_cost_and_keeps_the_ranking() -> None:
    small = EnsembleSettings(max_rows=100, process_rows=50)
    model = fit_residual([records(300)], FEATURES, 0, small)
    assert model is not None
    assert len(model.process.points) == 50
    assert rank_correlation(model.predict("t", FEATURES[300:], np.zeros(100)).mean_log, TRUTH[300:]) > 0.8


def test_the_process_interpolates_and_is_unsure_far_away() -> None:
    rng = np.random.default_rng(0)
    scales = find_scales(FEATURES[:60], TRUTH[:60], FEATURES, rng, 200)
    process = fit_gaussian(FEATURES[:60], TRUTH[:60], scales, rng, 200)
    known = process.posterior(FEATURES[:60])
    mean, near = known.mean, known.std
    far = process.posterior(FEATURES[:1] + 50).std
    assert rank_correlation(mean, TRUTH[:60]) > 0.97
    assert far[0] > 2 * near.mean()


@given(st.lists(st.integers(0, 6), min_size=3, max_size=30), st.integers(0, 9))
def test_rank_correlation_agrees_with_scipy(values: list[int], seed: int) -> None:
    first = np.array(values, dtype=np.float64)
    second = np.random.default_rng(seed).integers(0, 5, len(first)).astype(np.float64)
    if first.std() and second.std():
        assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    else:
        assert rank_correlation(first, second) == 0.0


def test_top_k_score_is_the_optimum_over_the_best_chosen() -> None:
    measured = np.log(np.array([4.0, 2.0, 1.0]))
    assert top_k_score(np.array([0.0, 1.0, 2.0]), measured, 1) == pytest.approx(0.25)
    assert top_k_score(np.array([0.0, 1.0, 2.0]), measured, 2) == pytest.approx(0.5)
    assert top_k_score(np.array([0.0, 1.0, 2.0]), measured, 3) == pytest.approx(1.0)


def test_plain_features_tell_rows_apart_and_skip_fixed_knobs() -> None:
    space = Space(
        (
            Knob("x", (1, 2, 6)),
            Knob("y", (4, 8, 16)),
            Knob("order", ("a", "b", "c"), ordered=False),
            Knob("one", (7,)),
        )
    )
    features = plain_features(space)
    rows = np.array([[2, 0, 1, 0], [0, 2, 1, 0]], dtype=np.int32)
    # log2 and dividing power of two of x and y, one of three orders, log2 of x*y and x/y
    expected = np.array([np.log2(6), 2, 2, 3, 0, 1, 0, np.log2(24), np.log2(1.5)], dtype=np.float32)
    assert features(rows).dtype == np.float32
    assert np.allclose(features(rows)[0], expected)
    assert features(rows[:0]).shape == (0, 9)
