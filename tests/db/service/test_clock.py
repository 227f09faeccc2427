"""A clock that is set back or forward: no lease outlives its length, and no live one is taken for nothing."""

import pytest

from tests.db.samples import MODEL, TARGET, TOOLCHAIN
from tests.db.service.clock import Clock, clocked
from tilewright.db.records import NewRun
from tilewright.db.repository import Repository
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.leases import LeaseLostError
from tilewright.db.service.run_leases import BusyRun, RunLease, RunLeases
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective

LEASE_S, HOUR_S = 8.0, 3600.0


def test_a_clock_set_back_strands_no_job(sqlite_database: Database) -> None:
    """A dead runner's job was left alone until the clock had caught up."""
    clock = Clock()
    jobs = Jobs(clocked(sqlite_database, clock))
    jobs.submit("tenant", "{}")
    dead = jobs.lease("dead", LEASE_S)
    assert dead is not None
    clock.now_s -= HOUR_S
    heir = jobs.lease("heir", LEASE_S)
    assert heir is not None
    assert heir.token == dead.token + 1
    with pytest.raises(LeaseLostError):
        jobs.heartbeat(dead, LEASE_S)
    clock.now_s += LEASE_S / 2
    assert jobs.heartbeat(heir, LEASE_S).token == heir.token
    assert jobs.lease("third", LEASE_S) is None


def test_a_clock_that_is_corrected_a_little_takes_nothing_away(sqlite_database: Database) -> None:
    clock = Clock()
    jobs = Jobs(clocked(sqlite_database, clock))
    jobs.submit("tenant", "{}")
    lease = jobs.lease("runner", LEASE_S)
    assert lease is not None
    clock.now_s -= 0.5
    assert jobs.lease("other", LEASE_S) is None
    jobs.heartbeat(lease, LEASE_S)


def test_a_clock_set_back_strands_no_run(sqlite_database: Database) -> None:
    clock = Clock()
    leases = RunLeases(clocked(sqlite_database, clock))
    repository = Repository(sqlite_database)
    repository.put_target(TARGET)
    repository.put_model(MODEL)
    asked = NewRun(TARGET.digest, TOOLCHAIN, Objective.LATENCY, 0, MODEL.digest)
    assert isinstance(leases.take(asked, "dead", LEASE_S), RunLease)
    assert isinstance(leases.take(asked, "second", LEASE_S), BusyRun)
    clock.now_s -= HOUR_S
    assert isinstance(leases.take(asked, "second", LEASE_S), RunLease)
