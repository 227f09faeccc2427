"""The rules by which a best follows from trials, as pure functions of rows."""

from collections.abc import Sequence
from dataclasses import replace

from tests.db.samples import confirmations, failed, key_of, trial, workload
from tilewright.db.derive import derive_best, derive_default
from tilewright.db.records import Purpose, Trial, TrialRow, WorkloadKind
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
