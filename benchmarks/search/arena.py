"""An arena: one task and what measures it, the same for every method; each Config is measured once.

A method is shown rows and log latencies, nothing else. What it asks counts when it satisfies the rules of the
space and was not asked before.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from benchmarks.search.kernel_tasks import Case
from tilewright.measure.device import Device, Task
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config, Rows
from tilewright.tuner.kernel.problem import Floats, Problem

DRAFTED = 8
"""How many Configs of the best draft a peer is given to start from."""


@dataclass(eq=False)
class SearchArena:
    """`problem` on `device`; `key` names the task in rows of the bench, `optimum_us` is its lowest latency.

    It is a pool for our own search, and answers rows for the others; answers are remembered. `measuring_s`
    adds up the processor time of measuring.
    """

    key: str
    problem: Problem
    device: Device
    optimum_us: float = 0.0
    measuring_s: float = 0.0
    _known: dict[str, Measurement] = field(default_factory=dict)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """One Measurement per Config, in their order."""
        fresh = {c.digest: c for c in configs if c.digest not in self._known}
        if fresh:
            start = time.thread_time()
            answers = self.device.measure(task, list(fresh.values()))
            self.measuring_s += time.thread_time() - start
            self._known.update(zip(fresh, answers, strict=True))
        return [self._known[config.digest] for config in configs]

    def latencies_us(self, rows: Rows) -> Floats:
        """Latency of each row, microseconds [n]; NaN where it fails."""
        configs = [self.problem.space.decode(row) for row in rows]
        answers = self.measure(self.problem.task, configs)
        return np.array([answer.latency_us or np.nan for answer in answers])

    @property
    def enough_log(self) -> float:
        """Log of the latency at which a run has nothing left to find; -inf where the optimum is not known."""
        return float(np.log(self.optimum_us) + 1e-9) if self.optimum_us else float("-inf")

    @cached_property
    def drafted(self) -> Rows:
        """The DRAFTED rows of best draft that many draws and a climb find; none without a draft."""
        return self.problem.climbed[:DRAFTED]


def case_arena(case: Case, nominal: bool = False) -> SearchArena:
    """The arena of a fixed kernel task, on its skewed chip unless `nominal`."""
    return SearchArena(case.key, case.task().problem(), case.device(nominal))
