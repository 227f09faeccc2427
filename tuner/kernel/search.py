"""The search of one kernel task: ask a batch, measure it, commit it, tell the sampler, until the stop rule
holds.

A batch is committed before the sampler gets it, so a killed run continues from its records. The same loop
runs any Optuna sampler; what it asks for twice or against the space's rules is answered without a measurement
and does not count.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from tilewright.measure.device import Task
from tilewright.measure.objectives import values_of
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config, Rows
from tilewright.search_space.moves import row_keys, sample
from tilewright.tuner.kernel.front_sampler import FrontSampler
from tilewright.tuner.kernel.problem import Problem, SearchTrial, trial_seed
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.sampler import LOST, KernelSampler, distributions_of, row_of
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.stopping import Progress, StopReason, StopRule, settled, stop_reason
from tilewright.tuner.outlook.course import WORST_LOG
from tilewright.tuner.outlook.courses import Courses, shipped_courses
from tilewright.tuner.outlook.outlook import Outlook
from tilewright.tuner.outlook.shown import Shown, gain_of

Commit = Callable[[Sequence[SearchTrial]], None]
SamplerFactory = Callable[[int], BaseSampler]


class Measurer(Protocol):
    """Measures a batch: one Measurement per Config, in their order."""

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """A failed measurement is a value; DeviceError means that nothing can be measured."""
        ...


@dataclass(frozen=True)
class SearchResult:
    """All trials in order, the best of them (None when nothing succeeded), and why the search ended."""

    trials: tuple[SearchTrial, ...]
    best: SearchTrial | None
    reason: StopReason


class KernelSearch:
    """One task's ask/tell state: a study in memory and its sampler. Step it, or let `search_kernel` run it.

    `sampler` makes another Optuna sampler from a seed; it is made anew for every batch, so that a resumed run
    does not depend on how far a random state had advanced.
    """

    def __init__(
        self,
        problem: Problem,
        run: str,
        model: RunModel | None = None,
        settings: SearchSettings | None = None,
        sampler: SamplerFactory | None = None,
    ) -> None:
        self.settings = settings or SearchSettings()
        objectives = self.settings.objectives
        self.problem = problem = problem.towards(objectives[0])
        self.trials: list[SearchTrial] = []
        self._run = f"{run}/{problem.task.digest}"
        self._model = model or RunModel(run)
        self._foreign = sampler
        make = KernelSampler if len(objectives) == 1 else partial(FrontSampler, objectives=objectives)
        self._own = make(problem, self._model, self._run, settings=self.settings.propose)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(directions=["minimize"] * len(objectives), sampler=self._own)
        self._distributions = distributions_of(problem.space)
        self._values: dict[int, tuple[float, ...] | None] = {}
        self._best: tuple[tuple[float, str], SearchTrial] | None = None
        self._asked: list[tuple[optuna.Trial, Config]] = []
        self._exhausted = False

    def ask(self, count: int | None = None) -> list[Config]:
        """The next batch of distinct, feasible, never asked Configs; empty when the space has no more."""
        count = self.batch_size if count is None else count
        asks = self._ask_foreign(count) if self._foreign else self._ask_own(count)
        self._exhausted = count > 0 and not asks
        self._asked.extend(asks)
        return [config for _, config in asks]

    @property
    def batch_size(self) -> int:
        """The size of the next batch."""
        return self.settings.batch_size(len(self.trials), blind=self.problem.draft_log is None)

    @property
    def to_try(self) -> int:
        """The number of rows that were given to be measured first, while nothing is measured yet."""
        return 0 if self.trials or self.problem.seeds is None else len(self.problem.seeds)

    def trials_of(self, measurements: Sequence[Measurement]) -> list[SearchTrial]:
        """The Trials that the Configs asked make with their `measurements`, to be committed and then told."""
        first = len(self.trials)
        pairs = zip(self._asked, measurements, strict=True)
        return [
            SearchTrial(first + index, config, measurement)
            for index, ((_, config), measurement) in enumerate(pairs)
        ]

    def tell(self, trials: Sequence[SearchTrial]) -> None:
        """Teach the study the outcome of the last `ask`, after it was committed."""
        for (asked, _), trial in zip(self._asked, trials, strict=True):
            self._note(trial)
            values = values_of(trial.measurement, self.settings.objectives)
            if trial.measurement.status is Status.LOST:
                asked.set_user_attr(LOST, True)
            self._study.tell(asked, values, state=TrialState.FAIL if values is None else None)
        self._asked.clear()
        self._learn()

    def resume(self, trials: Sequence[SearchTrial]) -> None:
        """Rebuild the study from trials of this run that were committed before it was killed."""
        for trial in trials:
            self._note(trial)
            row = self.problem.space.encode(trial.config)
            values = values_of(trial.measurement, self.settings.objectives)
            self._study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.FAIL if values is None else TrialState.COMPLETE,
                    values=values,
                    params=self._params(row),
                    distributions=self._distributions,
                    user_attrs={LOST: True} if trial.measurement.status is Status.LOST else {},
                )
            )
        self._learn()

    def _learn(self) -> None:
        """Update the shared model at once: it must depend on the trials, not on the order of questions."""
        if self._foreign is None:
            self._own.catch_up(self._study)

    @property
    def best(self) -> SearchTrial | None:
        """The trial with the lowest objective; ties go to the lower digest."""
        return self._best[1] if self._best else None

    @property
    def expected_best(self) -> float | None:
        """The model's prediction for the best Config just asked, in the unit of the objective; None without a
        model.
        """
        return None if self._foreign else self._own.expected_best()

    @property
    def since_best(self) -> int:
        """Trials after the best one."""
        return len(self.trials) - (self.best.number + 1 if self.best else 0)

    def seen(self) -> Shown | None:
        """What the search has shown, for an estimate of its regret; None where the known courses tell
        nothing of it: of other samplers, and of fronts, which have no single optimum to be far from.
        """
        objectives = self.settings.objectives
        if self._foreign is not None or len(objectives) > 1:
            return None
        values = [objectives[0].of(trial.measurement) for trial in self.trials]
        best = np.fmin.accumulate([np.inf if value is None else value for value in values])
        drafted, ceiling_log = self.problem.draft_log is not None, 0.0 if self._exhausted else WORST_LOG
        return Shown(drafted, len(values), self.since_best, gain_of(best), ceiling_log)

    def _note(self, trial: SearchTrial) -> None:
        self.trials.append(trial)
        values = values_of(trial.measurement, self.settings.objectives)
        if trial.measurement.status is not Status.LOST:
            row = self.problem.space.encode(trial.config)
            self._values[int(row_keys(row[None, :])[0])] = values
        if values is not None:
            rank = (values[0], trial.config.digest)
            if self._best is None or rank < self._best[0]:
                self._best = (rank, trial)

    def _params(self, row: Rows) -> dict[str, int]:
        return {knob.name: int(choice) for knob, choice in zip(self.problem.space.knobs, row, strict=True)}

    def _ask_own(self, count: int) -> list[tuple[optuna.Trial, Config]]:
        fresh = self._own.refill(self._study, count)
        asks = []
        for _ in range(min(count, fresh)):
            trial = self._study.ask(fixed_distributions=self._distributions)
            asks.append((trial, self.problem.space.decode(row_of(self.problem.space, trial.params))))
        return asks

    def _ask_foreign(self, count: int) -> list[tuple[optuna.Trial, Config]]:
        """Ask until `count` Configs count: feasible and new. After 64 misses in a row, one at random."""
        assert self._foreign is not None
        space, number = self.problem.space, len(self._study.get_trials(deepcopy=False))
        self._study.sampler = self._foreign(trial_seed(self._run, number) % (1 << 32))
        asks: list[tuple[optuna.Trial, Config]] = []
        pending: set[int] = set()
        misses = 0
        while len(asks) < count and misses < 128:
            if misses == 64 and not self._enqueue_random(number + len(asks), pending):
                break
            trial = self._study.ask(fixed_distributions=self._distributions)
            row = row_of(space, trial.params)
            key = int(row_keys(row[None, :])[0])
            if key not in self._values and key not in pending and space.feasible(row[None, :])[0]:
                asks.append((trial, space.decode(row)))
                pending.add(key)
                misses = 0
                continue
            misses += 1
            known = self._values.get(key)
            self._study.tell(trial, known, state=TrialState.FAIL if known is None else None)
        return asks

    def _enqueue_random(self, number: int, pending: set[int]) -> bool:
        rng = np.random.default_rng(trial_seed(f"{self._run}/fill", number))
        for row in sample(self.problem.space, 256, rng):
            key = int(row_keys(row[None, :])[0])
            if key not in self._values and key not in pending:
                self._study.enqueue_trial(self._params(row))
                return True
        return False


def search_kernel(
    search: KernelSearch,
    pool: Measurer,
    rule: StopRule,
    *,
    earlier: Sequence[SearchTrial] = (),
    commit: Commit = lambda trials: None,
    clock: Callable[[], float] = time.monotonic,
    courses: Courses | None = None,
) -> SearchResult:
    """Run `search` on `pool` until `rule` holds; `earlier` are committed trials of the same run.

    `commit` receives every batch, failures included, before the sampler learns of it. A rule of regret judges
    the search by `courses`, those that ship with the program unless others are given.
    """
    search.resume(earlier)
    start = clock()
    while True:
        progress = _progress(search, rule, clock() - start, courses)
        if (reason := stop_reason(rule, progress)) is not None:
            break
        left = rule.max_trials - len(search.trials)
        configs = search.ask(min(left, search.batch_size))
        if not configs:
            reason = StopReason.EXHAUSTED
            break
        trials = search.trials_of(pool.measure(search.problem.task, configs))
        commit(trials)
        search.tell(trials)
    return SearchResult(tuple(search.trials), search.best, reason)


def _progress(search: KernelSearch, rule: StopRule, elapsed_s: float, courses: Courses | None) -> Progress:
    within, trials, since_best = 0.0, len(search.trials), search.since_best
    seen = search.seen() if rule.regret is not None and settled(rule, trials, since_best) else None
    if seen is not None and rule.regret is not None:
        within = Outlook(courses or shipped_courses(), [seen]).within(rule.regret)
    return Progress(trials, since_best, elapsed_s, p_within=within, at_bound=False)
