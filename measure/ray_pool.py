"""The Ray pool: a thread that carries the dispatcher's commands to Ray actors and their answers back to it.

Everything that decides is in dispatch.py. Ray is used for what it does well (processes on many hosts, calls)
and trusted with nothing else: no retries of its own, deadlines and reassignment are ours, calls name the
process they are meant for, and text is all that travels.
"""

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self

from compiler_core.errors import DeviceError, UsageError
from measure.device import DeviceInfo, Task
from measure.dispatch import Dispatch, Worker
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
from measure.pool import CONFIRMATIONS, Answer, News, WorkerState
from measure.ray_cluster import LOCAL, Cluster, connect, disconnect, reconnect
from measure.ray_worker import MeasuringWorker, place, started
from measure.results import Measurement, Status
from measure.wire import DeviceSpec, measurement_from_plain
from search_space.knobs import Config

IDLE_TICK_S = 1.0
GREET_AGAIN_S = 0.2
LOOK_S = 2.0  # between two looks at the cluster's head
LOOKS = 2  # in vain, until it counts as dead
UNAVAILABLE = ("ActorUnavailableError",)  # Ray is bringing the process back; the actor itself lives


@dataclass
class Slot:
    """A place in the farm: its Ray actor, and the process that is in it now."""

    name: str
    actor: Any = None
    generation: int = 0  # of the process; what an older one still says is not heard
    incarnation: str = ""
    place: str = ""
    host: str = ""
    pid: int = 0
    started: int | None = None
    sent: set[str] = field(default_factory=set)  # digests of tasks it has


