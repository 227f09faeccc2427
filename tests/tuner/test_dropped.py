"""A candidate that computes wrong numbers is recorded as WRONG, told, and not taken; a run still ends."""

from pathlib import Path

import pytest

from tests.onnx_models import saved, small_cnn
from tilewright.compiler_core.errors import VerifyError
from tilewright.compiler_core.onnx_import import reference
from tilewright.db.records import Purpose, Verification
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer import check
from tilewright.tuner.verbs.tune import tune

REASON = "value 3 is 1 instead of 2 at [0]: off by 1, 1e+06 times what f32 may be off by there"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return saved(small_cnn(), tmp_path)


def _wrong_trials(database: Path) -> list[tuple[str, str]]:
    """Config digests and reasons of what was recorded as WRONG."""
    repository = Repository(open_database(database))
    rows = [
        row
        for run in repository.runs(1)
        for purpose in (Purpose.SEARCH, Purpose.CONFIRMATION)
        for row in repository.trials_of_run(run.asked.uid, purpose)
    ]
    repository.database.close()
    return [
        (row.trial.config.digest, row.trial.measurement.reason)
        for row in rows
        if row.trial.measurement.status is Status.WRONG
    ]


def test_the_next_best_kernel_is_taken(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first Config of every kernel that is checked is found wrong."""
    asked: dict[int, Config] = {}
    honest = check.KernelCheck.failure

    def failing(self: check.KernelCheck, config: Config) -> Measurement | None:
        first = asked.setdefault(id(self), config)
        return failure(Status.WRONG, REASON) if config == first else honest(self, config)

    monkeypatch.setattr(check.KernelCheck, "failure", failing)
    database = tmp_path / "tuning.db"
    report = tune(network, "ascend910", trials=24, database=database, ray="none")
    assert report.verification == Verification.VALUE_EXACT
    assert report.tuned.latency_us <= report.default.latency_us
    assert report.dropped
    wrong = dict(_wrong_trials(database))
    for each in report.dropped:
        assert each.reason == REASON
        (digest,) = [digest for digest in wrong if digest[:12] in each.what]
        assert wrong[digest] == REASON


def test_the_next_best_schedule_is_taken(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = check.NetworkCheck.verified
    refused: list[str] = []

    def failing(self: check.NetworkCheck, config: Config) -> Verification:
        if config != self._opened.default_config:
            refused.append(config.digest)
            raise VerifyError(REASON)
        return honest(self, config)

    monkeypatch.setattr(check.NetworkCheck, "verified", failing)
    database = tmp_path / "tuning.db"
    report = tune(network, "ascend910", trials=24, database=database, ray="none")
    assert report.tuned == report.default
    assert report.verification == Verification.VALUE_EXACT
    assert refused
    assert [digest for digest, _ in _wrong_trials(database)] == refused
    assert [each.reason for each in report.dropped] == [REASON] * len(refused)


def test_a_network_that_means_something_else_has_no_answer(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the importer had misread it: not even the default is served, and all trials stay."""
    honest = reference._in_float64
    monkeypatch.setattr(reference, "_in_float64", lambda array: honest(array) * 1.001)
    database = tmp_path / "tuning.db"
    with pytest.raises(
        VerifyError,
        match=r"no schedule of model computes what the model says, nor its default: \w+ as imported is",
    ):
        tune(network, "ascend910", trials=24, database=database, ray="none")
    assert _wrong_trials(database)
    repository = Repository(open_database(database))
    (run,) = repository.runs(5)
    assert len(repository.trials_of_run(run.asked.uid)) >= 24
    repository.database.close()
