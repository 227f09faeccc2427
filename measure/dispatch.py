"""Who measures what: the farm's state machine. Events in, commands out; no clock, no thread, no chance.

`Dispatch.handle(event, now_s)` is the only way in, time is an argument, and the same events give the same
commands, so that a farm of any size runs in virtual time and every failure replays. Values in the tables are
frozen and replaced; the tables themselves belong to one `Dispatch`, because copying them would cost more than
the measurements on a wide farm.

What holds at any time, whatever the workers do:
- an item finishes exactly once, and only from a lease that is still in force;
- where canaries are given, a result is published only after a later good canary of the same worker process;
- an item that took `attempts` workers down is finished as a failure; no item waits for a worker that is gone.
"""

import heapq
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from typing import assert_never

from measure.messages import (
    Assign,
    Command,
    Died,
    DrainAsked,
    Event,
    Finish,
    Halt,
    Item,
    Joined,
    Kill,
    Opened,
    Quarantine,
    Release,
    Replied,
    Retry,
    Revive,
    Rules,
    Scattered,
    Submitted,
    Ticked,
    ToolchainChanged,
)
from measure.results import Measurement, Status, failure

DEPTH = 2  # calls at one worker: one runs, one waits
SLACK = 4.0  # a call may take this many times its expected time before its deadline starts to count
PACE_WEIGHT = 0.5  # of the newest call in the running mean of seconds per candidate


class Phase(StrEnum):
    """Where a worker stands. The first three may still answer; the last two never get work again."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    QUARANTINED = "quarantined"
    RELEASED = "released"


LIVE = frozenset({Phase.STARTING, Phase.READY})
GONE = frozenset({Phase.QUARANTINED, Phase.RELEASED})


@dataclass(frozen=True)
class Worker:
    """One slot of the farm and the process in it. `deadline_s` is the start's, or that of the first lease."""

    name: str
    phase: Phase = Phase.STARTING
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


@dataclass(frozen=True)
class Lease:
    """A call under way."""

    number: int
    worker: str
    items: tuple[int, ...]
    canary: int | None
    allowance_s: float


