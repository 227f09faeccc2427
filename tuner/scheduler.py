"""Where the next batch of the budget goes: to the kernel with the most to gain for the whole network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Standing:
    """What the choice depends on, per task.

    `best_us` is the best measured latency (None before the first success), `bound_us` what nothing beats,
    `trials` counts the run's measurements, `count` how often the network runs the kernel.
    `bests_us` is the best after each batch of the run so far.
    """

    count: int
    best_us: float | None
    bound_us: float
    trials: int
    open: bool
    bests_us: tuple[float, ...] = ()


Choose: TypeAlias = Callable[[Sequence[Standing]], int | None]
"""Which task gets the next batch, or None when none is open."""
WINDOW = 3
"""Batches over which recent progress is averaged."""
PROGRESS = 0.2
"""Weight of recent progress against what is left to a kernel that was asked little."""
FADING = 1.5
"""How fast the hope for a kernel fades with the batches it got."""


def next_task(standings: Sequence[Standing]) -> int | None:
    """The task to spend the next batch on, or None when none is open.

    First every task gets one batch, in order of what the network could lose on it. Then the one of the
    largest hoped gain; ties go to the earlier task.
    """
    open_tasks = [at for at, standing in enumerate(standings) if standing.open]
    fresh = [at for at in open_tasks if standings[at].trials == 0]
    if fresh:
        return max(fresh, key=lambda at: (standings[at].count * standings[at].bound_us, -at))
    return max(open_tasks, key=lambda at: (hoped_gain_us(standings[at]), -at), default=None)


def hoped_gain_us(standing: Standing) -> float:
    """Microseconds the network might still gain from this task, per batch.

    The mean gain of the last batches, and its share of the network's time, fading with the batches it got.
    Nothing where the kernel runs at its bound.
    """
    batches = max(1, len(standing.bests_us))
    if standing.best_us is None:
        return standing.count * standing.bound_us / float(batches**FADING)
    if standing.best_us <= standing.bound_us:
        return 0.0
    fading = standing.best_us / float(batches**FADING)
    return standing.count * (PROGRESS * _progress_us(standing) + (1 - PROGRESS) * fading)


def _progress_us(standing: Standing) -> float:
    window = min(WINDOW, len(standing.bests_us) - 1)
    before = standing.bests_us[-1 - window] if window > 0 else float("inf")
    return (before - standing.bests_us[-1]) / window if before != float("inf") else 0.0
