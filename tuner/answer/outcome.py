"""The end of a run: the network's assignment, and its figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tilewright.tuner.answer.report import Figures, FrontPoint
from tilewright.tuner.kernel.stopping import StopReason
from tilewright.tuner.network.assignment import Assignment
from tilewright.tuner.network.book import Dropped
from tilewright.tuner.network.opened import Opened


@dataclass(frozen=True, eq=False)
class Outcome:
    """The network's figures at -O0 and as answered, and how the answer's outputs were checked.

    Without `measured` the answer is a guess, simulated from the target file; `expected_error` is its expected
    error against the device (0.1 = 10 %), None where unknown. `spent` are the trials of this run by workload
    digest, `regret` is the expected distance of its kernels from their optimum, `dropped` are the
    candidates that failed their check. `front` is there where one was asked for.
    """

    assignment: Assignment
    default: Figures
    tuned: Figures
    verification: str
    reason: StopReason
    measured: bool = True
    expected_error: float | None = None
    spent: Mapping[str, int] = field(default_factory=dict)
    regret: float | None = None
    dropped: tuple[Dropped, ...] = ()
    front: tuple[FrontPoint, ...] = ()


def nothing_runs(opened: Opened) -> Outcome:
    """The outcome of a network without ops: its outputs are inputs or constants."""
    none = Figures(0.0, 0.0, 0.0, 0)
    return Outcome(Assignment(opened, opened.planner.base, {}), none, none, "none", StopReason.EXHAUSTED)
