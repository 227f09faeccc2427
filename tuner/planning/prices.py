"""The price of a group of ops as one kernel: measured, else from records, else guessed from the draft.

Prices are remembered by workload digest, so layers that repeat are priced once. A guess is corrected by how
much better than their guesses the kernels measured so far turned out to be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from tilewright.compiler_core.digest import Json
from tilewright.compiler_core.ir.alike import KernelCutter
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.workload import Level, Workload
from tilewright.compiler_core.lowering.pipeline import is_host
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.compiler_core.transforms.fuse import Group
from tilewright.cost_model.analytic import least_draft_cycles
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.climb import ClimbEffort, Drawn, best_drafts, draw
from tilewright.tuner.kernel.problem import trial_seed
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.planning.plan_cache import GUESSES, PlanCache

GUESS = ClimbEffort(drawn=512, attempts=8, climbed=2, rounds=8, settles=True)
SETTLED = 32
"""Trials after which a kernel's price is its best measurement, even if its guess was lower."""
MOST_CORRECTION = 2.0
"""A draft is not further off than this over many kernels; over few, one may be an exception."""
MOST_FAMILIES = 256
"""Kernels whose spaces are kept: those priced last."""
Recall = Callable[[Sequence[KernelTask]], Mapping[str, float]]


@dataclass(frozen=True)
class Priced:
    """One kernel: `guess_us` is the lowest draft found, of `guess`; infinite where nothing fits."""

    workload: Workload
    guess: Config | None
    guess_us: float

    @property
    def entry(self) -> Json:
        """As an entry of the plan cache."""
        return [] if self.guess is None else [list(map(list, self.guess.items)), self.guess_us]


@dataclass(frozen=True)
class Family:
    """A kernel wherever its operands live: a task of it, and Configs drawn from their space."""

    task: KernelTask
    drawn: Drawn


@dataclass(frozen=True)
class Reading:
    """The best of a kernel this run has measured: its price, its time in us, after how many trials."""

    price: float
    latency_us: float
    trials: int


