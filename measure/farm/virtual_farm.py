"""A farm in virtual time: the real dispatcher, simulated workers, every fault, any size, no waiting.

A discrete-event simulation. Events reach one driver, which handles them one after the other and needs time
for each, as the real one does; a searcher beside it commits what finished and proposes more. So it answers
both questions: does the dispatcher keep its promises under every fault (violations are in the report), and
where is the limit of a farm of 10,000 workers.
"""

import heapq
from dataclasses import dataclass
from itertools import count

import numpy as np

from tilewright.measure.farm.dispatch import Dispatch
from tilewright.measure.farm.messages import (
    Assign,
    Command,
    Event,
    Finish,
    Halt,
    Item,
    Kill,
    Quarantine,
    Release,
    Revive,
    Rules,
    Submitted,
    Ticked,
    WorkerOpened,
)
from tilewright.measure.farm.roster import GONE, WorkerPhase
from tilewright.measure.farm.virtual_workers import (
    HEALTHY,
    PACE_SIGMA,
    Candidates,
    Costs,
    Happening,
    Sickness,
    VirtualWorkers,
)
from tilewright.measure.faults import FaultPlan
from tilewright.measure.results import Measurement, Status

TASK = "a task"
TRUTH_US = (50.0, 500.0)  # true latencies are spread over this range
POLL_S = 0.05  # between two looks of a searcher that tops up at what is wanted
PROPOSED_AT_ONCE = 256  # candidates, so that the first of many need not wait for the last


@dataclass(frozen=True)
class FarmReport:
    """The result of a run. `violations` is empty unless the dispatcher broke a promise."""

    wall_s: float  # from the first call to the last result
    finished: int
    ok: int
    efficiency: float  # seconds that the results needed / (workers x seconds), while there was work for all
    trials_per_s: float  # over the same time
    driver_busy: float  # share of the same time
    searcher_busy: float
    events: int
    quarantined: tuple[str, ...]
    measured_until_quarantine: dict[str, int]
    best: int | None
    best_latency_us: float | None
    violations: tuple[str, ...]


