"""Objectives of a search: a table with one row per objective.

A new objective is a word and its row here, a migration for the rule of table `run`, and a test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tilewright.compiler_core.errors import UsageError
from tilewright.measure.results import Measurement, Status


class Objective(StrEnum):
    """Part of every record's key: an answer for one objective is never served for another."""

    LATENCY = "latency"
    ENERGY = "energy"
    MEMORY = "memory"
    EDP = "edp"

    @property
    def row(self) -> "ObjectiveRow":
        """Its row of the table."""
        return TABLE[self]

    def of(self, measured: Measurement) -> float | None:
        """The number to minimise, in the row's unit; None where the measurement failed or lacks it."""
        if measured.status is not Status.OK:
            return None
        number = self.row.reads(measured)
        return number if number is not None and 0.0 < number < float("inf") else None


@dataclass(frozen=True)
class ObjectiveRow:
    """`unit` and `figure` (its name in JSON) belong to the number that `reads` takes from a measurement.

    `adds_up`: the network's number is the sum over its kernels. `has_draft`: a low draft of the latency
    promises a low number. `of_kernels`: what a network's kernels are searched and ranked for.
    """

    unit: str
    figure: str
    reads: Callable[[Measurement], float | None]
    adds_up: bool
    has_draft: bool
    of_kernels: Objective


def _memory(measured: Measurement) -> float | None:
    # A network in one kernel keeps nothing between kernels, and no byte has no logarithm.
    return None if measured.peak_bytes is None else float(max(measured.peak_bytes, 1))


def _edp(measured: Measurement) -> float | None:
    latency, energy = measured.latency_us, measured.energy_uj
    return None if latency is None or energy is None else latency * energy


TABLE: Mapping[Objective, ObjectiveRow] = {
    Objective.LATENCY: ObjectiveRow(
        "us", "latency_us", lambda measured: measured.latency_us, True, True, Objective.LATENCY
    ),
    Objective.ENERGY: ObjectiveRow(
        "uJ", "energy_uj", lambda measured: measured.energy_uj, True, True, Objective.ENERGY
    ),
    # The plan decides the bytes between kernels; kernels themselves are searched for latency.
    Objective.MEMORY: ObjectiveRow("bytes", "peak_bytes", _memory, False, False, Objective.LATENCY),
    Objective.EDP: ObjectiveRow("us uJ", "edp_us_uj", _edp, False, True, Objective.EDP),
}


def read_objective(name: str) -> Objective:
    """The objective called `name`, or by the name of its figure; UsageError with the names there are."""
    for objective, row in TABLE.items():
        if name in (objective, row.figure):
            return objective
    raise UsageError(f"--objective {name!r} is unknown; choose from {', '.join(Objective)}")


def values_of(measured: Measurement, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Every objective's number, or None where the measurement lacks one of them."""
    numbers = [objective.of(measured) for objective in objectives]
    known = tuple(number for number in numbers if number is not None)
    return known if len(known) == len(numbers) else None