@dataclass
class Prices:
    """Prices of groups on one target, in the unit of an objective that adds up over kernels.

    `recall` answers best latencies from records, in us by workload digest. `measured` holds every kernel this
    run has measured. Before anything is, a price is microseconds. `counted` gets the number of kernels have
    one. `knows_any`: whether there are records for any of these digests. Guesses of earlier runs come from
    the `cache`.
    """

    target: Target
    seed: int
    recall: Recall = lambda tasks: {}
    measured: Mapping[str, Reading] = field(default_factory=dict)
    counted: Callable[[int], None] = lambda priced: None
    knows_any: Callable[[Sequence[str]], bool] = lambda digests: False
    cache: PlanCache = field(default_factory=lambda: PlanCache(None))
    kernels: dict[str, Priced] = field(default_factory=dict)
    _workloads: dict[Graph, dict[object, Workload]] = field(default_factory=dict)
    _cutters: dict[Graph, KernelCutter] = field(default_factory=dict)
    _families: dict[object, Family] = field(default_factory=dict)
    _recorded: dict[str, float] = field(default_factory=dict)
    _floors: dict[str, float] = field(default_factory=dict)

    def of(
        self, graph: Graph, group: Group, levels: Mapping[int, Level], layouts: Mapping[int, Layout]
    ) -> float:
        """The price of `group` of `graph` as one kernel with operands at these levels and layouts; 0 for a
        host op.
        """
        if is_host(graph, group):
            return 0.0
        workload = self.workload(graph, group, levels, layouts)
        priced, digest = self.priced(workload), workload.digest
        expected_us = min(self._recorded.get(digest, float("inf")), priced.guess_us * self.correction)
        found = self.measured.get(digest)
        if found is None:
            return expected_us * self.per_us
        return found.price if found.trials >= SETTLED else min(found.price, expected_us * self.per_us)

    def floor(
        self, graph: Graph, group: Group, levels: Mapping[int, Level], layouts: Mapping[int, Layout]
    ) -> float:
        """A lower bound on the price of `group`: the price where that is known, else one on all drafts."""
        if is_host(graph, group):
            return 0.0
        workload = self.workload(graph, group, levels, layouts)
        if workload.digest in self.kernels:
            return self.of(graph, group, levels, layouts)
        if workload.digest not in self._floors:
            self._floors[workload.digest] = least_draft_cycles(workload, self.target)
        cycles = self._floors[workload.digest]
        return min(self.correction, 1.0) * cycles / self.target.cycles_per_us * self.per_us

    def workload(
        self, graph: Graph, group: Group, levels: Mapping[int, Level], layouts: Mapping[int, Layout]
    ) -> Workload:
        """A group as a kernel; made once for each placement of what its ops read and make."""
        if graph not in self._workloads:
            self._workloads[graph] = {}
            self._cutters[graph] = KernelCutter(graph)
        values = {access.value for index in group for access in graph.ops[index].operands}
        touched = sorted(values.union([graph.ops[index].result for index in group]))
        key = (group, *[(levels.get(value), layouts.get(value)) for value in touched])
        known = self._workloads[graph]
        if key not in known:
            known[key] = self._cutters[graph].kernel(group, levels, layouts).workload
        return known[key]

    @property
    def per_us(self) -> float:
        """The price of a microsecond, the median over kernels measured; 1 before there are any."""
        return median([each.price / each.latency_us for each in self.measured.values()] or [1.0])

    def is_measured(
        self, graph: Graph, group: Group, levels: Mapping[int, Level], layouts: Mapping[int, Layout]
    ) -> bool:
        """Whether this run measured the group of `graph` as one kernel."""
        return self.workload(graph, group, levels, layouts).digest in self.measured

    @property
    def correction(self) -> float:
        """Measured over guessed, the median over kernels that had enough trials; 1 before there are any."""
        ratios = [
            found.latency_us / self.kernels[digest].guess_us
            for digest, found in self.measured.items()
            if digest in self.kernels and found.trials >= SETTLED // 2
        ]
        return min(max(median(ratios), 1 / MOST_CORRECTION), MOST_CORRECTION) if ratios else 1.0

    def priced(self, workload: Workload) -> Priced:
        """A kernel with its guess, made at its first use."""
        digest = workload.digest
        if digest not in self.kernels:
            task = KernelTask(Regions(workload), self.target)
            kept = read_guess(workload, self.cache.get(GUESSES, self._about(digest)))
            if kept is None:
                family = self._family(workload)
                task = KernelTask(Regions(workload), self.target, family.task)
                kept = guessed(task, self.seed, family.drawn)
                family.task.regions.forget()
                self.cache.put(GUESSES, self._about(digest), kept.entry)
            self.kernels[digest] = kept
            self._recorded.update(self.recall((task,)))
            self.counted(len(self.kernels))
        return self.kernels[digest]

    def _about(self, digest: str) -> Json:
        """What a guess follows from, beside the code."""
        return ["guess", digest, self.target.digest, TOOLCHAIN, self.seed]

    @property
    def unaided(self) -> bool:
        """Whether no record and no measurement has a part in any price so far."""
        return not self._recorded and not self.measured

    def _family(self, workload: Workload) -> Family:
        """Placement-free facts about a kernel; of the last MOST_FAMILIES kernels."""
        key = KernelTask.kinship(workload)
        family = self._families.pop(key, None)
        if family is None:
            task = KernelTask(Regions(workload), self.target)
            rng = np.random.default_rng(trial_seed(f"draw {workload.family_digest}", self.seed))
            family = Family(task, draw(task.space, rng, GUESS))
            if len(self._families) >= MOST_FAMILIES:
                del self._families[next(iter(self._families))]
        self._families[key] = family
        return family

    def default(self, task: KernelTask) -> Config:
        """A kernel's untuned Config: the default rule's, else the lowest draft of a short climb. ConfigError
        where neither finds one that fits.
        """
        if task.ruled is not None:
            return task.ruled
        guess = self.priced(task.workload).guess
        return task.default if guess is None else guess


def read_guess(workload: Workload, entry: Any) -> Priced | None:
    """A kernel as an entry of the plan cache has it; None where it has none."""
    if entry == []:
        return Priced(workload, None, float("inf"))
    try:
        items, guess_us = entry
        return Priced(workload, Config(tuple((str(name), value) for name, value in items)), float(guess_us))
    except (TypeError, ValueError):
        return None


def guessed(task: KernelTask, seed: int, drawn: Drawn | None = None) -> Priced:
    """The lowest draft that a short climb from random Configs (those `drawn`) and the default finds."""
    rng = np.random.default_rng(trial_seed(f"guess {task.digest}", seed))
    model = task.model
    rows = best_drafts(task.space, model.draft_log, task.start, 1, rng, GUESS, drawn, model.lowest)
    if not len(rows):
        return Priced(task.workload, None, float("inf"))
    guess_us = float(np.exp(model.draft_log(rows)[0]))
    return Priced(task.workload, task.space.decode(rows[0]), guess_us)


def draft_us(task: KernelTask, config: Config) -> float:
    """The draft of one Config in microseconds."""
    return float(np.exp(task.model.draft_log(task.space.encode(config)[None, :])[0]))
