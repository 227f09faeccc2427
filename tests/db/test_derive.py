"""The rules by which a best follows from trials, as pure functions of rows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.db.samples import config, confirmations, failed, key_of, trial, workload
from tilewright.db.derive import best_value, derive_best, derive_default, objection, ranked_for
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


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verification": Verification.FOREIGN}, "its numbers were verified by the device only"),
        ({"bound_us": None}, "its latency bound is not known"),
        ({"bound_us": 10.1}, "it was measured below its bound"),
    ],
    ids=["word", "bound", "below"],
)
def test_one_confirmation_of_three_is_objection_enough(changes: dict[str, Any], expected: str) -> None:
    first, *others = candidate()
    assert reason([*DEFAULT, replace(first, **changes), *others]) == expected


def test_a_measurement_may_round_to_just_below_its_bound() -> None:
    rounded = 1.0 - 1e-9
    assert reason([*DEFAULT, *candidate((rounded,) * 3)]) == ""
    assert reason([*DEFAULT, *candidate((rounded - 1e-12,) * 3)]) == "it was measured below its bound"


def without_energy(trials: Sequence[Trial]) -> list[TrialRow]:
    silent = [replace(each, measurement=replace(each.measurement, energy_uj=None)) for each in trials]
    return [replace(row, key=replace(row.key, objective=Objective.ENERGY)) for row in rows(silent)]


def test_a_device_that_measures_no_energy_is_named() -> None:
    asked = without_energy([*DEFAULT, *candidate()])
    assert objection(asked, config(1).digest, WorkloadKind.GRAPH) == "the device does not measure energy"
    unknown = derive_default(asked)
    assert unknown is not None
    assert unknown.energy_uj is None
    assert best_value(unknown, WorkloadKind.GRAPH) == float("inf")


def test_imported_trials_say_nothing_here() -> None:
    wrong = trial("run", 9, ROW, failed(Status.WRONG), of_config=1)
    known = rows([*DEFAULT, *candidate()])
    imported = [replace(row, imported=True) for row in known]
    (their_wrong,) = (replace(row, imported=True) for row in rows([wrong], first_s=100.0))
    assert objection([*known, their_wrong], config(1).digest, WorkloadKind.KERNEL) == ""
    without_default = objection([*imported[:3], *known[3:]], config(1).digest, WorkloadKind.KERNEL)
    assert without_default == "its default was not measured under the same protocol"
    of_config = objection([*known[:3], *imported[3:]], config(1).digest, WorkloadKind.KERNEL)
    assert of_config == "it has 0 of 3 confirmations"
    (lost,) = rows([replace(DEFAULT[0], measurement=failed(Status.FAILED))])
    theirs = [replace(lost, imported=True), *known[3:]]
    assert objection(theirs, config(1).digest, WorkloadKind.KERNEL) == without_default


def test_a_search_trial_that_was_verified_confirms_nothing() -> None:
    verified = [replace(each, purpose=Purpose.SEARCH) for each in candidate()]
    unverified = candidate(verification=Verification.NONE)
    assert reason([*DEFAULT, *verified, *unverified]) == "its numbers were not verified"


@pytest.mark.parametrize("first_s", [0.5, 2.0], ids=["never verified", "at the moment of the last check"])
def test_a_failed_check_counts_at_once(first_s: float) -> None:
    checked = replace(failed(Status.WRONG), worker="")
    (wrong,) = rows([trial("run", 9, ROW, checked, of_config=0)], first_s=first_s)
    confirmed_rows = rows(confirmed()) if first_s > 1 else rows(candidate())
    digest = config(0).digest
    assert objection([*confirmed_rows, wrong], digest, WorkloadKind.KERNEL) == "it computed wrong numbers"


def test_a_best_sums_up_its_verified_confirmations() -> None:
    """The median of times and energies, the largest bound and peak, the weakest check, and nothing else."""
    weak, *strong = candidate((12.0, 15.0, 18.0))
    weak = replace(weak, verification=Verification.SAMPLED, bound_us=2.0)
    silent = replace(strong[1], measurement=replace(strong[1].measurement, energy_uj=None))
    luck = [replace(each, attempt=7) for each in candidate((1.0,), verification=Verification.NONE)]
    default = confirmations("run", 0, ROW, (30.0, 30.0, 30.0))
    found = derive_best(rows([*default, weak, strong[0], silent, *luck]), WorkloadKind.KERNEL)
    assert found is not None
    assert (found.config, found.confirmations) == (config(1), 3)
    assert (found.latency_us, found.latency_cycles, found.energy_uj) == (15.0, 15_000.0, 4.5)
    assert (found.bound_us, found.peak_bytes) == (2.0, 18 * 1024)
    assert found.verification is Verification.SAMPLED
