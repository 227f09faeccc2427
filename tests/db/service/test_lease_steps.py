"""Every order of the steps of two runners with a job, against the SQL that the service uses."""

from pathlib import Path

import pytest
from sqlalchemy import event

from tests.db.service.clock import Clock, clocked
from tests.db.service.lease_steps import LEASE_S, State, Subject, explore
from tilewright.db.service.job_rows import JobState
from tilewright.db.storage.session import open_database

SHORT, LONG = 4, 12


def subject(path: Path) -> Subject:
    clock = Clock(1_000_000.0)
    database = clocked(open_database(path), clock)
    event.listen(database.engine, "connect", lambda opened, _: opened.execute("PRAGMA synchronous = OFF"))
    return Subject(database, clock)


def test_every_order_of_few_steps(tmp_path: Path) -> None:
    states, taken = explore(subject(tmp_path / "tuning.db"), SHORT)
    assert states > 50
    assert taken > 500


@pytest.mark.campaign
def test_every_order_of_twelve_steps(tmp_path: Path) -> None:
    states, taken = explore(subject(tmp_path / "tuning.db"), LONG)
    print(f"{states} states, {taken} steps")


def test_nobody_waits_longer_than_a_lease(tmp_path: Path) -> None:
    """Whatever the clock did, a job of a dead runner is free at once, or when a lease's length has passed."""
    real = subject(tmp_path / "tuning.db")
    for until_s in (-5000.0, -1.0, 1.0, LEASE_S, LEASE_S + 1.5, 1000.0, 1e6):
        stuck = State(JobState.RUNNING, until_s, 1, up=(True, False))
        _, at_once = real.step(stuck, ("lease", 0))
        waited, _ = real.step(stuck, ("expire", -1))
        _, later = real.step(waited, ("lease", 0))
        assert at_once or later, until_s
