"""An arena: one task and what measures it, the same for every method; each Config is measured once.

A method is shown rows and log latencies, nothing else. What it asks counts when it satisfies the rules of the
space and was not asked before.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from benchmarks.kernel_tasks import Case
from measure.device import Device, Task
from measure.results import Measurement
from search_space.knobs import Config, Rows
from search_space.moves import distinct, mutate, neighbours, sample
from tuner.problem import Floats, Problem

DRAFTED = 8
"""How many Configs of the best draft a peer is given to start from."""
_DRAWN, _CLIMBED, _ROUNDS = 4096, 64, 6


@dataclass(eq=False)
class Arena:
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
        return best_drafts(self.problem, DRAFTED, np.random.default_rng(0))


def best_drafts(problem: Problem, count: int, rng: np.random.Generator) -> Rows:
    """`count` distinct rows of lowest draft: the best of many draws, then neighbours of the best, repeatedly.

    Returns no rows without a draft.
    """
    if problem.draft_log is None:
        return np.empty((0, len(problem.space.knobs)), dtype=np.int32)
    seeds = problem.seeds if problem.seeds is not None else np.empty((0, len(problem.space.knobs)), np.int32)
    if problem.whole is not None:
        rows = problem.whole
        return rows[np.argsort(problem.draft_log(rows), kind="stable")[:count]]
    rows = np.concatenate([seeds, sample(problem.space, _DRAWN, rng)])
    kept = max(count, _CLIMBED)
    for _ in range(_ROUNDS):
        rows = rows[np.argsort(problem.draft_log(rows), kind="stable")[:kept]]
        near = [neighbours(problem.space, row) for row in rows[:_CLIMBED]]
        rows = distinct(np.concatenate([rows, *near, mutate(problem.space, rows, rng)]))
    return rows[np.argsort(problem.draft_log(rows), kind="stable")[:count]]


def case_arena(case: Case, nominal: bool = False) -> Arena:
    """The arena of a fixed kernel task, on its skewed chip unless `nominal`."""
    return Arena(case.key, case.task().problem(), case.device(nominal))
