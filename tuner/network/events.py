"""Events of a long run for its listeners: plain values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Phase:
    """The run has come to its next part; `detail` is a line for people."""

    name: str
    detail: str


@dataclass(frozen=True)
class Measured:
    """A batch was measured and committed.

    `best` is the lowest number of the objective that the network as a whole has measured so far, `bound` a
    number that no schedule beats, both in `unit`; None where unknown. `sum_us` adds up the best kernels of
    the present plan, or what is expected of those not measured, times their counts; `predicted_us` is what
    that sum was expected to be with the best of this batch, before it was measured. `proposed_s` and
    `measured_s` are the times of this batch. `kernel` names the kernel of the batch and `digest` is its
    workload's; the plan has `calls` of it, it has had `kernel_trials` so far, and nothing beats its
    `kernel_bound_us`.
    """

    trials: int
    budget: int
    kernel: str
    kernel_best_us: float | None
    best: float | None
    bound: float | None
    unit: str
    sum_us: float
    proposed_s: float
    measured_s: float
    predicted_us: float | None = None
    digest: str = ""
    calls: int = 1
    kernel_trials: int = 0
    kernel_bound_us: float | None = None


@dataclass(frozen=True)
class Counted:
    """Progress of long work: so many of `what` are done. For listeners only, not recorded."""

    what: str
    done: int


def standing(best: float | None, bound: float | None, unit: str) -> str:
    """The best whole network and its bound, as every line prints them."""
    figures = (("best", best), ("bound", bound))
    return ", ".join(f"{name} {number:.2f} {unit}" for name, number in figures if number is not None)


Event: TypeAlias = Phase | Measured | Counted
Listener: TypeAlias = Callable[[Event], None]


def silent(event: Event) -> None:
    """A listener that nobody watches."""
