"""The scheduler of the budget: the next batch goes to the kernel with the most to gain for the network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias


@dataclass(frozen=True)
class Standing:
    """The state of a task for the choice.

    `best_us` is the best measured latency (None before the first success), `bound_us` its bound,
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
FORGETTING = 0.4
"""Weight of a batch's gain, relative to that of the next batch."""
LEFT = 0.1
"""Share of the way to its bound that a kernel is hoped to go in one batch, before that fades."""
FADING = 1.5
"""That hope fades by this much with every batch of the kernel."""

HALF = 0.5
"""Of a mean kernel's share of the bound: a smaller kernel has a look before its first batch."""


def matters(standings: Sequence[Standing]) -> list[bool]:
    """Which kernels have at least HALF of a mean kernel's share of all bounds."""
    shares = [standing.count * standing.bound_us for standing in standings]
    return [len(shares) * share >= HALF * sum(shares) for share in shares]


def next_task(standings: Sequence[Standing]) -> int | None:
    """The task to spend the next batch on, or None when none is open.

    First every task gets one batch, in order of what the network could lose on it. Then the one of the
    largest hoped gain; ties go to the earlier task.
    """
    open_tasks = [index for index, standing in enumerate(standings) if standing.open]
    fresh = [index for index in open_tasks if standings[index].trials == 0]
    if fresh:
        return max(fresh, key=lambda at: (standings[at].count * standings[at].bound_us, -at))
    return max(open_tasks, key=lambda at: (hoped_gain_us(standings[at]), -at), default=None)


def hoped_gain_us(standing: Standing) -> float:
    """Microseconds the network might still gain from this task, per batch.

    The gains of its batches, the last counting most, and its share of what is left to its bound, fading with
    the batches it got. Constants fit recorded searches of ResNet-50 and MobileNetV3 (docs/decisions/0062).
    """
    batches = max(1, len(standing.bests_us))
    if standing.best_us is None:
        return standing.count * standing.bound_us / float(batches**FADING)
    left_us = max(0.0, standing.best_us - standing.bound_us)
    return standing.count * (_recent_gain_us(standing) + LEFT * left_us / float(batches**FADING))


def _recent_gain_us(standing: Standing) -> float:
    gain = 0.0
    for before, after in pairwise(standing.bests_us):
        if before != float("inf"):
            gain = FORGETTING * gain + (1 - FORGETTING) * (before - after)
    return gain
