"""The table of objectives: every row reads a number, and nothing outside the table knows them by name."""

import pytest

from tilewright.compiler_core.errors import UsageError
from tilewright.db.storage.schema import run
from tilewright.measure.objectives import TABLE, Objective, read_objective, values_of
from tilewright.measure.results import Measurement, Status, failure

TOLD = Measurement(Status.OK, latency_us=2.0, energy_uj=3.0, peak_bytes=64)


def test_every_objective_is_read_off_a_measurement() -> None:
    numbers = {objective: objective.of(TOLD) for objective in Objective}
    assert numbers == {"latency": 2.0, "energy": 3.0, "memory": 64.0, "edp": 6.0}
    assert values_of(TOLD, (Objective.EDP, Objective.LATENCY)) == (6.0, 2.0)


def test_what_a_device_does_not_tell_is_no_number() -> None:
    silent = Measurement(Status.OK, latency_us=2.0)
    assert [objective.of(silent) for objective in Objective] == [2.0, None, None, None]
    assert {objective.of(failure(Status.FAILED, "no")) for objective in Objective} == {None}
    assert values_of(silent, (Objective.LATENCY, Objective.ENERGY)) is None


def test_every_objective_is_complete() -> None:
    """A row each; its name is allowed in the database; what adds up is what its kernels are searched for."""
    assert set(TABLE) == set(Objective)
    rule = next(str(each.sqltext) for each in run.constraints if str(each.name).endswith("objective"))  # type: ignore[attr-defined]
    for objective, row in TABLE.items():
        assert repr(str(objective)) in rule
        assert row.unit
        assert row.figure
        assert row.of_kernels.row.of_kernels is row.of_kernels
        assert row.of_kernels is objective or not row.adds_up


def test_objectives_are_read_by_any_of_their_names() -> None:
    assert [read_objective(row.figure) for row in TABLE.values()] == list(TABLE)
    assert [read_objective(str(objective)) for objective in TABLE] == list(TABLE)
    with pytest.raises(UsageError, match="beauty"):
        read_objective("beauty")
