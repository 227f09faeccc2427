"""The search over a network: one study a kernel, one shared model, a budget that goes where it pays.

Three times on the way the network is planned anew from the measurements: fused kernels that do not pay are
taken apart, others join, and the budget follows the plan.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.measure.farm.pool import Pool
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.problem import SearchTrial
from tilewright.tuner.kernel.search import SamplerFactory
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.stopping import Progress, StopReason, StopRule, settled, stop_reason
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.challenges import contests
from tilewright.tuner.network.events import Listener, Measured, Phase
from tilewright.tuner.network.kernel_searches import KernelSearches, Known
from tilewright.tuner.network.scheduler import Choose, Standing, matters, next_task
from tilewright.tuner.network.task_search import TaskSearch
from tilewright.tuner.outlook.courses import Courses, shipped_courses
from tilewright.tuner.outlook.outlook import Outlook
from tilewright.tuner.outlook.price import price_text
from tilewright.tuner.planning.planner import Planner

Commit = Callable[[KernelTask, Sequence[SearchTrial]], None]
REPLANS = (0.25, 0.5, 0.75)
"""Shares of the budget after which the network is planned anew."""
CONTESTED = 0.125
"""Share of the budget that the parts of contested fusions may take before the network is planned anew."""
LOOKS = (0.0625, 0.125)
"""Shares of the budget after which the network is measured as a whole, from one full batch on; it is measured
where it is planned anew, too, and when the budget is spent."""


class Watch(Protocol):
    """Measures the network as a whole on the way (tuner/network/whole.py)."""

    @property
    def best(self) -> float | None:
        """The lowest number so far, in `unit`."""
        ...

    @property
    def bound(self) -> float | None:
        """The bound of all schedules."""
        ...

    @property
    def unit(self) -> str:
        """That of the objective."""
        ...

    def put_together(self, plan: Plan, configs: Mapping[str, Config]) -> None:
        """Measure a plan with these Configs, by workload digest."""
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """The Configs of a batch of one kernel's search, the predicted time of the network with the best of them
    in us (None without a model), and the start and end of asking.
    """

    search: TaskSearch
    configs: Sequence[Config]
    predicted_us: float | None
    asked_s: tuple[float, float]


@dataclass(frozen=True)
class BudgetPolicy:
    """Where the budget goes: `choose` selects the kernel of the next batch, `replans` are the shares of the
    budget after which the network is planned anew.
    """

    choose: Choose = next_task
    replans: Sequence[float] = REPLANS


class NetworkSearch:
    """The kernels of a network under a changing plan. `known` answers from records.

    `plans` are all plans that were followed, the last one last; where ops have other forms, the first is the
    plan without them. `whole` measures what was found so far, put together. What is left to find is judged by
    `courses`, those that ship with the program unless others are given.
    """

    def __init__(
        self,
        planner: Planner,
        run: str,
        budget: int,
        settings: SearchSettings,
        *,
        known: Known = lambda tasks: {},
        sampler: SamplerFactory | None = None,
        policy: BudgetPolicy = BudgetPolicy(),
        whole: Watch | None = None,
    ) -> None:
        self.settings = settings
        self.plans: list[Plan] = []
        self._courses = shipped_courses()
        self._planner = planner
        self._kernels = KernelSearches(planner.prices, run, settings, known, sampler)
        self._choose = policy.choose
        self._replans = sorted({int(share * budget) for share in policy.replans} - {0})
        self._whole = whole
        early = {int(share * budget) for share in LOOKS}
        looks = {trials for trials in early if trials >= settings.batch} | {*self._replans, budget}
        self._looks = sorted(looks - {0}) if whole is not None else []
        self._budget = budget
        self._contested: list[str] = []
        first = planner.replan()
        for plan in (planner.plain, first):
            if plan is not None:
                self._follow(plan)

    def learn(self, records: Sequence[TaskRecords], courses: Courses | None = None) -> None:
        """Take records of earlier runs for a prior, and known searches; before anything is asked."""
        self._courses = courses or self._courses
        self._kernels.learn(records)

    def resume(self, earlier: Sequence[tuple[str, SearchTrial]]) -> None:
        """Go on where a run was cut off: `earlier` are its trials in the order they were committed."""
        while earlier:
            batch = earlier[: self._until_replan(len(earlier))]
            opened = [digest in self.searches for digest, _ in batch]
            batch = batch[: opened.index(False) if False in opened else len(batch)]
            if not batch and not self._pause_early():
                raise RecordError("the records of this run are of kernels that no plan of it has")
            # In their order, which the shared model learns by.
            for digest, some in groupby(batch, key=lambda entry: entry[0]):
                self.searches[digest].kernel.resume([trial for _, trial in some])
            earlier = earlier[len(batch) :]
            self._pause_when_due()

    @property
    def searches(self) -> Mapping[str, TaskSearch]:
        """The searches of all kernels of any plan that was followed, by workload digest."""
        return self._kernels.each

    @property
    def trials(self) -> int:
        """Measurements of the run so far."""
        return sum(self.spent.values())

    @property
    def spent(self) -> dict[str, int]:
        """Measurements by workload digest, of the kernels that got any."""
        trials = ((digest, len(search.kernel.trials)) for digest, search in self.searches.items())
        return {digest: count for digest, count in trials if count}

    def run(
        self,
        pool: Pool,
        rule: StopRule,
        commit: Commit,
        *,
        listener: Listener,
        clock: Callable[[], float],
        cancelled: Callable[[], bool],
    ) -> StopReason:
        """Ask, measure, commit, tell, until a limit is met or the spaces are exhausted."""
        start = clock()
        while not cancelled():
            reason = self.limit(rule, clock() - start)
            if reason is not None:
                return reason
            batch = self.ask(rule, clock)
            if batch is None and self.go_on():
                continue
            if batch is None:
                return StopReason.EXHAUSTED
            task = batch.search.task
            answers = pool.measure(task.workload, batch.configs, floor_us=task.bound_us)
            self.settle(batch, answers, rule, commit, listener=listener, clock=clock)
        return StopReason.CANCELLED

    def limit(self, rule: StopRule, elapsed_s: float) -> StopReason | None:
        """Which limit of the rule is met, if any. Before a search ends by its regret, the network is planned
        anew as often as that is still to be done: the estimate is of one plan.
        """
        while True:
            progress = Progress(self.trials, 0, elapsed_s, p_within=self._p_within(rule), at_bound=False)
            reason = stop_reason(rule, progress)
            if reason is StopReason.REGRET and self._contest_open() is not None:
                return None
            if reason is not StopReason.REGRET or not self._replans:
                return reason
            self._replans[0] = self.trials
            self._pause_when_due()

    def ask(self, rule: StopRule, clock: Callable[[], float], under_way: int = 0) -> Batch | None:
        """The next batch, of the kernel that gets it; None where nothing may or can be asked for.

        The kernel asks no more before it is settled. `under_way` trials are asked for and not answered yet.
        """
        left = self._until_replan(rule.max_trials - self.trials) - under_way
        while left > 0 and (search := self._next()) is not None:
            began_s = clock()
            search.open = False  # until its answers are there, or for good when it has nothing left to ask
            size = max(self._batch_size(search), search.kernel.to_try)
            if configs := search.kernel.ask(min(left, size)):
                return Batch(search, configs, self._predicted_us(search), (began_s, clock()))
        return None

    def _batch_size(self, search: TaskSearch) -> int:
        """A kernel that may matter little has a look first, unless it is a part of a contested fusion."""
        asked, digest = len(search.kernel.trials), search.task.digest
        looks = digest in self._minor and digest not in self._contested
        return self.settings.network_batch(asked) if looks else self.settings.batch_size(asked)

    @property
    def _minor(self) -> set[str]:
        """Kernels of the plan with a small share of it."""
        standings = self._standings()
        parts = zip(standings, matters([standing for _, standing in standings]), strict=True)
        return {search.task.digest for (search, _), large in parts if not large}

    def settle(
        self,
        batch: Batch,
        answers: Sequence[Measurement],
        rule: StopRule,
        commit: Commit,
        *,
        listener: Listener,
        clock: Callable[[], float],
    ) -> None:
        """Commit a batch that is complete, learn from it, plan anew where that is due."""
        measured_s, search = clock(), batch.search
        trials = search.kernel.trials_of(answers)
        commit(search.task, trials)
        search.kernel.tell(trials)
        search.open = True
        due = len(self._replans)
        replanned = self._pause_when_due()
        listener(self._event(batch, rule, measured_s))
        if len(self._replans) < due and (line := self.price(rule)) is not None:
            listener(Phase("price", line))
        if replanned:
            listener(Phase("plan", f"{len(self.plan.groups)} kernels after {self.trials} trials"))

    def go_on(self) -> bool:
        """Whether there is something to ask for after all, when no kernel is open.

        The network is planned anew before that is due: fusions that turned out slow are taken apart, and the
        parts are kernels of their own.
        """
        if self._next() is not None:
            return False
        return self._pause_early()

    def _pause_early(self) -> bool:
        """Plan anew now instead of later, as often as that is still to be done, until a kernel is open."""
        while self._replans:
            self._replans[0] = self.trials
            self._pause_when_due()
            if self._next() is not None:
                return True
        return False

    def outlook(self) -> Outlook | None:
        """What is left to find of the present plan, and what more trials would bring; None where nothing can
        be told.
        """
        seen = [
            self.searches[digest].seen(count, self._kernels.expected_us(digest))
            for digest, count in self.plan.counts.items()
        ]
        shown = [each for each in seen if each is not None]
        return Outlook(self._courses, shown) if shown and len(shown) == len(seen) else None

    def price(self, rule: StopRule) -> str | None:
        """The regret to expect for the trials that are left, for people; None where nothing can be told."""
        outlook, left = self.outlook(), rule.max_trials - self.trials
        return None if outlook is None or left < 1 else price_text(outlook, left, rule.regret)

    def _p_within(self, rule: StopRule) -> float:
        """The chance that the kernels together are within the rule's regret; 0 while those that are settled
        take less than half of the time.
        """
        outlook = None if rule.regret is None else self.outlook()
        if outlook is None or rule.regret is None:
            return 0.0
        total = sum(each.best for each in outlook.seen)
        done = sum(each.best for each in outlook.seen if settled(rule, each.trials, each.since_best))
        return outlook.within(rule.regret) if 2.0 * done >= total else 0.0

    @property
    def plan(self) -> Plan:
        """The plan followed now."""
        return self.plans[-1]

    @property
    def is_measured(self) -> bool:
        """Whether every kernel of the plan has been measured with success."""
        return all(standing.best_us is not None for _, standing in self._standings())

    @property
    def readings_us(self) -> dict[tuple[str, str], float]:
        """Latencies of the successful trials of kernels, by workload and Config digest."""
        return self._kernels.readings_us

    def ranked(self, digest: str) -> list[tuple[Config, Measurement]]:
        """The successful trials of one kernel, best first, ties by digest."""
        return self._kernels.ranked(digest)

    def sum_us(self, plan: Plan) -> float:
        """The kernels of a plan added up: the best measured or known time of each, else its expected time."""
        return self._kernels.sum_us(plan)

    def _predicted_us(self, search: TaskSearch) -> float | None:
        """The network with the best that the model expects of the batch just asked; None where it cannot."""
        expected_us = search.kernel.expected_best
        if expected_us is None or self.settings.objectives[0] is not Objective.LATENCY:
            return None
        digest = search.task.digest
        gain_us = self._kernels.expected_us(digest) - expected_us
        return self.sum_us(self.plan) - self.plan.counts.get(digest, 0) * gain_us

    def _until_replan(self, most: int) -> int:
        """Trials that may be asked for before the network is planned anew or looked at, at most `most`."""
        return min([most, *(due[0] - self.trials for due in (self._replans, self._looks) if due)])

    def _pause_when_due(self) -> bool:
        """Look, plan anew and contest where enough was measured since; whether the plan changed."""
        looks = [trials for trials in self._looks if trials <= self.trials]
        self._looks = self._looks[len(looks) :]
        if looks:
            self.look()
        before = len(self._replans)
        changed = self._replan_when_due()
        if self.trials < self._budget and (looks or len(self._replans) < before):
            self._contest()
        return changed

    def look(self) -> None:
        """Measure the network as a whole, with the best of each kernel so far: as planned now, and as planned
        at the start, since what was merged may not pay as a whole.
        """
        if self._whole is None:
            return
        for plan in (self.plan, self._planner.start):
            tasks = self._planner.tasks_of(plan)
            self._whole.put_together(plan, {task.digest: self._kernels.so_far(task) for task in tasks})

    def _contest(self) -> None:
        """Give the parts of contested fusions the next batches, as far as their share of the budget goes."""
        measured_us = {digest: us for digest, search in self.searches.items() if (us := search.best_us)}
        left = int(CONTESTED * self._budget)
        for contest in contests(self._planner, measured_us):
            left -= self.settings.first_batch * len(contest.parts)
            if left < 0:
                return
            self._kernels.open(contest.parts)
            self._contested += [part.digest for part in contest.parts]

    def _replan_when_due(self) -> bool:
        """Plan anew where enough was measured; whether that changed the plan."""
        due = False
        while self._replans and self.trials >= self._replans[0]:
            self._replans.pop(0)
            due = True
        if not due:
            return False
        priced = {each if each.row.adds_up else Objective.LATENCY: None for each in self.settings.objectives}
        changed = [self._replan_for(objective) for objective in reversed(priced)]
        return any(changed)

    def _replan_for(self, objective: Objective) -> bool:
        """Plan anew with the prices of one objective that adds up over kernels."""
        self._planner.prices.measured = self._kernels.readings(objective)
        return self._follow(self._planner.replan())

    def _follow(self, plan: Plan) -> bool:
        """Open a search for every kernel of `plan` that has none; whether it is another plan than before."""
        if self.plans and plan is self.plan:
            return False
        self.plans.append(plan)
        self._kernels.open(self._planner.tasks_of(plan))
        return True

    def _standings(self) -> list[tuple[TaskSearch, Standing]]:
        searches = [self.searches[digest] for digest in self.plan.counts]
        return [(search, search.standing(self.plan.counts[search.task.digest])) for search in searches]

    def _contest_open(self) -> TaskSearch | None:
        """A part of a contested fusion that is to be measured and was not yet."""
        searches = (self.searches[digest] for digest in self._contested)
        return next((each for each in searches if each.open and not each.kernel.trials), None)

    def _next(self) -> TaskSearch | None:
        if (contested := self._contest_open()) is not None:
            return contested
        standings = self._standings()
        at = self._choose([standing for _, standing in standings])
        return None if at is None else standings[at][0]

    def _event(self, batch: Batch, rule: StopRule, measured_s: float) -> Measured:
        began_s, asked_s = batch.asked_s
        task = batch.search.task
        whole = self._whole
        return Measured(
            self.trials,
            rule.max_trials,
            self.plan.names_of_kernels.get(task.digest, task.ops_text),
            batch.search.best_us,
            None if whole is None else whole.best,
            None if whole is None else whole.bound,
            "us" if whole is None else whole.unit,
            self.sum_us(self.plan),
            proposed_s=asked_s - began_s,
            measured_s=measured_s - asked_s,
            predicted_us=batch.predicted_us,
            digest=task.digest,
            calls=self.plan.counts.get(task.digest, 0),
            kernel_trials=len(batch.search.kernel.trials),
            kernel_bound_us=task.bound_us,
        )