class VirtualFarm:
    """One run: `budget` candidates over `workers` workers under `plan`, of which `sick` ones lie or lag."""

    def __init__(
        self,
        rules: Rules,
        workers: int,
        budget: int,
        plan: FaultPlan,
        costs: Costs | None = None,
        sick: dict[str, Sickness] | None = None,
        batch: int | None = None,
    ) -> None:
        self.rules, self.plan, self.costs = rules, plan, costs or Costs()
        self.budget, self.batch = budget, batch
        self.dispatch = Dispatch(rules)
        self.sick = sick or {}
        self.random = np.random.default_rng([plan.seed, workers, budget])
        truth_us = self.random.uniform(*TRUTH_US, size=budget)
        self.candidates = Candidates(truth_us, self.random.random(budget) < plan.poison)
        names = [f"w{number}" for number in range(workers)]
        self.workers = VirtualWorkers(
            names, plan, rules, self.costs, self.sick, self.candidates, self.random, self._at
        )
        self.results: dict[int, Measurement] = {}
        self.violations: list[str] = []
        self.quarantined_at: dict[str, int] = {}
        self._agenda: list[tuple[float, int, Happening]] = []
        self._sequence = count()
        self._submitted = 0
        self._fresh = 0  # results that the searcher has not seen
        self._driver_free_s = self._searcher_free_s = 0.0
        self._driver_s = self._searcher_s = 0.0
        self._first_s: float | None = None
        self._last_s = 0.0
        self._events = 0
        self._steady = (0.0, 0, 0.0, 0.0)  # when the last candidate was proposed: time, measured, time spent
        self.halted = False

    def run(self, until_s: float = 1e7) -> FarmReport:
        """Play it to the end; `until_s` of virtual time is a violation."""
        for name in self.workers.processes:
            self._at(0.0, WorkerOpened(name))
            self.workers.bring_up(name, 0.0)
        self._at(0.0, self._search)
        while len(self.results) < self.budget and not self.halted:
            deadline_s = self.dispatch.next_deadline_s()
            arrival_s = self._agenda[0][0] if self._agenda else float("inf")
            if deadline_s is not None and max(deadline_s, self._driver_free_s) < arrival_s:
                self._handle(Ticked(), deadline_s)
                continue
            if not self._agenda or arrival_s > until_s:
                self.violations.append(f"{self.budget - len(self.results)} candidates were never finished")
                break
            arrival_s, _, what = heapq.heappop(self._agenda)
            event = what(arrival_s) if callable(what) else what
            if event is not None:
                self._handle(event, arrival_s)
        return self._report()

    # The driver and the searcher.

    def _at(self, time_s: float, what: Happening) -> None:
        heapq.heappush(self._agenda, (time_s, next(self._sequence), what))

    def _handle(self, event: Event, arrival_s: float) -> None:
        now_s = max(arrival_s, self._driver_free_s)
        commands = self.dispatch.handle(event, now_s)
        candidates = sum(len(command.items) for command in commands if isinstance(command, Assign))
        cost_s = self.costs.event_s + self.costs.candidate_s * candidates
        self._driver_s += cost_s
        self._driver_free_s = now_s + cost_s
        self._events += 1
        finished = 0
        for command in commands:
            self._obey(command, self._driver_free_s)
            finished += isinstance(command, Finish)
        if finished:
            self._last_s = self._driver_free_s
            self._fresh += finished
            if self.batch is not None:
                self._at(max(self._driver_free_s, self._searcher_free_s), self._search)

    def _search(self, now_s: float) -> Event | None:
        """One turn of the searcher: commit the results, propose as many candidates as are wanted (or the next
        batch).
        """
        if now_s < self._searcher_free_s:
            return None
        if self.batch is None:
            wanted = self.dispatch.wanted()
        else:
            wanted = 0 if self.dispatch.outstanding() else self.batch
        wanted = min(wanted, self.budget - self._submitted, PROPOSED_AT_ONCE)
        cost_s = wanted * self.costs.propose_s
        if self._fresh:
            cost_s += self.costs.commit_s + self._fresh * self.costs.row_s
        self._fresh = 0
        self._searcher_s += cost_s
        self._searcher_free_s = now_s + cost_s
        if not wanted:
            if self.batch is None and self._submitted < self.budget:
                self._at(max(now_s + POLL_S, self._searcher_free_s), self._search)
            return None
        numbers = range(self._submitted, self._submitted + wanted)
        self._submitted += wanted
        held = (
            sum(len(worker.held) for worker in self.dispatch.workers())
            if self._submitted >= self.budget
            else 0
        )
        self._steady = (now_s, len(self.results) + held, self._driver_s, self._searcher_s)
        self._at(self._searcher_free_s, Submitted(tuple(Item(number, TASK) for number in numbers)))
        self._at(self._searcher_free_s, self._search)
        return None

    def _obey(self, command: Command, now_s: float) -> None:
        match command:
            case Assign():
                if self._first_s is None:
                    self._first_s = now_s
                self.workers.call(command, now_s + self.costs.send_s)
            case Kill() | Revive():
                self.workers.bring_up(command.worker, now_s)
            case Quarantine() | Release():
                self.workers.end(command.worker)
                if isinstance(command, Quarantine):
                    measured = self.workers.processes[command.worker].measured
                    since = self.sick.get(command.worker, HEALTHY).after
                    self.quarantined_at[command.worker] = measured - since
            case Finish():
                self._accept(command.number, command.measurement)
            case Halt():
                self.halted = True
            case _:
                pass

    def _accept(self, number: int, measurement: Measurement) -> None:
        if number in self.results:
            self.violations.append(f"candidate {number} finished twice")
        self.results[number] = measurement
        if measurement.status is not Status.OK or measurement.latency_us is None:
            return
        origin = self.workers.origin[measurement.energy_uj or 0.0]
        if self.workers.processes[origin.worker].life != origin.life:
            self.violations.append(f"candidate {number} was accepted from a process that is gone")
        if origin.sick and self.rules.canaries:
            self.violations.append(f"candidate {number} was published from sick worker {origin.worker}")
        if self.candidates.poisoned[number]:
            self.violations.append(f"candidate {number} is poison and came out OK")
        honest = self.plan.noise == 0.0 and not origin.sick
        if honest and measurement.latency_us != self.candidates.truth_us[number]:
            self.violations.append(f"candidate {number} was given another's latency")

    def _report(self) -> FarmReport:
        wall_s = max(1e-9, self._last_s - (self._first_s or 0.0))
        until_s, results, driver_s, searcher_s = self._steady
        steady_s = max(1e-9, until_s - (self._first_s or 0.0))
        mean_pace_s = self.plan.pace_s * float(np.exp(PACE_SIGMA**2 / 2.0))
        timed = {n: m.latency_us for n, m in self.results.items() if m.latency_us is not None}
        best = min(timed, key=lambda number: (timed[number], number), default=None)
        if not self.halted and len(self.results) != self.budget:
            self.violations.append(f"{len(self.results)} results for a budget of {self.budget}")
        if any(worker.phase in GONE and (worker.leases or worker.held) for worker in self.dispatch.workers()):
            self.violations.append("a worker that is gone still has work")
        return FarmReport(
            wall_s=wall_s,
            finished=len(self.results),
            ok=len(timed),
            efficiency=results * mean_pace_s / (len(self.workers.processes) * steady_s),
            trials_per_s=results / steady_s,
            driver_busy=driver_s / steady_s,
            searcher_busy=searcher_s / steady_s,
            events=self._events,
            quarantined=tuple(w.name for w in self.dispatch.workers() if w.phase is WorkerPhase.QUARANTINED),
            measured_until_quarantine=dict(self.quarantined_at),
            best=best,
            best_latency_us=timed[best] if best is not None else None,
            violations=tuple(self.violations),
        )
