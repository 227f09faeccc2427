"""What the service keeps in any database: leases of runs, jobs, keys, uploads, workers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select

from tests.db.samples import (
    MODEL,
    TARGET,
    TOOLCHAIN,
    asked,
    digest,
    prepared,
    trial,
    workload,
)
from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import Effort, Key, NewRun
from tilewright.db.repository import Repository
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.service.job_rows import JobState, KeyReusedError
from tilewright.db.service.jobs import MOST_ATTEMPTS, Jobs
from tilewright.db.service.leases import LeaseLostError
from tilewright.db.service.run_leases import BusyRun, RunLease, RunLeases
from tilewright.db.service.uploads import Uploads
from tilewright.db.service.workers import Workers, WorkerState
from tilewright.db.storage import schema
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective

LONG_S = 3600.0
OVER_S = 0.0  # a lease that has run out when it is given


def taken(
    database: Database, asked_for: NewRun, holder: str = "test", duration_s: float = LONG_S
) -> RunLease:
    """A lease on the run that does what is asked for; nobody else has one."""
    found = RunLeases(database).take(asked_for, holder, duration_s)
    assert isinstance(found, RunLease)
    return found


class ServiceSuite:
    """Override `database`: empty, of the current schema."""

    @pytest.fixture
    def database(self) -> Database:
        raise NotImplementedError

    @pytest.fixture
    def repository(self, database: Database) -> Repository:
        return Repository(database)

    @pytest.fixture
    def jobs(self, database: Database) -> Jobs:
        return Jobs(database)

    # Leases of runs

    def test_an_interrupted_run_is_found_again(self, database: Database, repository: Repository) -> None:
        row = workload()
        run = prepared(repository, row)
        assert taken(database, asked()).run.uid == run
        assert taken(database, asked(objective=Objective.ENERGY)).run.uid != run
        repository.finish_run(run, "budget spent", 0.02, [Effort(row.digest, 64, 0.02)])
        assert taken(database, asked()).run.uid != run
        finished = repository.run(run)
        assert (finished.stop_reason, finished.regret_estimate) == ("budget spent", 0.02)
        assert finished.finished_at_s is not None
        assert finished.finished_at_s >= finished.started_at_s
        with pytest.raises(RecordError, match="not open"):
            repository.finish_run(run, "again")

    # Leases of runs

    def test_one_run_of_a_network_is_under_way_at_a_time(
        self, database: Database, repository: Repository
    ) -> None:
        row = workload()
        run = prepared(repository, row)
        leases = RunLeases(database)
        lease = taken(database, asked(), "first")
        repository.commit_trials([trial(run, 0, row)], leases.guard(lease))
        for other in (asked(), replace(asked(), seed=8), replace(asked(), trials_budget=9)):
            busy = leases.take(other, "second", LONG_S)
            assert isinstance(busy, BusyRun)
            assert (busy.run.uid, busy.holder, busy.trials) == (run, "first", 1)
        assert taken(database, asked(objective=Objective.ENERGY), "second").run.uid != run
        repository.finish_run(run, "budget spent", guard=leases.guard(lease))
        assert taken(database, asked(), "second").run.uid != run
        with pytest.raises(LeaseLostError):
            leases.heartbeat(lease, LONG_S)

    def test_a_run_that_ended_meanwhile_is_looked_at_first(
        self, database: Database, repository: Repository
    ) -> None:
        run = prepared(repository, workload())
        leases, key = RunLeases(database), Key(MODEL.digest, TARGET.digest, TOOLCHAIN)
        ended = leases.ended(key)
        repository.finish_run(run, "budget spent")
        assert leases.take(asked(), "late", LONG_S, ended=ended) is None
        assert isinstance(leases.take(asked(), "late", LONG_S, ended=leases.ended(key)), RunLease)

    def test_a_run_is_taken_over_when_its_holder_is_gone(
        self, database: Database, repository: Repository
    ) -> None:
        row = workload()
        run = prepared(repository, row)
        leases = RunLeases(database)
        gone = taken(database, asked(), "gone")
        again = leases.take(asked(), "next", LONG_S, lambda holder: holder == "gone")
        assert isinstance(again, RunLease)
        assert again.run.uid == run
        with pytest.raises(LeaseLostError, match="another process"):
            repository.commit_trials([trial(run, 0, row)], leases.guard(gone))
        with pytest.raises(LeaseLostError, match="another process"):
            repository.finish_run(run, "budget spent", guard=leases.guard(gone))
        assert repository.trials_of_run(run) == []
        leases.release(gone)
        assert isinstance(leases.take(asked(), "third", LONG_S), BusyRun)
        leases.release(again)
        assert taken(database, asked(), "third").run.uid == run

    def test_a_lease_that_ran_out_holds_until_somebody_comes(
        self, database: Database, repository: Repository
    ) -> None:
        row = workload()
        run = prepared(repository, row)
        leases = RunLeases(database)
        slow = taken(database, asked(), "slow", OVER_S)
        repository.commit_trials([trial(run, 0, row)], leases.guard(slow))
        leases.heartbeat(slow, OVER_S)
        other = taken(database, replace(asked(), seed=8), "quick")
        assert other.run.uid != run
        with pytest.raises(LeaseLostError):
            repository.commit_trials([trial(run, 1, row)], leases.guard(slow))

    def test_a_job_takes_its_own_run_over(self, database: Database, repository: Repository) -> None:
        prepared(repository, workload())
        of_job = replace(asked(), job="job-1")
        run = taken(database, of_job).run.uid
        assert taken(database, of_job).run.uid == run
        assert isinstance(RunLeases(database).take(replace(asked(), job="job-2"), "x", LONG_S), BusyRun)

    # Jobs

    def test_a_job_from_submission_to_result(self, jobs: Jobs) -> None:
        job, new = jobs.submit("tenant", '{"model":"m"}')
        assert new
        assert (job.state, job.tenant) == (JobState.QUEUED, "tenant")
        lease = jobs.lease("runner", LONG_S)
        assert lease is not None
        assert (lease.job.uid, lease.job.state, lease.token) == (job.uid, JobState.RUNNING, 1)
        assert jobs.lease("another", LONG_S) is None
        jobs.add_event(lease, "progress", '{"trials":16}')
        jobs.add_event(lease, "progress", '{"trials":32}')
        assert [event.number for event in jobs.events(job.uid, after=1)] == [2]
        jobs.finish(lease, JobState.SUCCEEDED, '{"speedup":2}')
        ended = jobs.get(job.uid)
        assert ended is not None
        assert (ended.state, ended.result) == (JobState.SUCCEEDED, '{"speedup":2}')
        assert ended.finished_at_s is not None
        with pytest.raises(LeaseLostError):
            jobs.finish(lease, JobState.FAILED)
        assert jobs.counts()[JobState.SUCCEEDED] == 1

    def test_a_lost_lease_writes_nothing(self, repository: Repository, jobs: Jobs) -> None:
        row = workload()
        run = prepared(repository, row)
        jobs.submit("tenant", "{}")
        late = jobs.lease("late", OVER_S)
        assert late is not None
        with pytest.raises(LeaseLostError):
            repository.commit_trials([trial(run, 0, row)], jobs.guard(late))
        current = jobs.lease("current", LONG_S)
        assert current is not None
        assert current.token == late.token + 1
        for refused in (lambda: jobs.heartbeat(late, LONG_S), lambda: jobs.add_event(late, "x", "{}")):
            with pytest.raises(LeaseLostError):
                refused()
        with pytest.raises(LeaseLostError):
            repository.finish_run(run, "late", guard=jobs.guard(late))
        repository.commit_trials([trial(run, 0, row)], jobs.guard(current))
        repository.finish_run(run, "done", guard=jobs.guard(current))
        assert len(repository.trials_of_run(run)) == 1

    def test_a_job_that_kills_its_runners_fails(self, jobs: Jobs) -> None:
        job, _ = jobs.submit("tenant", "{}")
        for _ in range(MOST_ATTEMPTS):
            assert jobs.lease("runner", OVER_S) is not None
        assert jobs.lease("runner", OVER_S) is None
        ended = jobs.get(job.uid)
        assert ended is not None
        assert ended.state is JobState.FAILED
        assert "lost" in ended.error

    def test_cancel_waits_for_the_runner(self, jobs: Jobs) -> None:
        waiting, _ = jobs.submit("tenant", "{}")
        cancelled = jobs.cancel(waiting.uid, "tenant")
        assert cancelled is not None
        assert cancelled.state is JobState.CANCELLED
        running, _ = jobs.submit("tenant", "{}")
        lease = jobs.lease("runner", LONG_S)
        assert lease is not None
        assert jobs.cancel(running.uid, "somebody else") is None
        jobs.cancel(running.uid, "tenant")
        assert jobs.heartbeat(lease, LONG_S).job.cancel_requested
        jobs.finish(lease, JobState.CANCELLED)
        abandoned, _ = jobs.submit("tenant", "{}")
        jobs.lease("runner", OVER_S)
        jobs.cancel(abandoned.uid)
        assert jobs.lease("runner", LONG_S) is None
        ended = jobs.get(abandoned.uid)
        assert ended is not None
        assert ended.state is JobState.CANCELLED

    def test_a_released_job_waits_again(self, jobs: Jobs) -> None:
        jobs.submit("tenant", "{}")
        lease = jobs.lease("runner", LONG_S)
        assert lease is not None
        jobs.release(lease)
        again = jobs.lease("runner", LONG_S)
        assert again is not None
        assert (again.job.attempts, again.token) == (1, 2)

    def test_an_idempotency_key_submits_once(self, jobs: Jobs) -> None:
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: jobs.submit("tenant", "{}", None, "key"), range(4)))
        assert len({job.uid for job, _ in answers}) == 1
        assert [new for _, new in answers].count(True) == 1
        with pytest.raises(KeyReusedError):
            jobs.submit("tenant", '{"other":1}', None, "key")
        assert jobs.submit("another tenant", "{}", None, "key")[1]

    def test_pages_of_jobs_hold_each_job_once(self, jobs: Jobs) -> None:
        uids = [jobs.submit("tenant", "{}")[0].uid for _ in range(7)]
        jobs.submit("another", "{}")
        seen: list[str] = []
        cursor = None
        while True:
            page = jobs.list("tenant", cursor=cursor, limit=3)
            seen += [job.uid for job in page.jobs]
            cursor = page.cursor
            if cursor is None:
                break
        assert seen == uids[::-1]
        assert len(jobs.list(state=JobState.RUNNING).jobs) == 0
        with pytest.raises(RecordError, match="cursor"):
            jobs.list(cursor="1; DROP TABLE job")

    def test_runners_never_share_a_job(self, jobs: Jobs) -> None:
        uids = {jobs.submit("tenant", "{}")[0].uid for _ in range(24)}

        def drain(runner: int) -> list[str]:
            done = []
            while (lease := jobs.lease(f"runner {runner}", LONG_S)) is not None:
                jobs.finish(lease, JobState.SUCCEEDED)
                done.append(lease.job.uid)
            return done

        with ThreadPoolExecutor(4) as threads:
            done = [uid for some in threads.map(drain, range(4)) for uid in some]
        assert sorted(done) == sorted(uids)

    # Keys, uploads, workers, selectors

    def test_keys_are_known_by_their_secret_only(self, database: Database) -> None:
        keys = ApiKeys(database)
        assert not keys.any_valid()
        key, secret = keys.create("tenant", "laptop", [Scope.READ, Scope.SUBMIT])
        assert keys.authenticate(secret) == key
        assert key.scopes == {Scope.READ, Scope.SUBMIT}
        assert keys.authenticate(secret[:-1]) is None
        assert keys.authenticate("") is None
        with database.snapshot() as connection:
            stored = connection.execute(select(schema.api_key)).all()
        assert secret not in repr(stored)
        keys.revoke(key.id)
        assert keys.authenticate(secret) is None
        assert not keys.any_valid()
        assert [each.revoked_at_s is None for each in keys.list("tenant")] == [False]
        with pytest.raises(RecordError, match="no API key"):
            keys.revoke(999)

    def test_uploads_are_kept_once(self, database: Database) -> None:
        uploads = Uploads(database)
        content = bytes(range(256)) * 100
        assert uploads.put(content) == uploads.put(content)
        assert uploads.get(uploads.put(content)) == content
        assert uploads.get(digest("nothing")) is None

    def test_workers_are_quarantined_and_let_back(self, database: Database) -> None:
        workers = Workers(database)
        workers.seen("worker-1", "simulated")
        workers.judge("worker-1", WorkerState.QUARANTINED, "canary 3 % off")
        workers.seen("worker-1", "simulated")
        (row,) = workers.list()
        assert (row.state, row.reason) == (WorkerState.QUARANTINED, "canary 3 % off")
        assert row.last_seen_at_s >= row.first_seen_at_s
        with pytest.raises(RecordError, match="never seen"):
            workers.judge("worker-2", WorkerState.HEALTHY)