class Dispatch:
    """The state machine. One owner, one thread; see the module's docstring for what it promises."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.toolchain = rules.toolchain
        self._workers: dict[str, Worker] = {}
        self._items: dict[int, Item] = {}  # accepted and not finished
        self._leases: dict[int, Lease] = {}
        self._queue: deque[int] = deque()
        self._singles: dict[int, None] = {}  # sent alone: suspects, and members of apart sets
        self._sites: dict[int, set[str]] = {}  # apart set -> workers that had a member
        self._shelves: tuple[dict[str, None], ...] = tuple({} for _ in range(DEPTH))  # by calls at the worker
        self._proving: dict[str, None] = {}  # idle workers that must send a canary now
        self._owing: dict[str, None] = {}  # idle workers with results that wait for one
        self._live: set[str] = set()
        self._active = 0  # workers not GONE
        self._held = 0  # items measured, and waiting for a canary
        self._deadlines: list[tuple[float, str]] = []
        self._pace_s: dict[str, float] = {}  # task -> seconds per candidate
        self._last_task = ""
        self._next_lease = 0
        self._commands: list[Command] = []

    def handle(self, event: Event, now_s: float) -> list[Command]:
        """Take one event; what the shell must do about it, in order."""
        match event:
            case Opened():
                self._open(event, now_s)
            case Joined():
                self._joined(event)
            case Submitted():
                self._submitted(event)
            case Replied():
                self._replied(event, now_s)
            case Died():
                self._died(event, now_s)
            case Scattered():
                self._scatter(event, now_s)
            case Ticked():
                self._expire(now_s)
            case DrainAsked():
                self._drain(event)
            case ToolchainChanged():
                self._change_toolchain(event, now_s)
            case _:
                assert_never(event)
        self._feed(now_s)
        if self._workers and not self._active:
            self._halt()
        commands, self._commands = self._commands, []
        return commands

    # What the shell may ask.

    def next_deadline_s(self) -> float | None:
        """When the shell should tick at the latest; None while nothing is awaited."""
        while self._deadlines and self._workers[self._deadlines[0][1]].deadline_s != self._deadlines[0][0]:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def wanted(self) -> int:
        """How many more candidates keep every worker busy, with one call waiting at each."""
        room = min(len(self._live) * DEPTH * self._full_chunk(self._last_task), self.rules.backlog_max)
        return max(0, room - (len(self._items) - self._held))

    def outstanding(self) -> int:
        """Items accepted and not finished."""
        return len(self._items)

    def workers(self) -> tuple[Worker, ...]:
        """Every slot ever opened, in that order."""
        return tuple(self._workers.values())

    # Events.

    def _open(self, event: Opened, now_s: float) -> None:
        before = self._workers.get(event.worker)
        if before is None or before.phase in GONE:
            self._put(Worker(event.worker))
            self._start_over(event.worker, now_s)

    def _joined(self, event: Joined) -> None:
        worker = self._workers[event.worker]
        if worker.phase is not Phase.STARTING:
            return
        self.toolchain = self.toolchain or event.toolchain
        if event.toolchain != self.toolchain:
            reason = f"it has toolchain {event.toolchain!r}, the run needs {self.toolchain!r}"
            self._retire(worker.name, Phase.RELEASED, reason)
            return
        self._put(
            replace(
                worker,
                phase=Phase.READY,
                toolchain=event.toolchain,
                must_prove=bool(self.rules.canaries),
                deadline_s=None,
            )
        )

    def _submitted(self, event: Submitted) -> None:
        for item in event.items:
            self._items[item.number] = item
            self._enqueue(item)

    def _replied(self, event: Replied, now_s: float) -> None:
        worker = self._workers[event.worker]
        if event.lease not in worker.leases:
            return
        lease = self._leases[event.lease]
        if len(event.measurements) != len(lease.items) or (event.canary is None) != (lease.canary is None):
            reason = f"it answered {len(event.measurements)} of {len(lease.items)} candidates"
            self._down(worker.name, reason, now_s, Status.LOST)
            self._commands.append(Kill(worker.name, reason))
            return
        del self._leases[event.lease]
        self._learn_pace(lease, event.elapsed_s)
        held = list(worker.held)
        for number, measurement in zip(lease.items, event.measurements, strict=True):
            if measurement.status is Status.LOST:
                self._blame(number, worker.name, measurement.reason or "the answer was lost", Status.LOST)
            else:
                held.append((number, above_floor(measurement, self._items[number].floor_us)))
        leases = tuple(number for number in worker.leases if number != event.lease)
        self._put(
            replace(
                worker,
                leases=leases,
                held=tuple(held),
                deaths=0,
                failed_starts=0,
                measured=worker.measured + len(lease.items),
                deadline_s=now_s + self._leases[leases[0]].allowance_s if leases else None,
            )
        )
        if lease.canary is not None and event.canary is not None:
            self._judge(worker.name, self.rules.canaries[lease.canary].passes(event.canary), event.canary)
        elif not self.rules.canaries:
            self._publish(worker.name)
        self._let_go(worker.name)

    def _died(self, event: Died, now_s: float) -> None:
        worker = self._workers[event.worker]
        known = worker.phase is Phase.STARTING if event.lease is None else event.lease in worker.leases
        cause = None if event.own else Status.FAILED
        if known and self._down(worker.name, event.reason, now_s, cause):
            self._commands.append(Revive(worker.name, event.reason))

    def _expire(self, now_s: float) -> None:
        while (due := self.next_deadline_s()) is not None and due <= now_s:
            _, name = heapq.heappop(self._deadlines)
            starting = self._workers[name].phase is Phase.STARTING
            reason = "it did not greet in time" if starting else "it overran its deadline"
            if self._down(name, reason, now_s, Status.TIMEOUT):
                self._commands.append(Kill(name, reason))

    def _scatter(self, event: Scattered, now_s: float) -> None:
        for worker in self.workers():
            if worker.phase in LIVE:
                self._take_back(worker.name, event.reason)
                self._start_over(worker.name, now_s)
                self._commands.append(Revive(worker.name, event.reason))
            elif worker.phase is Phase.DRAINING:
                self._retire(worker.name, Phase.RELEASED, f"drained; {event.reason}")

    def _drain(self, event: DrainAsked) -> None:
        for name in (event.worker,) if event.worker is not None else tuple(self._workers):
            worker = self._workers[name]
            if worker.phase is Phase.STARTING:
                self._retire(name, Phase.RELEASED, "drained")
            elif worker.phase is Phase.READY:
                self._put(replace(worker, phase=Phase.DRAINING, must_prove=False))
                self._let_go(name)

    def _change_toolchain(self, event: ToolchainChanged, now_s: float) -> None:
        self.toolchain = event.toolchain
        for worker in self.workers():
            if worker.phase in (Phase.READY, Phase.DRAINING) and worker.toolchain != event.toolchain:
                reason = f"the run moves to toolchain {event.toolchain!r}"
                self._take_back(worker.name, reason)
                if worker.phase is Phase.DRAINING:
                    self._retire(worker.name, Phase.RELEASED, reason)
                else:
                    self._start_over(worker.name, now_s)
                    self._commands.append(Kill(worker.name, reason))

    # A worker's answers.

    def _judge(self, name: str, good: bool, canary: Measurement) -> None:
        worker = self._workers[name]
        if good:
            forgiven = worker.proofs + 1 >= self.rules.forgive_after
            self._put(
                replace(
                    worker,
                    must_prove=False,
                    proofs=0 if forgiven else worker.proofs + 1,
                    canaries_good=worker.canaries_good + 1,
                    strikes=0 if forgiven else worker.strikes,
                )
            )
            self._publish(name)
            return
        seen = f"{canary.latency_us:g} us" if canary.latency_us is not None else str(canary.status)
        reason = f"bad canary ({seen})"
        self._requeue(worker.held, reason)
        strikes = worker.strikes + 1
        bad = worker.canaries_bad + 1
        self._put(
            replace(
                worker,
                held=(),
                must_prove=True,
                proofs=0,
                canaries_bad=bad,
                strikes=strikes,
                reason=reason,
            )
        )
        if strikes >= self.rules.strikes:
            self._retire(name, Phase.QUARANTINED, f"{strikes} bad canaries, the last one {seen}")

    def _publish(self, name: str) -> None:
        worker = self._workers[name]
        for number, measurement in worker.held:
            self._finish(number, replace(measurement, worker=measurement.worker or name))
        self._put(replace(worker, held=()))

    def _let_go(self, name: str) -> None:
        worker = self._workers[name]
        if worker.phase is Phase.DRAINING and not worker.leases and not worker.held:
            self._retire(name, Phase.RELEASED, "drained")

    def _learn_pace(self, lease: Lease, elapsed_s: float) -> None:
        if not lease.items:
            return
        task = self._items[lease.items[0]].task
        newest = elapsed_s / (len(lease.items) + (lease.canary is not None))
        before = self._pace_s.get(task, newest)
        self._pace_s[task] = PACE_WEIGHT * newest + (1.0 - PACE_WEIGHT) * before

    # A worker's end.

    def _down(self, name: str, reason: str, now_s: float, cause: Status | None) -> bool:
        """The process in the slot is of no more use. Whether a fresh one shall take its place.

        `cause` is what the candidates it was on end as, once they have done this often enough; None blames
        the worker alone, as if it had not started.
        """
        worker = self._workers[name]
        starting = worker.phase is Phase.STARTING or cause is None
        if worker.leases and cause is not None:
            for number in self._leases[worker.leases[0]].items:
                self._blame(number, name, reason, cause)
        self._take_back(name, reason)
        failed_starts = worker.failed_starts + starting
        deaths = worker.deaths + (not starting)
        self._put(replace(self._workers[name], failed_starts=failed_starts, deaths=deaths, reason=reason))
        if worker.phase is Phase.DRAINING:
            self._retire(name, Phase.RELEASED, f"drained; {reason}")
        elif failed_starts >= self.rules.failed_starts:
            self._retire(name, Phase.RELEASED, f"it failed to start {failed_starts} times: {reason}")
        elif deaths >= self.rules.deaths_in_row and self._others_work(name):
            self._retire(name, Phase.QUARANTINED, f"it went down {deaths} times in a row: {reason}")
        else:
            self._start_over(name, now_s)
            return True
        return False

    def _others_work(self, name: str) -> bool:
        return any(
            worker.phase is Phase.READY and worker.measured and not worker.deaths
            for worker in self._workers.values()
            if worker.name != name
        )

    def _take_back(self, name: str, reason: str) -> None:
        """Revoke every lease and every unvouched answer of a worker; nobody is blamed."""
        worker = self._workers[name]
        for lease in worker.leases:
            items = self._leases.pop(lease).items
            self._requeue(tuple((number, None) for number in items), reason)
        self._requeue(worker.held, reason)
        self._put(replace(worker, leases=(), held=(), unproven=0, deadline_s=None))

    def _start_over(self, name: str, now_s: float) -> None:
        deadline_s = now_s + self.rules.start_deadline_s
        self._put(
            replace(
                self._workers[name], phase=Phase.STARTING, must_prove=False, proofs=0, deadline_s=deadline_s
            )
        )

    def _retire(self, name: str, phase: Phase, reason: str) -> None:
        self._take_back(name, reason)
        self._put(replace(self._workers[name], phase=phase, reason=reason))
        quarantined = phase is Phase.QUARANTINED
        self._commands.append(Quarantine(name, reason) if quarantined else Release(name, reason))

    def _halt(self) -> None:
        reasons = "; ".join(f"{worker.name}: {worker.reason}" for worker in self.workers()[-3:])
        reason = f"no worker is left ({reasons})"
        for number in tuple(self._items):
            self._finish(number, failure(Status.LOST, reason))
        self._queue.clear()
        self._singles.clear()
        self._commands.append(Halt(reason))

    # An item's way.

    def _enqueue(self, item: Item, front: bool = False) -> None:
        if item.burned or item.apart is not None:
            self._singles[item.number] = None
        elif front:
            self._queue.appendleft(item.number)
        else:
            self._queue.append(item.number)

    def _requeue(self, entries: tuple[tuple[int, Measurement | None], ...], reason: str) -> None:
        for number, _ in reversed(entries):
            if number in self._items and number not in self._singles:
                self._commands.append(Retry(number, reason))
                self._enqueue(self._items[number], front=True)

    def _blame(self, number: int, worker: str, reason: str, cause: Status) -> None:
        """The worker went down while this item was, or may have been, on it."""
        item = self._items[number]
        item = replace(item, burned=(*item.burned, worker))
        self._items[number] = item
        if len(item.burned) >= self.rules.attempts:
            workers = ", ".join(dict.fromkeys(item.burned))
            reason = f"stopped after {len(item.burned)} attempts on {workers}: {reason}"
            self._finish(number, failure(cause, reason, worker))
        else:
            self._commands.append(Retry(number, reason))
            self._enqueue(item)

    def _finish(self, number: int, measurement: Measurement) -> None:
        del self._items[number]
        self._commands.append(Finish(number, measurement))

    # Giving out work.

    def _feed(self, now_s: float) -> None:
        for name in tuple(self._proving):
            self._assign(name, (), now_s)
        for calls, shelf in enumerate(self._shelves):
            if not (self._queue or self._singles) or (calls and not self._prefetches()):
                break
            for name in tuple(shelf):
                items = self._take(name)
                if items:
                    self._assign(name, items, now_s)
                if not (self._queue or self._singles):
                    break
        if len(self._items) == self._held:  # nothing is left to wait for but the canaries
            for name in tuple(self._owing):
                self._assign(name, (), now_s)

    def _prefetches(self) -> bool:
        task = self._items[self._queue[0]].task if self._queue else self._last_task
        pace_s = self._pace_s.get(task)
        return pace_s is not None and pace_s < self.rules.prefetch_below_s

    def _take(self, name: str) -> tuple[int, ...]:
        for number in self._singles:
            if self._eligible(self._items[number], name):
                del self._singles[number]
                return (number,)
        if not self._queue:
            return ()
        task = self._items[self._queue[0]].task
        full = self._full_chunk(task)
        # An equal share balances the end of a batch; a quarter of a full call is not worth splitting.
        size = min(full, max(ceil(len(self._queue) / max(1, len(self._live))), full // 4))
        chunk: list[int] = []
        while self._queue and len(chunk) < size and self._items[self._queue[0]].task == task:
            chunk.append(self._queue.popleft())
        return tuple(chunk)

    def _eligible(self, item: Item, name: str) -> bool:
        avoid = set(item.burned)
        if item.apart is not None:
            avoid |= self._sites.get(item.apart, set())
        return name not in avoid or self._live <= avoid

    def _full_chunk(self, task: str) -> int:
        pace_s = self._pace_s.get(task)
        if pace_s is None:
            return 1
        return max(1, min(self.rules.chunk_max, int(self.rules.chunk_s / max(pace_s, 1e-9))))

    def _assign(self, name: str, items: tuple[int, ...], now_s: float) -> None:
        worker = self._workers[name]
        canaries = self.rules.canaries
        unproven = worker.unproven + len(items)
        due = bool(canaries) and (not items or unproven >= self.rules.canary_every)
        canary = worker.canaries_sent % len(canaries) if due else None
        for number in items:
            item = self._items[number]
            self._last_task = item.task
            if item.apart is not None:
                self._sites.setdefault(item.apart, set()).add(name)
        pace_s = self._pace_s.get(self._last_task, 0.0)
        allowance_s = self.rules.deadline_s + SLACK * pace_s * (len(items) + due)
        lease = Lease(self._next_lease, name, items, canary, allowance_s)
        self._next_lease += 1
        self._leases[lease.number] = lease
        self._put(
            replace(
                worker,
                leases=(*worker.leases, lease.number),
                unproven=0 if due else unproven,
                canaries_sent=worker.canaries_sent + due,
                deadline_s=worker.deadline_s if worker.leases else now_s + allowance_s,
            )
        )
        self._commands.append(Assign(name, lease.number, items, canary))

    def _put(self, worker: Worker) -> None:
        """The one place where a worker changes; keeps the indexes over workers in step."""
        before = self._workers.get(worker.name)
        name, calls = worker.name, len(worker.leases)
        self._workers[name] = worker
        self._held += len(worker.held) - (len(before.held) if before is not None else 0)
        self._active += (worker.phase not in GONE) - (before is not None and before.phase not in GONE)
        (self._live.add if worker.phase in LIVE else self._live.discard)(name)
        hungry = worker.phase is Phase.READY and not worker.must_prove
        for level, shelf in enumerate(self._shelves):
            if hungry and calls == level:
                shelf[name] = None
            else:
                shelf.pop(name, None)
        reachable = worker.phase in (Phase.READY, Phase.DRAINING)
        idle = reachable and not calls
        leaving = worker.phase is Phase.DRAINING and bool(worker.held)
        for shelf, wanted in (
            (self._proving, idle and (worker.must_prove or leaving)),
            (self._owing, idle and bool(worker.held)),
        ):
            if wanted:
                shelf[name] = None
            else:
                shelf.pop(name, None)
        if worker.deadline_s is not None and (before is None or before.deadline_s != worker.deadline_s):
            heapq.heappush(self._deadlines, (worker.deadline_s, name))


def above_floor(measurement: Measurement, floor_us: float) -> Measurement:
    """`measurement`, or WRONG where it is faster than anything can be."""
    if measurement.latency_us is None or measurement.latency_us >= floor_us:
        return measurement
    reason = f"{measurement.latency_us:g} us is under the physical floor of {floor_us:g} us"
    return failure(Status.WRONG, reason, measurement.worker)
