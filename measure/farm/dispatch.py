"""The farm's state machine: which worker measures which candidate. Events in, commands out; no clock, no
thread, no randomness.

`Dispatch.handle(event, now_s)` is the only way in, time is an argument, and the same events give the same
commands, so that a farm of any size runs in virtual time and every failure replays. Values in the tables are
frozen and replaced; the tables themselves belong to one `Dispatch`, because copying them would cost more than
the measurements on a wide farm.

Invariants, under any behaviour of the workers:
- an item finishes exactly once, and only from a lease that is still in force;
- where canaries are given, a result is published only after a later good canary of the same worker process;
- an item that took `attempts` workers down is finished as a failure; no item waits for a worker that is gone.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from tilewright.measure.farm.backlog import Backlog
from tilewright.measure.farm.messages import (
    Assign,
    AwaitHosts,
    Command,
    Died,
    DrainAsked,
    Event,
    Finish,
    Halt,
    Joined,
    Kill,
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
    WorkerOpened,
)
from tilewright.measure.farm.roster import DEPTH, GONE, LIVE, CallLease, Roster, RosterWorker, WorkerPhase
from tilewright.measure.results import Measurement, Status, failure

SLACK = 4.0  # a call may take this many times its expected time before its deadline starts to count


class Dispatch:
    """The state machine. One owner, one thread; see the module's docstring for what it promises."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.toolchain = rules.toolchain
        self._roster = Roster()
        self._backlog = Backlog(rules)
        self._leases: dict[int, CallLease] = {}
        self._next_lease = 0
        self._left_in_order = False  # the last worker that went
        self._empty_until_s: float | None = None  # while another host is awaited
        self._commands: list[Command] = []

    def handle(self, event: Event, now_s: float) -> list[Command]:
        """Take one event; returns the commands for the shell, in order."""
        match event:
            case WorkerOpened():
                self._open(event, now_s)
            case Joined():
                self._joined(event)
            case Submitted():
                for item in event.items:
                    self._backlog.accept(item)
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
        if self._roster.all() and not self._roster.active:
            self._stand_empty(now_s)
        else:
            self._empty_until_s = None
        commands, self._commands = self._commands, []
        return commands

    # Queries of the shell.

    def next_deadline_s(self) -> float | None:
        """When the shell should tick at the latest; None while nothing is awaited."""
        deadlines_s = (self._roster.next_deadline_s(), self._empty_until_s)
        return min((deadline_s for deadline_s in deadlines_s if deadline_s is not None), default=None)

    def wanted(self) -> int:
        """The number of further candidates that keep every worker busy, with one call waiting at each."""
        full = self._backlog.full_chunk(self._backlog.last_task)
        room = min(len(self._roster.live) * DEPTH * full, self.rules.backlog_max)
        return max(0, room - (self.outstanding() - self._roster.held))

    def outstanding(self) -> int:
        """Items accepted and not finished."""
        return len(self._backlog.items)

    def workers(self) -> tuple[RosterWorker, ...]:
        """Every slot ever opened, in that order."""
        return self._roster.all()

    # Events.

    def _open(self, event: WorkerOpened, now_s: float) -> None:
        before = self._roster.get(event.worker)
        if before is None or before.phase in GONE:
            self._start_over(RosterWorker(event.worker), now_s)

    def _joined(self, event: Joined) -> None:
        worker = self._roster[event.worker]
        if worker.phase is not WorkerPhase.STARTING:
            return
        self.toolchain = self.toolchain or event.toolchain
        if event.toolchain != self.toolchain:
            reason = f"it has toolchain {event.toolchain!r}, the run needs {self.toolchain!r}"
            self._retire(worker.name, WorkerPhase.RELEASED, reason)
            return
        self._roster.put(worker.greeted(event.toolchain, must_prove=bool(self.rules.canaries)))

    def _replied(self, event: Replied, now_s: float) -> None:
        worker = self._roster[event.worker]
        if event.lease not in worker.leases:
            return
        lease = self._leases[event.lease]
        if len(event.measurements) != len(lease.items) or (event.canary is None) != (lease.canary is None):
            reason = f"it answered {len(event.measurements)} of {len(lease.items)} candidates"
            self._down(worker.name, reason, now_s, Status.LOST)
            self._commands.append(Kill(worker.name, reason))
            return
        del self._leases[event.lease]
        proves = lease.canary is not None
        self._backlog.learn_pace(lease.items, len(lease.items) + proves, event.elapsed_s)
        held = list(worker.held)
        for number, measurement in zip(lease.items, event.measurements, strict=True):
            if measurement.status is Status.LOST:
                self._blame(number, worker.name, measurement.reason or "the answer was lost", Status.LOST)
            else:
                held.append((number, above_floor(measurement, self._backlog.items[number].floor_us)))
        left = [number for number in worker.leases if number != event.lease]
        deadline_s = now_s + self._leases[left[0]].allowance_s if left else None
        self._roster.put(worker.answered(lease, tuple(held), deadline_s))
        if lease.canary is not None and event.canary is not None:
            self._judge(worker.name, self.rules.canaries[lease.canary].passes(event.canary), event.canary)
        elif not self.rules.canaries:
            self._publish(worker.name)
        self._let_go(worker.name)

    def _died(self, event: Died, now_s: float) -> None:
        worker = self._roster[event.worker]
        known = worker.phase is WorkerPhase.STARTING if event.lease is None else event.lease in worker.leases
        cause = None if event.own else Status.FAILED
        if known and self._down(worker.name, event.reason, now_s, cause):
            self._commands.append(Revive(worker.name, event.reason))

    def _expire(self, now_s: float) -> None:
        while (name := self._roster.take_overdue(now_s)) is not None:
            starting = self._roster[name].phase is WorkerPhase.STARTING
            reason = "it did not greet in time" if starting else "it overran its deadline"
            if self._down(name, reason, now_s, Status.TIMEOUT):
                self._commands.append(Kill(name, reason))

    def _scatter(self, event: Scattered, now_s: float) -> None:
        for worker in self.workers():
            if worker.phase in LIVE:
                self._take_back(worker.name, event.reason)
                self._start_over(self._roster[worker.name], now_s)
                self._commands.append(Revive(worker.name, event.reason))
            elif worker.phase is WorkerPhase.DRAINING:
                self._leave(worker.name, f"drained; {event.reason}")

    def _drain(self, event: DrainAsked) -> None:
        for worker in self.workers() if event.worker is None else (self._roster[event.worker],):
            if worker.phase is WorkerPhase.STARTING:
                self._leave(worker.name, "drained")
            elif worker.phase is WorkerPhase.READY:
                self._roster.put(replace(worker, phase=WorkerPhase.DRAINING, must_prove=False))
                self._let_go(worker.name)

    def _change_toolchain(self, event: ToolchainChanged, now_s: float) -> None:
        self.toolchain = event.toolchain
        for worker in self.workers():
            if (
                worker.phase in (WorkerPhase.READY, WorkerPhase.DRAINING)
                and worker.toolchain != event.toolchain
            ):
                reason = f"the run moves to toolchain {event.toolchain!r}"
                self._take_back(worker.name, reason)
                if worker.phase is WorkerPhase.DRAINING:
                    self._retire(worker.name, WorkerPhase.RELEASED, reason)
                else:
                    self._start_over(self._roster[worker.name], now_s)
                    self._commands.append(Kill(worker.name, reason))

    # A worker's answers.

    def _judge(self, name: str, good: bool, canary: Measurement) -> None:
        worker = self._roster[name]
        if good:
            self._roster.put(worker.vouched(self.rules.forgive_after))
            self._publish(name)
            return
        seen = f"{canary.latency_us:g} us" if canary.latency_us is not None else str(canary.status)
        reason = f"bad canary ({seen})"
        self._requeue([number for number, _ in worker.held], reason)
        worker = worker.doubted(reason)
        self._roster.put(worker)
        if worker.strikes >= self.rules.strikes:
            self._retire(name, WorkerPhase.QUARANTINED, f"{worker.strikes} bad canaries, the last one {seen}")

    def _publish(self, name: str) -> None:
        worker = self._roster[name]
        for number, measurement in worker.held:
            self._finish(number, replace(measurement, worker=measurement.worker or name))
        self._roster.put(replace(worker, held=()))

    def _let_go(self, name: str) -> None:
        worker = self._roster[name]
        if worker.phase is WorkerPhase.DRAINING and not worker.leases and not worker.held:
            self._leave(name, "drained")

    # A worker's end.

    def _down(self, name: str, reason: str, now_s: float, cause: Status | None) -> bool:
        """The process in the slot is lost. Returns whether a fresh one shall take its place.

        `cause` is the final status of its candidates once they have lost enough processes; None blames the
        worker alone, as if it had not started.
        """
        worker = self._roster[name]
        starting = worker.phase is WorkerPhase.STARTING or cause is None
        if worker.leases and cause is not None:
            for number in self._leases[worker.leases[0]].items:
                self._blame(number, name, reason, cause)
        self._take_back(name, reason)
        failed_starts = worker.failed_starts + starting
        deaths = worker.deaths + (not starting)
        worker = replace(self._roster[name], failed_starts=failed_starts, deaths=deaths, reason=reason)
        self._roster.put(worker)
        if worker.phase is WorkerPhase.DRAINING:
            self._leave(name, f"drained; {reason}")
        elif failed_starts >= self.rules.failed_starts:
            self._retire(name, WorkerPhase.RELEASED, f"it failed to start {failed_starts} times: {reason}")
        elif deaths >= self.rules.deaths_in_row and self._roster.others_work(name):
            self._retire(name, WorkerPhase.QUARANTINED, f"it went down {deaths} times in a row: {reason}")
        else:
            self._start_over(worker, now_s)
            return True
        return False

    def _take_back(self, name: str, reason: str) -> None:
        """Revoke every lease and every unvouched answer of a worker; nobody is blamed."""
        worker = self._roster[name]
        for lease in worker.leases:
            self._requeue(self._leases.pop(lease).items, reason)
        self._requeue([number for number, _ in worker.held], reason)
        self._roster.put(worker.emptied())

    def _start_over(self, worker: RosterWorker, now_s: float) -> None:
        self._roster.put(worker.started_over(now_s + self.rules.start_deadline_s))

    def _retire(self, name: str, phase: WorkerPhase, reason: str) -> None:
        self._take_back(name, reason)
        self._roster.put(replace(self._roster[name], phase=phase, reason=reason))
        self._left_in_order = False
        quarantined = phase is WorkerPhase.QUARANTINED
        self._commands.append(Quarantine(name, reason) if quarantined else Release(name, reason))

    def _leave(self, name: str, reason: str) -> None:
        self._retire(name, WorkerPhase.RELEASED, reason)
        self._left_in_order = True

    def _stand_empty(self, now_s: float) -> None:
        """No worker is left. After hosts that left in order others may come; after faults none will."""
        if self._left_in_order and self.rules.await_hosts_s > 0.0:
            self._left_in_order = False
            self._empty_until_s = now_s + self.rules.await_hosts_s
            self._commands.append(AwaitHosts(self.rules.await_hosts_s))
        if self._empty_until_s is None or now_s >= self._empty_until_s:
            self._empty_until_s = None
            self._halt()

    def _halt(self) -> None:
        reasons = "; ".join(f"{worker.name}: {worker.reason}" for worker in self.workers()[-3:])
        reason = f"no worker is left ({reasons})"
        for number in tuple(self._backlog.items):
            self._finish(number, failure(Status.LOST, reason))
        self._backlog.clear()
        self._commands.append(Halt(reason))

    # An item's way.

    def _requeue(self, numbers: Sequence[int], reason: str) -> None:
        for number in reversed(numbers):
            if self._backlog.requeue(number):
                self._commands.append(Retry(number, reason))

    def _blame(self, number: int, worker: str, reason: str, cause: Status) -> None:
        """The worker went down while this item was, or may have been, on it."""
        item = self._backlog.burn(number, worker)
        if len(item.burned) >= self.rules.attempts:
            workers = ", ".join(dict.fromkeys(item.burned))
            reason = f"stopped after {len(item.burned)} attempts on {workers}: {reason}"
            self._finish(number, failure(cause, reason, worker))
        else:
            self._commands.append(Retry(number, reason))
            self._backlog.suspect(number)

    def _finish(self, number: int, measurement: Measurement) -> None:
        self._backlog.finish(number)
        self._commands.append(Finish(number, measurement))

    # Giving out work.

    def _feed(self, now_s: float) -> None:
        for name in tuple(self._roster.proving):
            self._assign(name, (), now_s)
        for calls, shelf in enumerate(self._roster.shelves):
            if not self._backlog or (calls and not self._backlog.prefetches()):
                break
            for name in tuple(shelf):
                items = self._backlog.take(name, self._roster.live)
                if items:
                    self._assign(name, items, now_s)
                if not self._backlog:
                    break
        if self.outstanding() == self._roster.held:  # nothing is left to wait for but the canaries
            for name in tuple(self._roster.owing):
                self._assign(name, (), now_s)

    def _assign(self, name: str, items: tuple[int, ...], now_s: float) -> None:
        worker = self._roster[name]
        canaries = self.rules.canaries
        due = bool(canaries) and (not items or worker.unproven + len(items) >= self.rules.canary_every)
        canary = worker.canaries_sent % len(canaries) if due else None
        self._backlog.sent(items, name)
        pace_s = self._backlog.pace_s.get(self._backlog.last_task, 0.0)
        allowance_s = self.rules.deadline_s + SLACK * pace_s * (len(items) + due)
        lease = CallLease(self._next_lease, name, items, canary, allowance_s)
        self._next_lease += 1
        self._leases[lease.number] = lease
        self._roster.put(worker.assigned(lease, now_s))
        self._commands.append(Assign(name, lease.number, items, canary))


def above_floor(measurement: Measurement, floor_us: float) -> Measurement:
    """`measurement`, or WRONG where it is faster than anything can be."""
    if measurement.latency_us is None or measurement.latency_us >= floor_us:
        return measurement
    reason = f"{measurement.latency_us:g} us is under the physical floor of {floor_us:g} us"
    return failure(Status.WRONG, reason, measurement.worker)
