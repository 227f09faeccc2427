"""What a long run tells whoever watches it: plain values, one per thing that happened."""

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

    `network_us` adds up the best kernels so far, or what is expected of those not measured, times their
    counts; `proposed_s` and `measured_s` are what this batch took, for those who watch. `predicted_us` is
    what the network was expected to take with the best of this batch, before it was measured.
    """

    trials: int
    budget: int
    kernel: str
    kernel_best_us: float | None
    network_us: float
    bound_us: float
    proposed_s: float
    measured_s: float
    predicted_us: float | None = None


Event: TypeAlias = Phase | Measured
Listener: TypeAlias = Callable[[Event], None]


def silent(event: Event) -> None:
    """A listener that nobody watches."""
