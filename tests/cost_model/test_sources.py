"""Sources of a prior have a vote as far as they rank what they did not see."""

import numpy as np
import pytest

from tilewright.cost_model.learned.ensemble import EnsembleSettings, Floats
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.cost_model.learned.sources import (
    RankAgreement,
    agreement_of,
    doubt_of,
    fit_sources,
    votes_of,
)

RNG = np.random.default_rng(0)


def records(device: str, slope: float, *, kernel: int = 0, drafted: bool = True) -> TaskRecords:
    features = RNG.random((60, 3)).astype(np.float32)
    draft = features[:, 2].astype(np.float64) + 1.0 if drafted else np.zeros(60)
    latency = draft + slope * features[:, 0] + np.where(features[:, 1] > 0.8, np.nan, 0.0)
    return TaskRecords(f"{kernel}@{device}", features, draft, latency, source=device)


def test_a_device_that_is_alike_is_heard_and_one_that_is_not_is_silent() -> None:
    known = [records(name, slope) for name, slope in (("a", 1.0), ("b", 1.2), ("c", -1.0))]
    sources = fit_sources(known, 0, EnsembleSettings(), blind=False)
    assert len(sources) == 4  # three devices, and all together
    standing = np.stack([source.standing for source in sources], axis=1)
    assert standing[0, 2] < -0.5 < 0.0 < standing[1].min()

    own = records("own", -1.0)
    words = np.stack([source.words(own.features) for source in sources], axis=1)
    votes = votes_of(sources, {own.task: agreement_of(words, own)}, own.task, blind=False)
    assert votes[0, :2].tolist() == [0.0, 0.0]
    assert votes[0, 2] > 0.0
    assert votes[1].min() > 0.0


def test_one_source_is_judged_by_halves_of_its_own_kernels() -> None:
    alike = [records("a", 1.0, kernel=at) for at in range(4)]
    mixed = [records("a", (-1.0) ** at, kernel=at) for at in range(4)]
    (first,) = fit_sources(alike, 0, EnsembleSettings(), blind=False)
    (second,) = fit_sources(mixed, 0, EnsembleSettings(), blind=False)
    assert first.standing[0] > 0.8 > 0.0 > second.standing[0]


def test_votes_fade_as_a_task_has_measurements_of_its_own() -> None:
    (source,) = fit_sources([records("a", 1.0)], 0, EnsembleSettings(), blind=False)

    def vote(count: float, agreement: float, other: float = 1.0) -> Floats:
        known = {"own": RankAgreement(np.full((2, 1), agreement), np.full(2, count))}
        known["other"] = RankAgreement(np.full((2, 1), other), np.full(2, 50.0))
        return votes_of([source], known, "own", blind=False)[:, 0]

    assert vote(0, 0.0).min() > 0.8
    assert vote(4, -0.5)[0] == 0.0
    assert (vote(100, 1.0) < 0.2).all()
    assert (vote(0, 0.0, other=-1.0) == 0.0).all()


def test_a_word_is_doubted_as_far_as_its_source_has_no_vote() -> None:
    words = np.array([[2.0, -1.0]])
    assert doubt_of(words, np.array([1.0])).tolist() == [0.0, 0.0]
    assert doubt_of(words, np.array([0.5])) == pytest.approx([1.0, 0.5])
    assert doubt_of(words, np.zeros(1)).tolist() == [0.0, 0.0]


def test_nothing_measured_gives_no_source() -> None:
    failed = TaskRecords("a", np.zeros((3, 1), np.float32), np.zeros(3), np.full(3, np.nan))
    assert fit_sources([failed], 0, EnsembleSettings(), blind=True) == ()
    assert votes_of((), {}, "a", blind=True).shape == (2, 0)
