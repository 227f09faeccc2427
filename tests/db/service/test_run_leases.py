"""Single conditions of a run's start and of its lease."""

from dataclasses import replace

import pytest

from tests.db.samples import MODEL, TARGET, asked
from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import NewRun
from tilewright.db.repository import Repository
from tilewright.db.service.run_leases import RunLease, RunLeases
from tilewright.db.storage.session import Database


@pytest.fixture
def repository(sqlite_database: Database) -> Repository:
    repository = Repository(sqlite_database)
    repository.put_target(TARGET)
    repository.put_model(MODEL)
    return repository


def taken(repository: Repository, wanted: NewRun) -> RunLease:
    lease = RunLeases(repository.database).take(wanted, "holder", 60.0)
    assert isinstance(lease, RunLease)
    return lease


def test_a_run_has_the_uid_that_it_was_given(repository: Repository) -> None:
    assert taken(repository, asked("mine")).run.uid == "mine"
    assert len(repository.start_run(asked()).uid) == 32


def test_a_uid_is_given_once(repository: Repository) -> None:
    repository.start_run(asked("mine"))
    with pytest.raises(RecordError, match="'mine' cannot start: its uid is taken"):
        repository.start_run(asked("mine"))


def test_of_two_runs_left_the_one_with_the_uid_goes_on(repository: Repository) -> None:
    for uid in ("older", "newer"):
        repository.start_run(asked(uid))
    assert taken(repository, asked("older")).run.uid == "older"


def test_of_two_runs_left_the_newer_goes_on(repository: Repository) -> None:
    for uid in ("older", "newer"):
        repository.start_run(asked(uid))
    assert taken(repository, asked()).run.uid == "newer"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"uid": "a run"}, "run uid 'a run'"),
        ({"protocol": "two\nlines"}, "protocol"),
        ({"toolchain": "x" * 101}, "toolchain version"),
        ({"seed": -1}, "seed -1"),
        ({"trials_budget": -1}, "budget -1"),
        ({"seed": 2**63}, "seed 9223372036854775808"),
        ({"trials_budget": 2**63}, "budget 9223372036854775808"),
        ({"settings": "{"}, "settings of the run"),
        ({"versions": "{"}, "versions of the run"),
        ({"model_digest": None}, "a run without a model has no lease"),
    ],
)
def test_a_run_that_could_not_be_exchanged_does_not_start(
    repository: Repository, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(RecordError, match=complaint):
        RunLeases(repository.database).take(replace(asked(), **changes), "holder", 60.0)  # type: ignore[arg-type]
    assert repository.runs(10) == []
