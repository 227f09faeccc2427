"""Where the next batch of the budget goes: to the kernel with the most to gain for the whole network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Standing:
    """What the choice depends on, per task.

    `best_us` is the best measured latency (None before the first success), `bound_us` what nothing beats,
    `trials` and `since_best` count the run's measurements, `count` how often the network runs the kernel.
    `bests_us` is the best after each batch of the run so far.
    """

    count: int
    best_us: float | None
    bound_us: float
    trials: int
    since_best: int
    open: bool
    bests_us: tuple[float, ...] = ()


Choose: TypeAlias = Callable[[Sequence[Standing]], int | None]
"""Which task gets the next batch, or None when none is open."""
PATIENCE = 12.0
"""Trials without improvement after which a task's hopes have halved."""


def next_task(standings: Sequence[Standing]) -> int | None:
    """The task to spend the next batch on, or None when none is open.

    First every task gets one batch, in order of what the network could lose on it. Then the hoped-for gain is
    what still lies above the bound, halved for every PATIENCE trials that brought nothing, times the count.
    Ties go to the earlier task.
    """
    open_tasks = [at for at, standing in enumerate(standings) if standing.open]
    fresh = [at for at in open_tasks if standings[at].trials == 0]
    if fresh:
        return max(fresh, key=lambda at: (standings[at].count * standings[at].bound_us, -at))
    return max(open_tasks, key=lambda at: (hoped_gain_us(standings[at]), -at), default=None)


def hoped_gain_us(standing: Standing) -> float:
    """Microseconds the network might still gain from this task."""
    if standing.best_us is None:
        return standing.count * standing.bound_us * float(0.5 ** (standing.trials / PATIENCE))
    above = max(0.0, standing.best_us - standing.bound_us)
    return standing.count * above * float(0.5 ** (standing.since_best / PATIENCE))
