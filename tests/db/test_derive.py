"""The rules by which a best follows from trials, as pure functions of rows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.db.samples import config, confirmations, failed, key_of, trial, workload
from tilewright.db.derive import derive_best, derive_default, objection, ranked_for
from tilewright.db.records import Purpose, Trial, TrialRow, Verification, WorkloadKind
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status

ROW = workload()


def rows(trials: Sequence[Trial], first_s: float = 0.0) -> list[TrialRow]:
    """The trials as stored, a second apart."""
    return [TrialRow(key_of(ROW), each, first_s + index, False) for index, each in enumerate(trials)]


def confirmed() -> list[Trial]:
    """Three good confirmations of a default, so that a best follows from them."""
    return [replace(each, default=True) for each in confirmations("run", 0, ROW)]


def test_a_best_follows_from_confirmations() -> None:
    assert derive_best(rows(confirmed()), WorkloadKind.KERNEL) is not None


def test_search_trials_are_no_confirmations() -> None:
    """The luck of a search must not publish its own winner."""
    searched = [replace(each, purpose=Purpose.SEARCH) for each in confirmed()]
    assert derive_best(rows(searched), WorkloadKind.KERNEL) is None


def test_a_failed_check_holds_until_a_later_check_passes() -> None:
    checked = replace(failed(Status.WRONG), worker="")
    (wrong,) = rows([trial("run", 9, ROW, checked, of_config=0)], first_s=100.0)
    before, after = rows(confirmed(), first_s=0.0), rows(confirmed(), first_s=200.0)
    assert derive_best([*before, wrong], WorkloadKind.KERNEL) is None
    assert derive_best([*before, wrong, *after], WorkloadKind.KERNEL) is not None


def test_wrong_numbers_of_a_device_hold_for_good() -> None:
    measured = replace(failed(Status.WRONG), worker="board 1")
    (wrong,) = rows([trial("run", 9, ROW, measured, of_config=0)], first_s=100.0)
    after = rows(confirmed(), first_s=200.0)
    assert derive_best([wrong, *after], WorkloadKind.KERNEL) is None


def test_a_default_is_marked_as_such_and_confirmed() -> None:
    others = [replace(each, default=False) for each in confirmed()]
    assert derive_default(rows(others)) is None
    failures = [replace(each, measurement=failed(Status.FAILED)) for each in confirmed()]
    assert derive_default(rows(failures)) is None
    assert derive_default(rows(confirmed())) is not None


DEFAULT = confirmations("run", 0, ROW)
"""The default: 11 us in the median of three."""


def candidate(latencies_us: Sequence[float] = (10.0, 10.0, 10.0), **changes: Any) -> list[Trial]:
    """Confirmations of another config."""
    return confirmations("run", 1, ROW, latencies_us, default=False, **changes)


def reason(trials: Sequence[Trial], kind: WorkloadKind = WorkloadKind.KERNEL) -> str:
    return objection(rows(trials), config(1).digest, kind)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (DEFAULT, "it has no confirmations"),
        ([*DEFAULT, *candidate()[:2]], "it has 2 of 3 confirmations"),
        ([*DEFAULT, *candidate(verification=Verification.NONE)], "its numbers were not verified"),
        (
            [*DEFAULT, *candidate(verification=Verification.FOREIGN)],
            "its numbers were verified by the device only",
        ),
        ([*DEFAULT, *candidate(bound_us=None)], "its latency bound is not known"),
        ([*DEFAULT, *candidate(bound_us=10.1)], "it was measured below its bound"),
        (candidate(), "its default was not measured under the same protocol"),
        ([*DEFAULT, *candidate((11.1, 11.1, 11.1))], "its default is better"),
        ([*DEFAULT, *candidate((11.0, 11.0, 11.0))], ""),
        ([*DEFAULT, *candidate(bound_us=10.0)], ""),
    ],
    ids=lambda value: value if isinstance(value, str) and value else None,
)
def test_each_objection_by_itself(trials: list[Trial], expected: str) -> None:
    assert reason(trials) == expected


@pytest.mark.parametrize(
    "changes",
    [{}, {"verification": Verification.FOREIGN}, {"bound_us": None}],
    ids=["as is", "word", "bound"],
)
def test_a_foreign_space_needs_neither_default_nor_bound(changes: dict[str, Any]) -> None:
    assert reason(candidate(**changes), WorkloadKind.FOREIGN) == ""


@pytest.mark.parametrize(
    ("status", "expected"),
    [(Status.FAILED, ""), (Status.LOST, "its default was not measured under the same protocol")],
)
def test_a_default_that_fails_is_slow_and_one_that_is_lost_is_unknown(status: Status, expected: str) -> None:
    no_default = [replace(each, measurement=failed(status)) for each in DEFAULT]
    assert reason([*no_default, *candidate()]) == expected


def test_of_several_defaults_the_best_counts() -> None:
    slower = confirmations("run", 2, ROW, (20.0, 20.0, 20.0))
    assert reason([*DEFAULT, *slower, *candidate((15.0, 15.0, 15.0))]) == "its default is better"


def test_one_protocol_under_which_a_config_passes_is_enough() -> None:
    passes = [replace(row, protocol="first") for row in rows([*DEFAULT, *candidate()])]
    other = [replace(row, protocol="other") for row in rows(candidate()[:1], first_s=50.0)]
    assert objection([*passes, *other], config(1).digest, WorkloadKind.KERNEL) == ""


def test_a_default_needs_no_check_of_its_numbers() -> None:
    unverified = [replace(each, verification=Verification.NONE) for each in DEFAULT]
    found = derive_default(rows(unverified))
    assert found is not None
    assert (found.latency_us, found.confirmations, found.verification) == (11.0, 3, Verification.NONE)


def test_a_best_names_its_first_confirmation_whatever_it_is_derived_from() -> None:
    later = [replace(each, number=7) for each in DEFAULT[1:]]
    found = derive_best(iter(rows([DEFAULT[0], *later])), WorkloadKind.KERNEL)
    assert found is not None
    assert found.number == 0
    assert found.peak_bytes == 12 * 1024


def test_kernels_of_a_memory_run_are_ranked_by_time_and_networks_by_memory() -> None:
    assert ranked_for(Objective.MEMORY, WorkloadKind.KERNEL) is Objective.LATENCY
    assert ranked_for(Objective.MEMORY, WorkloadKind.GRAPH) is Objective.MEMORY


def test_the_config_that_gains_most_over_its_default_is_best() -> None:
    """Times of two protocols are not compared: 5 of 10 us is a larger gain than 3 of 4 us."""
    slow = [*confirmations("run", 0, ROW, (10.0,) * 3), *candidate((5.0,) * 3)]
    fast = [
        *confirmations("run", 0, ROW, (4.0,) * 3),
        *confirmations("run", 2, ROW, (3.0,) * 3, default=False),
    ]
    both = [replace(row, protocol="slow") for row in rows(slow)]
    both += [replace(row, protocol="fast") for row in rows(fast, first_s=50.0)]
    found = derive_best(both, WorkloadKind.KERNEL)
    assert found is not None
    assert found.config == config(1)
    of_foreign = derive_best(rows(candidate()), WorkloadKind.FOREIGN)
    assert of_foreign is not None
    assert of_foreign.latency_us == 10.0


def test_of_two_defaults_the_one_measured_last_is_the_default() -> None:
    later = confirmations("run", 2, ROW, (20.0, 20.0, 20.0))
    found = derive_default([*rows(later, first_s=100.0), *rows(DEFAULT)])
    assert found is not None
    assert found.config == config(2)


def test_wrong_numbers_are_an_objection() -> None:
    wrong = trial("run", 9, ROW, failed(Status.WRONG), of_config=1)
    assert reason([*DEFAULT, *candidate(), wrong]) == "it computed wrong numbers"
