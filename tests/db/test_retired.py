"""A record of a retired toolchain stands in as a guess that says so, with the error to expect of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.db.samples import MODEL, TARGET, TOOLCHAIN, asked, confirmations, workload
from tilewright.db.answering.lookup import AnswerRequest, Fallback, Hit, Match, Miss, lookup_many
from tilewright.db.answering.retired import drift_of, retired_toolchains
from tilewright.db.records import WorkloadRow
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database

KERNELS = [workload(f"kernel {number:02d}", (f"L{number}",)) for number in range(30)]
NEW = "timeline-2"
REQUEST = AnswerRequest(TARGET.digest, NEW, fallback=(Fallback.TOOLCHAIN,), device="simulated", explain=False)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(open_database(tmp_path / "tuning.db"))
    made.put_target(TARGET)
    made.put_model(MODEL)
    made.put_workloads(KERNELS)
    return made


def measured(
    repository: Repository, rows: Sequence[WorkloadRow], us: float, toolchain: str, device: str = "simulated"
) -> str:
    run = repository.start_run(replace(asked(), toolchain=toolchain, device=device)).uid
    for number, row in enumerate(rows):
        times = [us * (1.0 + number / 100)] * 3
        repository.commit_trials(confirmations(run, number, row, times))
    return run


def test_the_last_toolchain_stands_in_with_its_error(repository: Repository) -> None:
    measured(repository, KERNELS, 5.0, "timeline-0")
    measured(repository, KERNELS, 10.0, TOOLCHAIN)
    measured(repository, KERNELS[:20], 11.0, NEW)
    exact, *_, last = lookup_many(repository, KERNELS, REQUEST)
    assert isinstance(exact, Hit)
    assert (exact.match, exact.drift) == (Match.EXACT, None)
    assert isinstance(last, Hit)
    assert (last.match, last.best.key.toolchain) == (Match.RETIRED, TOOLCHAIN)
    assert last.drift is not None
    assert (last.drift.pairs, last.drift.toolchain) == (20, TOOLCHAIN)
    assert last.drift.error == pytest.approx(0.0, abs=1e-9)
    assert last.latency_us == pytest.approx(1.1 * last.best.latency_us)
    assert str(last.drift).startswith(
        f"measured under toolchain {TOOLCHAIN}, a guess under today's; within 0.0%"
    )


def test_it_stands_in_only_where_it_is_wished_for(repository: Repository) -> None:
    measured(repository, KERNELS, 10.0, TOOLCHAIN)
    for steps in ((), (Fallback.FAMILY,), (Fallback.GUESS,)):
        (answer,) = lookup_many(repository, KERNELS[:1], replace(REQUEST, fallback=steps))
        assert isinstance(answer, Miss)
    (answer,) = lookup_many(repository, KERNELS[:1], REQUEST)
    assert isinstance(answer, Hit)
    assert answer.drift is not None
    assert answer.drift.error is None
    assert "too few were measured under both to say how far off (0)" in str(answer.drift)


def test_the_order_of_what_stands_in_is_the_users(repository: Repository) -> None:
    first, second = workload("moved", ("DRAM",)), workload("moved", ("LLB",))
    repository.put_workloads([first, second])
    measured(repository, [first], 10.0, TOOLCHAIN)
    measured(repository, [second], 9.0, NEW)
    for steps, match in (
        ((Fallback.TOOLCHAIN, Fallback.FAMILY), Match.RETIRED),
        ((Fallback.FAMILY, Fallback.TOOLCHAIN), Match.OTHER_PLACEMENT),
    ):
        (answer,) = lookup_many(repository, [first], replace(REQUEST, fallback=steps))
        assert isinstance(answer, Hit)
        assert answer.match is match


def test_others_devices_and_hidden_runs_are_no_retired_toolchains(repository: Repository) -> None:
    measured(repository, KERNELS[:1], 10.0, "board-7", "my board")
    measured(repository, KERNELS[:1], 10.0, "timeline-1-lab-0123456789ab", "simulated in a lab")
    (answer,) = lookup_many(repository, KERNELS[:1], REQUEST)
    assert isinstance(answer, Miss)
    measured(repository, KERNELS[:1], 10.0, TOOLCHAIN)
    assert retired_toolchains(repository.database, TARGET.digest, "simulated", NEW) == (TOOLCHAIN,)


def test_a_config_outside_the_space_of_today_stands_in_for_nothing(repository: Repository) -> None:
    measured(repository, KERNELS[:1], 10.0, TOOLCHAIN)
    strict = replace(REQUEST, fits=lambda row, best: False)
    (answer,) = lookup_many(repository, KERNELS[:1], strict)
    assert isinstance(answer, Miss)


def test_the_error_covers_what_it_was_told_from() -> None:
    ratios = [1.0 + number / 100 for number in range(100)]
    found = drift_of("2", ratios)
    assert found.factor == pytest.approx(1.495, rel=1e-3)
    assert found.error is not None
    within = [abs(ratio / found.factor - 1.0) <= found.error for ratio in ratios]
    assert sum(within) >= 95
    assert drift_of("2", ratios[:8]).error is None
    assert drift_of("2", ratios[:9]).error is not None
    assert drift_of("2", []).factor == 1.0
