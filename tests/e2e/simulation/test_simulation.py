"""The service lives through every trouble that a seed can think of, and a broken promise is found."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.simulation.service import Scenario, live, undisturbed
from tilewright.db.service import jobs, leases
from tilewright.db.service.job_rows import JobState
from tilewright.db.service.leases import Guard
from tilewright.db.storage.columns import database_clock
from tilewright.db.storage.schema import job

SEEDS, SEEDS_WHEN_BROKEN = 40, 100
CAMPAIGN = 10_000


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def lived_through(seeds: range, folder: Path) -> None:
    calm = live(0, undisturbed(Scenario()), folder).latencies
    for seed in seeds:
        outcome = live(seed, folder=folder)
        for key, state in outcome.states.items():
            if state is JobState.SUCCEEDED and len(calm[key]) == len(outcome.latencies[key]):
                assert outcome.latencies[key] == calm[key], f"seed {seed}: {key} has other trials"


def test_nothing_is_lost_doubled_or_stuck(tmp_path: Path) -> None:
    lived_through(range(SEEDS), tmp_path)


@pytest.mark.campaign
def test_nothing_is_lost_doubled_or_stuck_in_ten_thousand_seeds(tmp_path: Path) -> None:
    lived_through(range(CAMPAIGN), tmp_path)


def test_a_seed_repeats_itself(tmp_path: Path) -> None:
    first, second = (live(7, folder=tmp_path) for _ in range(2))
    assert (first.happened, first.lasted_s, first.latencies) == (
        second.happened,
        second.lasted_s,
        second.latencies,
    )


def never_refuses(*_: Any) -> Guard:
    return lambda connection: None


def clock_believed(table: Any) -> Any:
    return table.c.lease_until_s > database_clock()


@pytest.mark.parametrize("broken", ["fence", "clock"])
def test_a_broken_promise_is_found(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation means something: without the fence, or the rule on clocks, seeds fail."""
    if broken == "fence":
        monkeypatch.setattr(jobs, "guard_of", never_refuses)
        monkeypatch.setattr("tilewright.db.service.run_leases.guard_of", never_refuses)
    else:
        for module in ("leases", "jobs", "queue", "run_leases"):
            monkeypatch.setattr(f"tilewright.db.service.{module}.running", clock_believed)
        expired = (job.c.state == JobState.RUNNING) & ~clock_believed(job)
        monkeypatch.setattr("tilewright.db.service.queue._waits", (job.c.state == JobState.QUEUED) | expired)
    assert leases.CLOCK_SLACK_S > 0
    with pytest.raises(Exception, match="seed"):  # noqa: PT012 - the first of them that finds it
        for seed in range(100, 100 + SEEDS_WHEN_BROKEN):
            live(seed, folder=tmp_path)
