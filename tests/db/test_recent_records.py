"""A page of records is the same whether the newest were looked through first or all of them at once."""

from pathlib import Path

import pytest

from tests.db.samples import MODEL, TARGET, asked, ok, trial, workload
from tilewright.db import browse
from tilewright.db.browse import Browse, Viewer, Wanted
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.results import Status

EVERYBODY = Viewer(None, operator=True)


def pages(records: Browse, wanted: Wanted) -> list[list[int]]:
    found, cursor = [], None
    while True:
        rows, cursor = records.records(EVERYBODY, wanted, cursor, limit=4)
        found.append([row.id for row in rows])
        if cursor is None:
            return found


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(status=Status.OK), Wanted(status=Status.FAILED)])
def test_pages_are_the_same(wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_database(tmp_path / "t.db")
    repository, row = Repository(database), workload()
    repository.put_target(TARGET)
    repository.put_model(MODEL)
    repository.put_workloads([row])
    run = repository.start_run(asked()).uid
    repository.commit_trials([trial(run, number, row, ok(3.0 + number)) for number in range(18)])
    records = Browse(database)
    told = []
    for recent in (0, 3, 7, 100):
        monkeypatch.setattr(browse, "RECENT", recent)
        told.append(pages(records, wanted))
    assert told.count(told[0]) == len(told)
    assert sum(map(len, told[0])) == (0 if wanted.status is Status.FAILED else 18)
    database.close()
