"""The simulated workers of a farm in virtual time: calls, processes, boards.

They answer, late, twice or never, crash and hang, by a plan of faults and one generator. The events for the
driver, and their times, go to `Agenda.at`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.measure.farm.messages import Assign, Died, Event, Joined, Replied, Rules
from tilewright.measure.faults import FaultPlan
from tilewright.measure.results import Measurement, Status, failure

CANARY_US = 100.0
PACE_SIGMA = 0.2  # of the log-normal spread of how long a measurement takes

Happening: TypeAlias = Event | Callable[[float], Event | None]


@dataclass(frozen=True)
class Costs:
    """Seconds that things take outside the workers. The defaults are measured ones: docs/farm.md says how."""

    send_s: float = 0.001  # driver to worker, and back
    start_s: float = 2.0  # a process from nothing to its greeting
    notice_s: float = 1.4  # from a process's end to the driver's hearing of it
    event_s: float = 0.0005  # of the driver's time, an event
    candidate_s: float = 0.00002  # of the driver's time, a candidate in it
    propose_s: float = 0.0003  # of the searcher's time, a candidate
    commit_s: float = 0.005  # of the searcher's time, a batch of results
    row_s: float = 0.00007  # of the searcher's time, a result in it


@dataclass(frozen=True)
class Sickness:
    """After `after` measurements a board's latencies are `factor` times the truth: 0.3 lies, 3 lags."""

    factor: float
    after: int = 0


HEALTHY = Sickness(1.0)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates by number: true latencies in us, and those that kill the process that runs them."""

    truth_us: npt.NDArray[np.float64]
    poisoned: npt.NDArray[np.bool_]


@dataclass
class Process:
    """The process in a slot: `life` counts its replacements; `measured` counts for the board."""

    life: int = 0
    alive: bool = False
    stuck: bool = False
    free_s: float = 0.0
    measured: int = 0
    calls: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class ItemOrigin:
    """Which process a measurement comes from, and whether its board was sick by then."""

    worker: str
    life: int
    sick: bool


class Agenda(Protocol):
    """Future events by time."""

    def __call__(self, time_s: float, what: Happening) -> None:
        """Let `what` happen at `time_s`; a function says then which event it is, if any."""
        ...


class VirtualWorkers:
    """Processes in slots. `origin` tells whose an accepted answer is, by the mark that its energy is."""

    def __init__(
        self,
        names: list[str],
        plan: FaultPlan,
        rules: Rules,
        costs: Costs,
        sick: dict[str, Sickness],
        candidates: Candidates,
        random: np.random.Generator,
        at: Agenda,
    ) -> None:
        self.processes = {name: Process() for name in names}
        self.origin: dict[float, ItemOrigin] = {}  # by the mark that an execution leaves
        self._plan, self._rules, self._costs, self._sick = plan, rules, costs, sick
        self._candidates = candidates
        self._random = random
        self._at = at
        self._marks = count(1)

    def bring_up(self, name: str, now_s: float) -> None:
        """Start a process in a slot; it greets, dies on the way, or does neither."""
        process = self.processes[name]
        process.life += 1
        process.alive, process.stuck = True, False
        process.calls.clear()
        life = process.life
        start_s = now_s + self._costs.start_s * float(self._random.uniform(0.5, 1.5))
        process.free_s = start_s
        fate = float(self._random.random())
        if fate < self._plan.failed_start / 2.0:  # it dies on the way up
            self._at(start_s, lambda _: Died(name, "failed start") if process.life == life else None)
        elif fate >= self._plan.failed_start:  # between the two: it never greets
            self._at(start_s, lambda _: Joined(name, "v1") if process.life == life else None)

    def end(self, name: str) -> None:
        """Empty a slot for good."""
        process = self.processes[name]
        process.life += 1
        process.alive = False

    def call(self, command: Assign, arrival_s: float) -> None:
        """Play one call at its worker, and put the resulting events on the agenda."""
        process, name, plan = self.processes[command.worker], command.worker, self._plan
        process.calls.append(command.lease)
        if not process.alive:
            self._at(arrival_s + self._costs.notice_s, Died(name, "its process died", command.lease))
            return
        if process.stuck:
            return
        began_s = now_s = max(arrival_s, process.free_s)
        answers: list[Measurement] = []
        for number in (*command.items, *(() if command.canary is None else (None,))):
            pace_s = plan.pace_s * float(self._random.lognormal(0.0, PACE_SIGMA))
            if self._strikes(plan.straggler):
                pace_s *= plan.straggler_factor
            poison = number is not None and bool(self._candidates.poisoned[number])
            if poison or self._strikes(plan.crash_before + plan.crash_during + plan.crash_after):
                self._crash(name, now_s + pace_s * float(self._random.random()))
                return
            if self._strikes(plan.hang):
                process.stuck = True
                return
            now_s += pace_s
            answers.append(self._measure(name, number))
        process.free_s = now_s
        canary = answers.pop() if command.canary is not None else None
        reply = Replied(name, command.lease, tuple(answers), now_s - began_s, canary)
        heard_s = now_s + self._costs.send_s
        if self._strikes(plan.double_reply):  # the second one comes when the lease is long settled
            self._at(heard_s + float(self._random.exponential(3.0)), reply)
        if self._strikes(plan.lost_reply):  # or late: after its deadline, from a process long replaced
            self._at(heard_s + self._rules.deadline_s + float(self._random.exponential(10.0)), reply)
        else:
            self._at(heard_s, reply)

    def _crash(self, name: str, now_s: float) -> None:
        process = self.processes[name]
        life = process.life
        process.stuck = True  # no more answers; from now_s on the driver can learn the reason

        def die(_: float) -> Event | None:
            if process.life != life or not process.calls:
                return None
            process.alive = False
            return None

        def heard(lease: int) -> Callable[[float], Event | None]:
            return lambda _: Died(name, "its process died", lease) if process.life == life else None

        self._at(now_s, die)
        for lease in process.calls:
            self._at(now_s + self._costs.notice_s, heard(lease))

    def _measure(self, name: str, number: int | None) -> Measurement:
        process = self.processes[name]
        process.measured += 1
        true_us = CANARY_US if number is None else float(self._candidates.truth_us[number])
        sickness = self._sick.get(name, HEALTHY)
        sick = sickness is not HEALTHY and process.measured > sickness.after
        factor = sickness.factor if sick else 1.0
        if self._plan.noise:
            factor *= float(self._random.lognormal(0.0, self._plan.noise))
        if number is not None and self._strikes(self._plan.wrong_output):
            return failure(Status.WRONG, "outputs are off")
        mark = float(next(self._marks))
        self.origin[mark] = ItemOrigin(name, process.life, sick)
        return Measurement(Status.OK, latency_us=true_us * factor, energy_uj=mark)

    def _strikes(self, rate: float) -> bool:
        return rate > 0.0 and float(self._random.random()) < rate
