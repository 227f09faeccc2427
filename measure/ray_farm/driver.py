"""The measuring thread: carries the dispatcher's commands to Ray actors and their answers back to it.

All decisions are in dispatch.py. A second thread finds events that Ray reports late or never: a dead head, a
host that is cut off, hosts that joined and hosts that drain.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tilewright.compiler_core.errors import DeviceError
from tilewright.measure.farm.dispatch import Dispatch
from tilewright.measure.farm.messages import (
    Assign,
    AwaitHosts,
    Command,
    Died,
    DrainAsked,
    Event,
    Finish,
    Halt,
    Kill,
    Quarantine,
    Release,
    Retry,
    Revive,
    Rules,
    Scattered,
    Ticked,
    WorkerOpened,
)
from tilewright.measure.farm.roster import GONE, LIVE, WorkerPhase
from tilewright.measure.farm.tickets import Tickets
from tilewright.measure.ray_farm.cluster import (
    LOCAL,
    Cluster,
    ClusterNode,
    Endpoint,
    connect,
    disconnect,
    reconnect,
    unreachable,
)
from tilewright.measure.ray_farm.slots import Slots
from tilewright.measure.wire import DeviceSpec

IDLE_TICK_S = 1.0
LOOK_S = 2.0  # between two looks at the cluster
LOOKS = 2  # in vain, until a head or a host counts as gone
log = logging.getLogger("tilewright.farm")

Message = Callable[[], Event | None]


class Driver:
    """One pool's thread. `put` gives it something to do; it reports to `tickets`, until `end`."""

    def __init__(
        self, spec: DeviceSpec, workers: int | None, address: str, rules: Rules, tickets: Tickets
    ) -> None:
        self._spec = spec
        self._asked = workers
        self._address = address
        self._rules = rules
        self._tickets = tickets
        if workers is None and address != LOCAL:  # hosts come and go by themselves
            rules = replace(rules, await_hosts_s=rules.start_deadline_s)
        self._dispatch = Dispatch(rules)
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.slots = Slots(spec, rules, tickets, self.put)
        self._cluster: Cluster | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="measuring pool", daemon=True)

    def start(self) -> None:
        """Once."""
        self._thread.start()

    def put(self, message: Message) -> None:
        """Do this on the thread, and handle the event that comes of it. From any thread."""
        self._inbox.put(message)

    def end(self) -> None:
        """Nothing of it is left when this returns."""
        self._ended.set()
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._cluster = connect(self._address, self._spec.kind, self._asked or 1)
            self._open_first(self._cluster)
            threading.Thread(target=self._watch, name="watch over the cluster", daemon=True).start()
            self._serve()
        except DeviceError as error:
            self._tickets.fail(str(error))
        except Exception as error:
            self._tickets.fail(f"the measuring thread failed: {type(error).__name__}: {error}")
            raise
        finally:
            self._finish()

    def _serve(self) -> None:
        ticked_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            try:
                message = self._inbox.get(timeout=max(0.0, self._wake_s(now_s) - now_s))
            except queue.Empty:
                message = self._tick
            if message is None:
                return
            event = message()
            if event is not None:
                self._carry_out(event)
            # Answers that already lie in the inbox go before deadlines, but cannot hold them up for long.
            if time.monotonic() - ticked_s > IDLE_TICK_S:
                ticked_s = time.monotonic()
                self._carry_out(Ticked())

    def _finish(self) -> None:
        """Nothing may be left running: every worker is ended by its process id where that means something."""
        self._ended.set()  # however it came to this
        self._tickets.fail("the pool is closed")
        if self._cluster is None:
            return
        for worker in self._dispatch.workers():
            self.slots.kill(self._cluster, self.slots[worker.name])
        disconnect()

    # Events and commands.

    def _tick(self) -> Event:
        assert self._cluster is not None
        self.slots.greet_again(self._cluster)
        return Ticked()

    def _wake_s(self, now_s: float) -> float:
        deadline_s = self._dispatch.next_deadline_s()
        soon_s = min(now_s + IDLE_TICK_S, self.slots.next_greeting_s())
        return soon_s if deadline_s is None else min(soon_s, deadline_s)

    def _carry_out(self, event: Event) -> None:
        finished: list[Finish] = []
        halted: str | None = None
        for command in self._dispatch.handle(event, time.monotonic()):
            match command:
                case Finish():
                    finished.append(command)
                case Halt():
                    halted = command.reason
                case _:
                    self._obey(command)
        self._tickets.settle(finished, self._dispatch.wanted(), self._dispatch.workers())
        if halted is not None:
            self._tickets.fail(f"nothing can be measured on {self._spec.kind}: {halted}")

    def _obey(self, command: Command) -> None:
        assert self._cluster is not None
        match command:
            case Assign():
                self.slots.send(command)
            case Kill():
                self.slots.kill(self._cluster, self.slots[command.worker])
                self.slots.greet(self._cluster, self.slots[command.worker])
            case Revive():
                self.slots.greet(self._cluster, self.slots[command.worker])
            case Quarantine() | Release():
                log.warning("%s measures no more: %s", command.worker, command.reason)
                self.slots.kill(self._cluster, self.slots[command.worker])
            case AwaitHosts():
                log.warning("the last host left; another is awaited for %g s", command.seconds)
            case Retry() | Finish() | Halt():
                pass

    # Hosts that come and go.

    def _open_first(self, cluster: Cluster) -> None:
        offered, needed = cluster.offered(), self._asked or 1
        if offered < needed:
            has = ", ".join(cluster.kinds()) or "no device"
            raise DeviceError(
                f"{needed} workers for {self._spec.kind} were asked for, and the Ray at {self._address} "
                f"offers {offered} of resource {cluster.resource!r} (it has {has}); ask for fewer, or join "
                f"hosts: `tune worker --ray {self._address} --target {self._spec.kind}`"
            )
        if self._asked is not None:
            self._open(self._asked)
        else:
            self._welcome(cluster.nodes())

    def _open(self, number: int) -> None:
        assert self._cluster is not None
        for _ in range(number):
            slot = self.slots.add()
            self._carry_out(WorkerOpened(slot.name))
            self.slots.greet(self._cluster, slot)

    def _welcome(self, nodes: tuple[ClusterNode, ...]) -> None:
        """Slots for devices that are free; workers of hosts that drain drain.

        A device whose worker was sent away (sick, outdated, never up) counts as taken: it is not asked twice.
        """
        leaving = {node.identity for node in nodes if node.leaving}
        spent: dict[str, int] = {}
        pending = 0
        for worker in self._dispatch.workers():
            where = self.slots[worker.name].node
            if worker.phase in LIVE and where in leaving:
                self._carry_out(DrainAsked(worker.name))
            elif worker.phase in GONE:
                spent[where] = spent.get(where, 0) + 1
            elif worker.phase is WorkerPhase.STARTING:
                pending += 1
        if self._asked is None:
            free = sum(max(0, n.free - spent.get(n.identity, 0)) for n in nodes if not n.leaving)
            self._open(max(0, free - pending))

    def _cut_off(self, closed: frozenset[Endpoint], nodes: tuple[ClusterNode, ...]) -> None:
        """Hosts that do not answer: their calls go to others now, not when Ray gives the hosts up."""
        gone = {node.identity for node in nodes if node.endpoint in closed}
        for worker in self._dispatch.workers():
            if worker.leases and self.slots[worker.name].node in gone:
                self._carry_out(Died(worker.name, "its host does not answer", worker.leases[0], own=True))

    def _watch(self) -> None:
        """Probe the cluster again and again. In a thread of its own: a probe may take long."""
        missed = 0
        shut: frozenset[Endpoint] = frozenset()
        while not self._ended.wait(LOOK_S):
            cluster = self._cluster
            if cluster is None:
                continue
            if not cluster.alive():
                missed += 1
                if missed == LOOKS:
                    self.put(partial(self._start_again, cluster))
                    missed = 0
                continue
            missed = 0
            if cluster.address == LOCAL:
                continue
            try:
                nodes = cluster.nodes()
            except Exception as error:  # noqa: BLE001 - the head may die between the probe and the question
                log.debug("the cluster's nodes cannot be listed: %s", error)
                continue
            closed = unreachable(tuple(node.endpoint for node in nodes))
            self.put(partial(self._welcome, nodes))
            if closed & shut:
                self.put(partial(self._cut_off, closed & shut, nodes))
            shut = closed

    def _start_again(self, lost: Cluster) -> Event | None:
        """The head is gone, and every process with it: connect anew, and go on where the answers end."""
        if self._cluster is not lost:
            return None
        fresh = "a new one is started" if lost.address == LOCAL else f"connecting to {lost.address} again"
        log.warning("Ray's head died: %s; unanswered candidates are measured again", fresh)
        self.slots.abandon()
        give_up_s = time.monotonic() + self._rules.start_deadline_s
        while True:
            try:
                self._cluster = reconnect(lost, self._spec.kind, self._asked or 1)
                return Scattered("Ray's head died")
            except DeviceError:
                if time.monotonic() > give_up_s or self._ended.wait(LOOK_S):
                    raise
