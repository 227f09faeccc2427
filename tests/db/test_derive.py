"""Who has the last word on wrong numbers: the latest check of a config, and any device that showed some."""

from dataclasses import replace

from tests.db.samples import confirmations, trial, workload
from tilewright.db.derive import objection
from tilewright.db.records import Key, TrialRow, WorkloadKind
from tilewright.measure.results import Status, failure


def rows(device: str, checked_at_s: float, verified_at_s: float) -> list[TrialRow]:
    """Config 0, confirmed and verified at one time, and wrong at another; a check has no device."""
    row = workload()
    key = Key(row.digest, "0" * 64, "any")
    wrong = trial("run", 1, row, replace(failure(Status.WRONG, "y is off"), worker=device), of_config=0)
    good = confirmations("run", 0, row)
    return [
        TrialRow(key, wrong, checked_at_s, imported=False),
        *(TrialRow(key, each, verified_at_s, imported=False) for each in good),
    ]


def objected(device: str, checked_at_s: float, verified_at_s: float) -> str:
    found = rows(device, checked_at_s, verified_at_s)
    return objection(found, found[0].trial.config.digest, WorkloadKind.KERNEL)


def test_the_latest_check_counts() -> None:
    assert objected("", 1.0, 2.0) == "", "what was refused by mistake is verified now"
    assert "wrong" in objected("", 2.0, 1.0)


def test_a_device_that_was_wrong_once_may_be_so_again() -> None:
    assert "wrong" in objected("board-1", 1.0, 2.0)
    assert "wrong" in objected("board-1", 2.0, 1.0)