class RayPool:
    """See Pool. `workers` actors at `address`; None takes every device of the kind the cluster offers."""

    def __init__(
        self, spec: DeviceSpec, workers: int | None = 2, address: str = LOCAL, rules: Rules | None = None
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"a pool of {workers} workers measures nothing; ask for at least 1")
        if workers is None and address == LOCAL:
            raise UsageError("a local pool needs a number of workers")
        self._spec = spec
        self._asked = workers
        self._address = address
        self._rules = rules or Rules()
        self._dispatch = Dispatch(self._rules)
        self._inbox: queue.SimpleQueue[Callable[[], Event | None] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        # Below: guarded by _changed.
        self._results: dict[int, Measurement] = {}
        self._loose: dict[int, None] = {}  # tickets that `collect` hands out
        self._out = 0
        self._wanted = 0
        self._info: DeviceInfo | None = None
        self._error: str | None = None
        self._states: tuple[Worker, ...] = ()
        self._payload: dict[int, tuple[Task, Config]] = {}
        # Below: the thread's own.
        self._cluster: Cluster | None = None
        self._slots: dict[str, Slot] = {}
        self._texts: dict[str, str] = {}  # task digest -> text
        self._calls: dict[int, Assign] = {}
        self._again: list[tuple[float, str, int]] = []  # greetings to repeat: when, slot, generation
        self._tickets = count()
        self._sets = count()
        self._news = News()

    # The caller's side.

    def start(self) -> None:
        """See Pool."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="measuring pool", daemon=True)
            self._thread.start()

    def info(self) -> DeviceInfo:
        """See Pool."""
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: self._info is not None or self._error is not None)
            if self._info is None:
                raise DeviceError(self._error or "the pool has ended")
            return self._info

    def measure(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[Measurement]:
        """See Pool."""
        return self._wait_for(self._enqueue(task, configs, floor_us=floor_us))

    def confirm(self, task: Task, config: Config, times: int = CONFIRMATIONS) -> list[Measurement]:
        """See Pool."""
        return self._wait_for(self._enqueue(task, [config] * times, apart=next(self._sets)))

    def submit(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[int]:
        """See Pool."""
        return self._enqueue(task, configs, floor_us=floor_us, loose=True)

    def collect(self, timeout_s: float | None = None) -> list[Answer]:
        """See Pool."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._error is not None or not self._loose or self._done_loose(), timeout_s
            )
            done = [Answer(ticket, self._results.pop(ticket)) for ticket in self._done_loose()]
            for answer in done:
                del self._loose[answer.ticket]
            if not done and self._error is not None:
                raise DeviceError(self._error)
            return done

    def wanted(self) -> int:
        """See Pool."""
        self.start()
        with self._changed:
            return self._wanted

    def outstanding(self) -> int:
        """See Pool."""
        with self._changed:
            return len(self._loose)

    def workers(self) -> list[WorkerState]:
        """See Pool."""
        with self._changed:
            return [self._state(worker) for worker in self._states]

    def news(self) -> list[WorkerState]:
        """See Pool."""
        return self._news.of(self.workers())

    def _state(self, worker: Worker) -> WorkerState:
        slot = self._slots[worker.name]
        return WorkerState(
            worker.name,
            worker.phase.value,
            worker.measured,
            worker.strikes,
            worker.reason,
            pid=slot.pid,
            calls=len(worker.leases),
            kind=self._spec.kind,
            host=slot.host,
            toolchain=worker.toolchain,
            canaries_good=worker.canaries_good,
            canaries_bad=worker.canaries_bad,
        )

    def drain(self, worker: str | None = None) -> None:
        """Let a worker (all with None) finish what it has, and go."""
        self._tell(DrainAsked(worker))

    def change_toolchain(self, toolchain: str) -> None:
        """From now on only workers of this version measure; the others are restarted once, then let go."""
        self._tell(ToolchainChanged(toolchain))

    def close(self) -> None:
        """See Pool."""
        if self._thread is None:
            return
        self._ended.set()
        self._inbox.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enqueue(
        self,
        task: Task,
        configs: Sequence[Config],
        *,
        floor_us: float = 0.0,
        apart: int | None = None,
        loose: bool = False,
    ) -> list[int]:
        self.start()
        with self._changed:
            if self._error is not None:
                raise DeviceError(self._error)
            if self._out + len(configs) > self._rules.backlog_max:
                raise UsageError(
                    f"{self._out} candidates are out and {len(configs)} more would pass the backlog limit of "
                    f"{self._rules.backlog_max}; collect first"
                )
            tickets = [next(self._tickets) for _ in configs]
            for ticket, config in zip(tickets, configs, strict=True):
                self._payload[ticket] = (task, config)
                if loose:
                    self._loose[ticket] = None
            self._out += len(tickets)
            self._wanted = max(0, self._wanted - len(tickets))
        self._tell(Submitted(tuple(Item(ticket, task.digest, apart, floor_us) for ticket in tickets)))
        return tickets

    def _wait_for(self, tickets: list[int]) -> list[Measurement]:
        with self._changed:
            self._changed.wait_for(
                lambda: self._error is not None or all(ticket in self._results for ticket in tickets)
            )
            answers = [self._results.pop(ticket, None) for ticket in tickets]
            whole = [answer for answer in answers if answer is not None]
            lost = any(answer.status is Status.LOST for answer in whole)
            if len(whole) < len(answers) or (lost and self._error is not None):
                raise DeviceError(self._error or "the pool has ended")
            return whole

    def _done_loose(self) -> list[int]:
        return [ticket for ticket in self._results if ticket in self._loose]

    def _tell(self, event: Event) -> None:
        self._inbox.put(lambda: event)

    # The thread's side.

    def _run(self) -> None:
        try:
            self._open_slots()
            threading.Thread(target=self._watch, name="watch over Ray's head", daemon=True).start()
            self._serve()
        except DeviceError as error:
            self._fail(str(error))
        except Exception as error:
            self._fail(f"the measuring thread failed: {type(error).__name__}: {error}")
            raise
        finally:
            self._end()

    def _open_slots(self) -> None:
        self._cluster = connect(self._address, self._spec.kind, self._asked or 1)
        offered = self._cluster.offered()
        workers = offered if self._asked is None else self._asked
        if offered < max(1, workers):
            raise DeviceError(
                f"{max(1, workers)} workers for {self._spec.kind} were asked for, and the Ray at "
                f"{self._address} offers {offered} of resource {self._cluster.resource!r}; join nodes that "
                "have it, or ask for fewer"
            )
        self._open_up_to(workers)

    def _open_up_to(self, workers: int) -> None:
        for number in range(len(self._slots), workers):
            slot = Slot(f"{self._spec.kind}-{number}")
            self._slots[slot.name] = slot
            self._carry_out(Opened(slot.name))
            self._greet(slot)

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

    def _watch(self) -> None:
        """Look after the head, and for nodes that joined. In a thread of its own: a look may take long."""
        missed = 0
        while not self._ended.wait(LOOK_S):
            cluster = self._cluster
            if cluster is None:
                continue
            if not cluster.alive():
                missed += 1
            else:
                missed = 0
                offered = cluster.offered() if self._asked is None else 0
                if offered > len(self._slots):
                    self._inbox.put(partial(self._open_up_to, offered))
            if missed == LOOKS:
                self._inbox.put(partial(self._start_again, cluster))
                missed = 0

    def _start_again(self, lost: Cluster) -> Event | None:
        """The head is gone, and every process with it: connect anew, and go on where the answers end."""
        if self._cluster is not lost:
            return None
        for slot in self._slots.values():
            self._kill_here(slot)
            slot.generation += 1
            slot.actor = None
        give_up_s = time.monotonic() + self._rules.start_deadline_s
        while True:
            try:
                self._cluster = reconnect(lost, self._spec.kind, self._asked or 1)
                return Scattered("Ray's head died")
            except DeviceError:
                if time.monotonic() > give_up_s or self._ended.wait(LOOK_S):
                    raise

    def _tick(self) -> Event:
        now_s = time.monotonic()
        due = [entry for entry in self._again if entry[0] <= now_s]
        self._again = [entry for entry in self._again if entry[0] > now_s]
        for _, name, generation in due:
            if self._slots[name].generation == generation:
                self._greet(self._slots[name])
        return Ticked()

    def _wake_s(self, now_s: float) -> float:
        deadline_s = self._dispatch.next_deadline_s()
        times = [now_s + IDLE_TICK_S, *(entry[0] for entry in self._again)]
        return min(times if deadline_s is None else [*times, deadline_s])

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
        with self._changed:
            for done in finished:
                self._results[done.number] = done.measurement
                del self._payload[done.number]
            self._out -= len(finished)
            self._wanted = self._dispatch.wanted()
            self._states = self._dispatch.workers()
            if halted is not None:
                self._error = self._error or f"nothing can be measured on {self._spec.kind}: {halted}"
            if finished or halted is not None:
                self._changed.notify_all()

    def _obey(self, command: Command) -> None:
        match command:
            case Assign():
                self._send(command)
            case Kill():
                self._kill(self._slots[command.worker], for_good=False)
                self._greet(self._slots[command.worker])
            case Revive():
                self._greet(self._slots[command.worker])
            case Quarantine() | Release():
                self._kill(self._slots[command.worker], for_good=True)
            case Retry() | Finish() | Halt():
                pass

    def _fail(self, reason: str) -> None:
        with self._changed:
            self._error = self._error or reason
            self._changed.notify_all()

    def _end(self) -> None:
        """Nothing may be left running: every worker is ended by its process id where that means something."""
        self._ended.set()  # however it came to this
        self._fail("the pool is closed")
        if self._cluster is None:
            return
        for slot in self._slots.values():
            self._kill(slot, for_good=True)
        disconnect(self._cluster)

    # One worker.

    def _greet(self, slot: Slot) -> None:
        """Ask the slot's actor, made if need be, who it is; the answer brings Joined or Died."""
        assert self._cluster is not None
        slot.generation += 1
        slot.sent.clear()
        if slot.actor is None:
            remote = self._cluster.ray.remote(
                num_cpus=0, resources={self._cluster.resource: 1}, max_restarts=-1, max_task_retries=0
            )
            slot.actor = remote(MeasuringWorker).remote(self._spec.to_json())
        self._listen(slot, slot.actor.greet.remote(), self._greeted)

    def _listen(
        self, slot: Slot, reference: Any, heard: Callable[[Slot, "Future[str]"], Event | None]
    ) -> None:
        generation = slot.generation

        def deliver(future: "Future[str]") -> None:
            self._inbox.put(lambda: heard(slot, future) if slot.generation == generation else None)

        reference.future().add_done_callback(deliver)

    def _greeted(self, slot: Slot, future: "Future[str]") -> Event | None:
        error = future.exception()
        if error is not None:
            if type(error).__name__ in UNAVAILABLE:
                self._again.append((time.monotonic() + GREET_AGAIN_S, slot.name, slot.generation))
                return None
            slot.actor = None
            return Died(slot.name, _one_line(error))
        who = json.loads(future.result())
        if "broken" in who:
            return Died(slot.name, who["broken"], own=True)
        slot.incarnation, slot.place = who["incarnation"], who["place"]
        slot.host, slot.pid, slot.started = who["host"], who["pid"], who["started"]
        info = DeviceInfo(**who["device"])
        with self._changed:
            self._info = self._info or info
            self._changed.notify_all()
        return Joined(slot.name, info.toolchain)

    def _send(self, command: Assign) -> None:
        slot = self._slots[command.worker]
        with self._changed:
            work = [self._payload[number] for number in command.items]
        canary = self._rules.canaries[command.canary] if command.canary is not None else None
        tasks = [task for task, _ in work[:1]] + ([canary.task] if canary else [])
        texts = {}
        for task in tasks:
            if task.digest not in slot.sent:
                texts[task.digest] = self._text(task)
                slot.sent.add(task.digest)
        call = {
            "incarnation": slot.incarnation,
            "texts": texts,
            "task": work[0][0].digest if work else None,
            "configs": [config.to_json() for _, config in work],
            "canary": [canary.task.digest, canary.config.to_json()] if canary else None,
        }

        def answered(slot: Slot, future: "Future[str]") -> Event:
            return self._answered(command, slot, future)

        self._listen(slot, slot.actor.measure.remote(json.dumps(call)), answered)

    def _text(self, task: Task) -> str:
        if task.digest not in self._texts:
            self._texts[task.digest] = self._spec.encode_task(task)
        return self._texts[task.digest]

    def _answered(self, command: Assign, slot: Slot, future: "Future[str]") -> Event:
        error = future.exception()
        if error is not None:
            return Died(slot.name, _one_line(error), command.lease)
        reply = json.loads(future.result())
        if "measurements" not in reply:
            return Died(slot.name, reply.get("broken", "its process was replaced"), command.lease, own=True)
        canary = reply["canary"]
        return Replied(
            slot.name,
            command.lease,
            tuple(measurement_from_plain(plain, slot.name) for plain in reply["measurements"]),
            reply["elapsed_s"],
            measurement_from_plain(canary, slot.name) if canary is not None else None,
        )

    def _kill(self, slot: Slot, for_good: bool) -> None:
        """End the slot's process. Ray alone needs 5 s for a stopped one; where we can, we do it ourselves."""
        assert self._cluster is not None
        slot.generation += 1
        near = slot.pid and slot.place == place()
        if slot.actor is not None and (for_good or not near):
            self._cluster.ray.kill(slot.actor, no_restart=for_good)
        self._kill_here(slot)
        if for_good:
            slot.actor = None

    def _kill_here(self, slot: Slot) -> None:
        if slot.pid and slot.place == place() and started(slot.pid) == slot.started:
            os.kill(slot.pid, signal.SIGKILL)
        slot.pid = 0


def _one_line(error: BaseException) -> str:
    if "Actor" in type(error).__name__:
        return "its process died"  # all that Ray's page of text about it says
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
