"""Whatever write or sync of a file fails: what was acknowledged is there, the rest is there whole or not."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from tests.db.samples import prepared, trial, workload
from tests.db.storage.faulty_files import Fault, Plan, library, spoiling
from tilewright.compiler_core.errors import RecordError
from tilewright.db.repository import Repository
from tilewright.db.service.job_rows import JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.storage.session import open_database

SQLITE = library()
ROW, BATCHES, BATCH = workload(), 6, 8
pytestmark = pytest.mark.skipif(
    SQLITE is None, reason="NO SQLITE LIBRARY FOUND: its files were not made to fail"
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("faults") / "template.db"
    database = open_database(path)
    run = prepared(Repository(database), ROW)
    database.close()
    return path, run


def work(path: Path, run: str, plan: Plan) -> tuple[list[int], list[str]]:
    """Commits batches and sees a job through, trying on after every error; what was acknowledged."""
    assert SQLITE is not None
    batches: list[int] = []
    done: list[str] = []
    with spoiling(SQLITE, plan):
        try:
            database = open_database(path)
        except RecordError as error:
            one_line(error)
            return batches, done
        repository, jobs = Repository(database), Jobs(database)
        lease = None
        for number in range(BATCHES):
            try:
                repository.commit_trials([trial(run, number * BATCH + index, ROW) for index in range(BATCH)])
                batches.append(number)
                if number == 1:
                    done.append(jobs.submit("tenant", "{}", None, "key")[0].uid)
                if number == 2:
                    lease = jobs.lease("runner", 3600.0)
                if number == 4 and lease is not None:
                    jobs.finish(lease, JobState.SUCCEEDED, "{}")
                    done.append("finished")
            except RecordError as error:
                one_line(error)
        # The process dies here: nothing is closed in good order.
        for suffix in ("", "-wal"):
            if Path(f"{path}{suffix}").exists():
                shutil.copy(f"{path}{suffix}", f"{path}.dead{suffix}")
        with suppress(RecordError):
            database.close()
    return batches, done


def one_line(error: RecordError) -> None:
    assert "\n" not in str(error)


def check(path: Path, run: str, batches: list[int], done: list[str], what: str) -> None:
    database = open_database(path)
    database.require_sound()
    numbers = [row.trial.number for row in Repository(database).trials_of_run(run)]
    for number in range(BATCHES):
        there = [each for each in numbers if each // BATCH == number]
        assert len(there) in (0, BATCH), f"{what}: half of batch {number}"
        assert number not in batches or len(there) == BATCH, f"{what}: batch {number} is lost"
    jobs = Jobs(database)
    for uid in done[:1]:
        job = jobs.get(uid)
        assert job is not None, f"{what}: the job is lost"
        assert "finished" not in done or job.state is JobState.SUCCEEDED, f"{what}: its end is lost"
    jobs.submit("tenant", "{}")
    database.close()


@pytest.mark.parametrize("fault", Fault)
def test_what_is_acknowledged_survives_every_failing_call(
    fault: Fault, template: tuple[Path, str], tmp_path: Path
) -> None:
    source, run = template
    shutil.copy(source, tmp_path / "counted.db")
    counted = Plan()
    batches, done = work(tmp_path / "counted.db", run, counted)
    assert len(batches) == BATCHES
    assert len(done) == 2
    calls = counted.syncs if fault is Fault.FAILED_SYNC else counted.writes
    assert calls > BATCHES
    failed = 0
    for index in range(1, calls + 1, 2 if fault is Fault.FAILED_SYNC else 7):
        for count in (1, 10**9):
            path = tmp_path / f"{fault.name} {index} {count}.db"
            shutil.copy(source, path)
            plan = Plan(fault, index, count)
            batches, done = work(path, run, plan)
            failed += plan.spoiled > 0
            for place in (Path(f"{path}.dead"), path):
                if place.exists():
                    check(place, run, batches, done, f"{fault.value} at {index}, {count} times")
    assert failed > 5
