"""The search of one kernel as a part of the search of its network."""

from dataclasses import dataclass, field, replace

import numpy as np

from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status
from tilewright.tuner.kernel.search import KernelSearch
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.scheduler import Standing
from tilewright.tuner.outlook.shown import Shown

_GUESS_OFF_LOG = float(np.log(3.0))
"""A draft is taken to be slower than its guess by this factor at the most."""


@dataclass
class TaskSearch:
    """One kernel's search, the best of earlier runs and how many of their Configs were no better, and whether
    it is open for more trials.
    """

    task: KernelTask
    kernel: KernelSearch
    known_us: float | None
    earlier: int = 0
    open: bool = True
    _bests_us: list[float] = field(default_factory=list)

    @property
    def best_us(self) -> float | None:
        """The lowest latency measured or known."""
        best = self.kernel.best
        measured = [best.measurement.latency_us] if best is not None else []
        return min((us for us in (*measured, self.known_us) if us is not None), default=None)

    def standing(self, count: int) -> Standing:
        """Its state for the scheduler, in a network that runs its kernel `count` times."""
        trials = len(self.kernel.trials)
        is_open = self.open and count > 0
        return Standing(count, self.best_us, self.task.bound_us, trials, is_open, self._after_batches())

    def _after_batches(self) -> tuple[float, ...]:
        """The best after every batch, as batches follow from the trials: a resumed run sees the same."""
        for trial in self.kernel.trials[len(self._bests_us) :]:
            us = trial.measurement.latency_us if trial.measurement.status is Status.OK else None
            least = self._bests_us[-1] if self._bests_us else float("inf")
            self._bests_us.append(least if us is None else min(least, us))
        ends = []
        done = 0
        while done < len(self._bests_us):
            done = min(done + self.kernel.settings.batch_size(done), len(self._bests_us))
            ends.append(self._bests_us[done - 1])
        return tuple(ends)

    def _above_bound(self, best_us: float) -> float:
        """Log of the best over the bound; that of a kernel that does nothing is 0 where launches are free."""
        bound_us = self.task.bound_us
        return max(0.0, float(np.log(best_us / bound_us))) if bound_us > 0.0 else float("inf")

    def seen(self, count: int, guess_us: float) -> Shown | None:
        """What its search has shown, for an estimate of what is left, in a network that runs it `count`
        times; None where none can be made. What earlier runs have measured counts as measured before.
        """
        seen, own, objective = self.kernel.seen(), self.kernel.best, self.kernel.settings.objectives[0]
        if seen is None:
            return None
        if objective is not Objective.LATENCY:
            value = None if own is None else objective.of(own.measurement)
            return None if value is None else replace(seen, best=count * value)
        best_us = self.best_us
        if best_us is None:
            above = self._above_bound(guess_us) + _GUESS_OFF_LOG
            return None if seen.trials else replace(seen, best=count * guess_us, ceiling_log=above)
        seen = replace(
            seen, best=count * best_us, ceiling_log=min(seen.ceiling_log, self._above_bound(best_us))
        )
        if self.known_us is None:
            return seen
        better = own is not None and own.measurement.latency_us == best_us
        trials = 1 + self.earlier + seen.trials
        return replace(seen, trials=trials, since_best=seen.since_best if better else trials - 1)
