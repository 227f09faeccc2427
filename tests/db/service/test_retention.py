"""What is kept, and for how long; what is deleted makes the file smaller."""

import io
from pathlib import Path

import numpy as np
import pytest

from tests.db.samples import MODEL, TARGET, TOOLCHAIN
from tests.db.service.clock import Clock, clocked
from tilewright.api.cli.main import main
from tilewright.db.browse import Browse, Viewer
from tilewright.db.records import NewRun
from tilewright.db.repository import Repository
from tilewright.db.service.audit import Audit
from tilewright.db.service.job_rows import JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.retention import DAY_S, Freed, Keep, sweep
from tilewright.db.service.uploads import Uploads
from tilewright.db.service.workers import Workers
from tilewright.db.storage.session import Database, open_database
from tilewright.measure.objectives import Objective

KEEP = Keep(jobs_s=10 * DAY_S, models_s=DAY_S, audit_s=30 * DAY_S, workers_s=5 * DAY_S, stored_bytes=10 << 20)
OPERATOR = Viewer("other", operator=True)


def model(seed: int, size: int = 1000) -> io.BytesIO:
    return io.BytesIO(np.random.default_rng(seed).bytes(size))


def ended(jobs: Jobs, digest: str | None = None, result: str = "{}") -> str:
    jobs.submit("tenant", "{}", digest)
    lease = jobs.lease("runner", 60.0)
    assert lease is not None
    jobs.add_event(lease, "phase", "{}")
    jobs.finish(lease, JobState.SUCCEEDED, result)
    return lease.job.uid


def test_what_is_old_goes_and_what_is_needed_stays(sqlite_database: Database) -> None:
    clock = Clock()
    database = clocked(sqlite_database, clock)
    jobs, uploads = Jobs(database), Uploads(database)
    done, waiting = uploads.put_model(model(1), []), uploads.put_model(model(2), [])
    program = uploads.put(b"program")
    uid = ended(jobs, done)
    jobs.submit("tenant", "{}", waiting)
    Audit(database).add("tenant", "key", "submit", uid)
    Workers(database).seen("worker", "board")
    assert sweep(database, KEEP) == Freed()
    clock.now_s += 2 * DAY_S
    assert sweep(database, KEEP) == Freed(files=1, file_bytes=1000)
    assert (uploads.size(done), uploads.symbols(done)) == (None, None)
    assert uploads.get(waiting) is not None
    row = jobs.get(uid)
    assert row is not None
    assert row.upload_digest == done, "the job still says what it was about"
    clock.now_s += 9 * DAY_S
    assert sweep(database, KEEP) == Freed(jobs=1, events=1, files=1, file_bytes=7, workers=1)
    assert jobs.get(uid) is None
    assert uploads.get(program) is None
    clock.now_s += 20 * DAY_S
    assert sweep(database, KEEP) == Freed(audit=1)
    assert uploads.get(waiting) is not None
    assert jobs.lease("runner", 60.0) is not None


def test_a_model_that_went_may_come_again(sqlite_database: Database) -> None:
    clock = Clock()
    database = clocked(sqlite_database, clock)
    jobs, uploads = Jobs(database), Uploads(database)
    digest = uploads.put_model(model(1), ["batch"])
    ended(jobs, digest)
    clock.now_s += 2 * DAY_S
    sweep(database, KEEP)
    assert uploads.put_model(model(1), ["batch"]) == digest
    assert uploads.get(digest) == model(1).read()
    assert uploads.symbols(digest) == ("batch",)
    clock.now_s += DAY_S / 2
    uploads.symbols(digest)  # to ask for it is to use it
    clock.now_s += DAY_S * 0.6
    assert sweep(database, KEEP) == Freed()


def test_the_longest_unused_go_first(sqlite_database: Database) -> None:
    clock = Clock()
    database = clocked(sqlite_database, clock)
    uploads = Uploads(database)
    digests = []
    for seed in range(5):
        digests.append(uploads.put_model(model(seed, 3 << 20), []))
        clock.now_s += 3600.0
    Jobs(database).submit("tenant", "{}", digests[0])
    freed = sweep(database, KEEP)
    assert (freed.files, freed.file_bytes) == (2, 6 << 20)
    assert [uploads.size(digest) is not None for digest in digests] == [True, False, False, True, True]


def test_runs_of_a_deleted_job_are_the_operators(sqlite_database: Database) -> None:
    clock = Clock()
    database = clocked(sqlite_database, clock)
    repository = Repository(database)
    repository.put_target(TARGET)
    repository.put_model(MODEL)
    uid = ended(Jobs(database))
    run = repository.start_run(
        NewRun(TARGET.digest, TOOLCHAIN, Objective.LATENCY, 0, MODEL.digest, job=uid)
    ).uid
    assert Browse(database).run(OPERATOR, run) is None
    clock.now_s += 11 * DAY_S
    assert sweep(database, KEEP).jobs == 1
    assert Browse(database).run(OPERATOR, run) is not None


@pytest.mark.parametrize("earlier", [False, True])
def test_gc_says_what_it_freed_and_the_file_is_smaller(
    earlier: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """381 MB stayed after cancel and gc."""
    path = tmp_path / "tuning.db"
    database = open_database(path)
    if earlier:  # a file of before could not give back bit by bit
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA auto_vacuum = NONE")
            connection.exec_driver_sql("VACUUM")
    jobs = Jobs(database)
    job, _ = jobs.submit("tenant", "{}", Uploads(database).put_model(model(0, 8 << 20), []))
    jobs.cancel(job.uid)
    database.close()
    assert path.stat().st_size > 8 << 20
    assert main(["db", "gc", "--db", str(path)]) == 0
    assert "0 files" in capsys.readouterr().out
    assert main(["db", "gc", "--db", str(path), "--days", "0"]) == 0
    said = capsys.readouterr().out
    assert "1 jobs" in said
    assert "1 files (8.4 MB)" in said
    assert path.stat().st_size < 1 << 20
    assert main(["db", "gc", "--db", str(path), "--days", "-1"]) == 2
