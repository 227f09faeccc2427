"""The farm's workers: the state of each, its transitions, and which may get which work."""

import heapq
from dataclasses import dataclass, replace
from enum import StrEnum

from tilewright.measure.results import Measurement

DEPTH = 2  # calls at one worker: one runs, one waits


class WorkerPhase(StrEnum):
    """The phase of a worker. The first three may still answer; the last two never get work again."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    QUARANTINED = "quarantined"
    RELEASED = "released"


LIVE = frozenset({WorkerPhase.STARTING, WorkerPhase.READY})
GONE = frozenset({WorkerPhase.QUARANTINED, WorkerPhase.RELEASED})


@dataclass(frozen=True)
class CallLease:
    """A call under way."""

    number: int
    worker: str
    items: tuple[int, ...]
    canary: int | None
    allowance_s: float


@dataclass(frozen=True)
class RosterWorker:
    """One slot of the farm and the process in it. `deadline_s` is the start's, or that of the first lease."""

    name: str
    phase: WorkerPhase = WorkerPhase.STARTING
    toolchain: str = ""
    leases: tuple[int, ...] = ()  # in the order in which the worker runs them
    held: tuple[tuple[int, Measurement], ...] = ()  # answers that no canary has vouched for yet
    unproven: int = 0  # candidates assigned since the last canary was
    must_prove: bool = False  # the next call is a canary alone
    canaries_sent: int = 0
    proofs: int = 0  # good canaries in a row
    canaries_good: int = 0  # in all its lives
    canaries_bad: int = 0
    strikes: int = 0
    deaths: int = 0  # in a row, without an answer in between
    failed_starts: int = 0
    measured: int = 0
    deadline_s: float | None = None
    reason: str = ""

    def started_over(self, deadline_s: float) -> "RosterWorker":
        """A fresh process is on its way into the slot."""
        return replace(self, phase=WorkerPhase.STARTING, must_prove=False, proofs=0, deadline_s=deadline_s)

    def greeted(self, toolchain: str, must_prove: bool) -> "RosterWorker":
        """The process is up."""
        return replace(
            self,
            phase=WorkerPhase.READY,
            toolchain=toolchain,
            must_prove=must_prove,
            deadline_s=None,
            reason="",
        )

    def assigned(self, lease: CallLease, now_s: float) -> "RosterWorker":
        """One more call."""
        proves = lease.canary is not None
        return replace(
            self,
            leases=(*self.leases, lease.number),
            unproven=0 if proves else self.unproven + len(lease.items),
            canaries_sent=self.canaries_sent + proves,
            deadline_s=self.deadline_s if self.leases else now_s + lease.allowance_s,
        )

    def answered(
        self, lease: CallLease, held: tuple[tuple[int, Measurement], ...], deadline_s: float | None
    ) -> "RosterWorker":
        """One call less; `held` are the results that wait for a canary."""
        return replace(
            self,
            leases=tuple(number for number in self.leases if number != lease.number),
            held=held,
            deaths=0,
            failed_starts=0,
            measured=self.measured + len(lease.items),
            deadline_s=deadline_s,
        )

    def vouched(self, forgive_after: int) -> "RosterWorker":
        """A good canary; enough of them in a row wipe out a strike."""
        forgiven = self.proofs + 1 >= forgive_after
        return replace(
            self,
            must_prove=False,
            proofs=0 if forgiven else self.proofs + 1,
            canaries_good=self.canaries_good + 1,
            strikes=0 if forgiven else self.strikes,
        )

    def doubted(self, reason: str) -> "RosterWorker":
        """A bad canary: the held results are dropped, and the worker must pass a canary next."""
        return replace(
            self,
            held=(),
            must_prove=True,
            proofs=0,
            canaries_bad=self.canaries_bad + 1,
            strikes=self.strikes + 1,
            reason=reason,
        )

    def emptied(self) -> "RosterWorker":
        """Without calls and unvouched answers."""
        return replace(self, leases=(), held=(), unproven=0, deadline_s=None)


class Roster:
    """All workers by name, with indexes of the idle and the overdue ones, so that a wide farm stays cheap."""

    def __init__(self) -> None:
        self._workers: dict[str, RosterWorker] = {}
        self.shelves: tuple[dict[str, None], ...] = tuple({} for _ in range(DEPTH))  # by calls at the worker
        self.proving: dict[str, None] = {}  # idle workers that must send a canary now
        self.owing: dict[str, None] = {}  # idle workers with results that wait for one
        self.live: set[str] = set()
        self.active = 0  # workers not GONE
        self.held = 0  # items measured, and waiting for a canary
        self._deadlines: list[tuple[float, str]] = []

    def __getitem__(self, name: str) -> RosterWorker:
        return self._workers[name]

    def get(self, name: str) -> RosterWorker | None:
        """The worker, if a slot of that name was ever opened."""
        return self._workers.get(name)

    def all(self) -> tuple[RosterWorker, ...]:
        """Every slot ever opened, in that order."""
        return tuple(self._workers.values())

    def next_deadline_s(self) -> float | None:
        """The earliest of all deadlines; None while nothing is awaited."""
        while self._deadlines and self._workers[self._deadlines[0][1]].deadline_s != self._deadlines[0][0]:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def take_overdue(self, now_s: float) -> str | None:
        """A worker whose deadline has passed, each deadline once; None when there is none."""
        due = self.next_deadline_s()
        return heapq.heappop(self._deadlines)[1] if due is not None and due <= now_s else None

    def others_work(self, name: str) -> bool:
        """Whether another worker answers, so that the candidates are not the cause of deaths."""
        return any(
            worker.phase is WorkerPhase.READY and worker.measured and not worker.deaths
            for worker in self._workers.values()
            if worker.name != name
        )

    def put(self, worker: RosterWorker) -> None:
        """The one place where a worker changes; keeps the indexes in step."""
        before = self._workers.get(worker.name)
        name, calls = worker.name, len(worker.leases)
        self._workers[name] = worker
        self.held += len(worker.held) - (len(before.held) if before is not None else 0)
        self.active += (worker.phase not in GONE) - (before is not None and before.phase not in GONE)
        (self.live.add if worker.phase in LIVE else self.live.discard)(name)
        hungry = worker.phase is WorkerPhase.READY and not worker.must_prove
        for level, shelf in enumerate(self.shelves):
            _keep(shelf, name, hungry and calls == level)
        idle = worker.phase in (WorkerPhase.READY, WorkerPhase.DRAINING) and not calls
        leaving = worker.phase is WorkerPhase.DRAINING and bool(worker.held)
        _keep(self.proving, name, idle and (worker.must_prove or leaving))
        _keep(self.owing, name, idle and bool(worker.held))
        if worker.deadline_s is not None and (before is None or before.deadline_s != worker.deadline_s):
            heapq.heappush(self._deadlines, (worker.deadline_s, name))


def _keep(shelf: dict[str, None], name: str, wanted: bool) -> None:
    if wanted:
        shelf[name] = None
    else:
        shelf.pop(name, None)
