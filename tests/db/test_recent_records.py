"""A page of records is the same whether the newest were looked through first or all of them at once."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from tests.db.samples import MODEL, OTHER_TARGET, TARGET, asked, failed, ok, trial, workload
from tilewright.db import browse
from tilewright.db.browse import Browse, Viewer, Wanted
from tilewright.db.records import Purpose
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database, open_database
from tilewright.measure.results import Status

EVERYBODY = Viewer(None, operator=True)


def filled_database(path: Path) -> Database:
    """18 records of one run: every second of a canary, every sixth one failed."""
    database = open_database(path)
    repository, row = Repository(database), workload()
    for each in (TARGET, OTHER_TARGET):
        repository.put_target(each)
    repository.put_model(MODEL)
    repository.put_workloads([row])
    run = repository.start_run(asked("first")).uid
    repository.commit_trials(
        [
            trial(
                run,
                number,
                row,
                failed() if number % 6 == 1 else ok(3.0 + number),
                purpose=Purpose.CANARY if number % 2 else Purpose.SEARCH,
            )
            for number in range(18)
        ]
    )
    return database


def pages(records: Browse, wanted: Wanted) -> list[list[int]]:
    found, cursor = [], None
    while True:
        rows, cursor = records.records(EVERYBODY, wanted, cursor, limit=4)
        found.append([row.id for row in rows])
        if cursor is None:
            return found


@pytest.mark.parametrize(
    ("wanted", "all_of_them"),
    [
        (Wanted(), 18),
        (Wanted(status=Status.OK), 15),
        (Wanted(status=Status.FAILED), 3),
        (Wanted(status=Status.LOST), 0),
        (Wanted(purpose=Purpose.CANARY), 9),
        (Wanted(purpose=Purpose.CANARY, status=Status.FAILED), 3),
        (Wanted(target=TARGET.digest[:8], model=MODEL.digest), 18),
        (Wanted(target=OTHER_TARGET.digest), 0),
        (Wanted(workload=workload().digest[:6], run="first"), 18),
        (Wanted(workload="f" * 64), 0),
    ],
)
def test_pages_are_the_same(
    wanted: Wanted, all_of_them: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = filled_database(tmp_path / "t.db")
    records = Browse(database)
    told = []
    for recent in (0, 3, 7, 100):
        monkeypatch.setattr(browse, "RECENT", recent)
        told.append(pages(records, wanted))
    assert told.count(told[0]) == len(told)
    assert sum(map(len, told[0])) == all_of_them
    database.close()


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted(), ""),
        (Wanted(status=Status.FAILED), "ix_trial_status"),
        (Wanted(status=Status.LOST, target=TARGET.digest), "ix_trial_status"),
        (Wanted(purpose=Purpose.CANARY), "ix_trial_purpose"),
        (Wanted(purpose=Purpose.CANARY, status=Status.OK), "ix_trial_purpose"),
    ],
)
def test_no_page_reads_all_records(wanted: Wanted, index: str, tmp_path: Path) -> None:
    """With a million records and few of the wanted status, a page took seconds."""
    database = filled_database(tmp_path / "t.db")
    asked_for: list[tuple[str, Any]] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def remember(connection: Any, cursor: Any, statement: str, values: Any, *rest: Any) -> None:
        asked_for.append((statement, values))

    Browse(database).records(EVERYBODY, wanted)
    event.remove(database.engine, "before_cursor_execute", remember)
    plan = ""
    with database.snapshot() as connection:
        for statement, values in asked_for:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            plan += "".join(f"{step.detail}\n" for step in steps)
    assert index in plan
    assert not index or "SCAN trial" not in plan
    database.close()


def test_trials_are_counted_by_status(tmp_path: Path) -> None:
    database = filled_database(tmp_path / "t.db")
    assert Browse(database).trial_counts() == {"ok": 15, "failed": 3}
    database.close()
    empty = open_database(tmp_path / "empty.db")
    assert Browse(empty).trial_counts() == {}
    empty.close()
