"""After an import a lookup says what makes answers of the records, not that there are none."""

from pathlib import Path

from tests.db.samples import MODEL, OTHER_TARGET, TARGET, TOOLCHAIN, asked, confirmations, key_of, workload
from tilewright.db.answering.claims import unverified_targets
from tilewright.db.answering.lookup import AnswerRequest, Hit, Miss, lookup
from tilewright.db.exchange.load import merge_database
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective

KNOWN, UNKNOWN = workload("matmul"), workload("conv")


def repository_of(path: Path) -> Repository:
    return Repository(open_database(path))


def measured(repository: Repository) -> None:
    repository.put_target(TARGET)
    repository.put_model(MODEL)
    repository.put_workloads([KNOWN])
    run = repository.start_run(asked()).uid
    repository.commit_trials(confirmations(run, 0, KNOWN))
    repository.publish_best(key_of(KNOWN))


def test_a_lookup_after_an_import_says_to_verify(tmp_path: Path) -> None:
    theirs, mine = repository_of(tmp_path / "theirs.db"), repository_of(tmp_path / "mine.db")
    measured(theirs)
    merge_database(theirs.database, mine.database)
    request = AnswerRequest(TARGET.digest, TOOLCHAIN)
    miss = lookup(mine, KNOWN, request)
    assert isinstance(miss, Miss)
    assert miss.imported
    assert miss.reason == "imported, not verified: tune db verify --target ascend910"
    assert unverified_targets(mine.database) == ("ascend910",)
    assert unverified_targets(theirs.database) == ()


def test_other_misses_say_what_they_said(tmp_path: Path) -> None:
    theirs, mine = repository_of(tmp_path / "theirs.db"), repository_of(tmp_path / "mine.db")
    measured(theirs)
    merge_database(theirs.database, mine.database)
    for row, request in (
        (UNKNOWN, AnswerRequest(TARGET.digest, TOOLCHAIN)),
        (KNOWN, AnswerRequest(OTHER_TARGET.digest, TOOLCHAIN)),
        (KNOWN, AnswerRequest(TARGET.digest, TOOLCHAIN, Objective.ENERGY)),
    ):
        miss = lookup(mine, row, request)
        assert isinstance(miss, Miss)
        assert not miss.imported
        assert miss.reason == "no record of anything like it; tune it first"


def test_what_was_measured_here_answers_and_needs_no_advice(tmp_path: Path) -> None:
    theirs, mine = repository_of(tmp_path / "theirs.db"), repository_of(tmp_path / "mine.db")
    measured(theirs)
    measured(mine)
    merge_database(theirs.database, mine.database)
    assert isinstance(lookup(mine, KNOWN, AnswerRequest(TARGET.digest, TOOLCHAIN)), Hit)
    assert unverified_targets(mine.database) == ()
