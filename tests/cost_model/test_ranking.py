"""The two rankers that the residual model is compared with: order, levels of tasks, failures, seeds."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tilewright.cost_model.learned.ensemble import Ensemble, EnsembleSettings
from tilewright.cost_model.learned.ranking import fit_pairwise, fit_plain
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.cost_model.learned.scores import rank_correlation

SETTINGS = EnsembleSettings()
RNG = np.random.default_rng(3)
FEATURES = RNG.uniform(0, 1, (240, 3)).astype(np.float32)
TRUTH = (2 * np.abs(FEATURES[:, 0] - 0.5) + FEATURES[:, 1]).astype(np.float64)
Fit = Callable[[Sequence[TaskRecords], int, EnsembleSettings], Ensemble]
FITS = pytest.mark.parametrize("fit", [fit_plain, fit_pairwise])


def task(name: str, rows: slice, level: float = 0.0) -> TaskRecords:
    features = FEATURES[rows]
    return TaskRecords(name, features, np.zeros(len(features)), TRUTH[rows] + level)


@FITS
def test_lower_scores_are_faster(fit: Fit) -> None:
    scores, _ = fit([task("one", slice(0, 160))], 0, SETTINGS).predict(FEATURES[160:])
    assert rank_correlation(scores, TRUTH[160:]) > 0.8


@FITS
def test_the_level_of_a_task_does_not_matter(fit: Fit) -> None:
    """A kernel that takes a hundred times as long says nothing about which of its Configs is best."""
    near = fit([task("a", slice(0, 80)), task("b", slice(80, 160))], 0, SETTINGS).predict(FEATURES[160:])[0]
    far = fit([task("a", slice(0, 80)), task("b", slice(80, 160), np.log(100))], 0, SETTINGS)
    assert far.predict(FEATURES[160:])[0] == pytest.approx(near, abs=1e-5)


@FITS
def test_failures_are_left_out(fit: Fit) -> None:
    whole = task("one", slice(0, 120))
    latency = np.where(np.arange(120) % 3 == 0, np.nan, whole.latency_log)
    holed = TaskRecords("one", whole.features, whole.draft_log, latency)
    kept = np.isfinite(latency)
    clean = TaskRecords("one", whole.features[kept], whole.draft_log[kept], latency[kept])
    scores, _ = fit([holed], 0, SETTINGS).predict(FEATURES[120:])
    assert np.isfinite(scores).all()
    assert np.array_equal(scores, fit([clean], 0, SETTINGS).predict(FEATURES[120:])[0])


@FITS
def test_a_fit_repeats_itself_and_depends_on_its_seed(fit: Fit) -> None:
    one, same, other = (
        fit([task("one", slice(0, 120))], seed, SETTINGS).predict(FEATURES[120:])[0] for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
