"""The farm's processes as Ray actors: made, greeted, called, killed. Their answers become events. Ray is used
for processes on many hosts and for calls, and trusted with nothing else: no retries of its own, calls name
the process they are meant for, and text is all that travels.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.farm.messages import Assign, Died, Event, Joined, Replied, Rules
from tilewright.measure.farm.tickets import Tickets
from tilewright.measure.ray_farm.cluster import Cluster
from tilewright.measure.ray_farm.worker import MeasuringWorker, place, started
from tilewright.measure.wire import DeviceSpec, measurement_from_plain

GREET_AGAIN_S = 0.2
UNAVAILABLE = ("ActorUnavailableError",)  # Ray is bringing the process back; the actor itself lives

Deliver = Callable[[Callable[[], Event | None]], None]


@dataclass
class Slot:
    """A place in the farm: its Ray actor, and the process that is in it now."""

    name: str
    actor: Any = None
    generation: int = 0  # of the process; late answers of an older one are dropped
    incarnation: str = ""
    node: str = ""  # the Ray node that the process was on last
    place: str = ""
    host: str = ""
    pid: int = 0
    started: int | None = None
    sent: set[str] = field(default_factory=set)  # digests of tasks it has


class FarmWorker(MeasuringWorker):
    """A worker that knows which of the cluster's nodes it is on."""

    def __init__(self, spec: str) -> None:
        import ray

        super().__init__(spec, ray.get_runtime_context().get_node_id())


class Slots:
    """All slots of one pool. Belongs to the measuring thread; answers reach it through `deliver`."""

    def __init__(self, spec: DeviceSpec, rules: Rules, tickets: Tickets, deliver: Deliver) -> None:
        self._spec = spec
        self._rules = rules
        self._tickets = tickets
        self._deliver = deliver
        self._slots: dict[str, Slot] = {}
        self._texts: dict[str, str] = {}  # task digest -> text
        self._again: list[tuple[float, str, int]] = []  # greetings to repeat: when, slot, generation

    def __getitem__(self, name: str) -> Slot:
        return self._slots[name]

    def __len__(self) -> int:
        return len(self._slots)

    def add(self) -> Slot:
        """A new, empty one."""
        slot = Slot(f"{self._spec.kind}-{len(self._slots)}")
        self._slots[slot.name] = slot
        return slot

    def greet(self, cluster: Cluster, slot: Slot) -> None:
        """Greet the slot's actor, made if need be; the answer becomes Joined or Died."""
        slot.generation += 1
        slot.sent.clear()
        if slot.actor is None:
            remote = cluster.ray.remote(
                num_cpus=0, resources={cluster.resource: 1}, max_restarts=-1, max_task_retries=0
            )
            slot.actor = remote(FarmWorker).remote(self._spec.to_json())
        self._listen(slot, slot.actor.greet.remote(), self._greeted)

    def greet_again(self, cluster: Cluster) -> None:
        """Repeat the greetings that found a process on its way, once their time has come."""
        now_s = time.monotonic()
        due = [entry for entry in self._again if entry[0] <= now_s]
        self._again = [entry for entry in self._again if entry[0] > now_s]
        for _, name, generation in due:
            if self._slots[name].generation == generation:
                self.greet(cluster, self._slots[name])

    def next_greeting_s(self) -> float:
        """When that is; infinity for never."""
        return min((entry[0] for entry in self._again), default=float("inf"))

    def send(self, command: Assign) -> None:
        """Carry a call to its worker; the answer brings Replied or Died."""
        slot = self._slots[command.worker]
        work = self._tickets.payload(command.items)
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
            return _answered(command, slot, future)

        self._listen(slot, slot.actor.measure.remote(json.dumps(call)), answered)

    def kill(self, cluster: Cluster, slot: Slot) -> None:
        """End the slot's process and its actor: Ray takes 2 s to bring an actor back, 0.4 s to make another.

        Ray alone needs 5 s for a stopped process; where we can, we end it ourselves.
        """
        slot.generation += 1
        if slot.actor is not None:
            cluster.ray.kill(slot.actor, no_restart=True)
            slot.actor = None
        _kill_here(slot)

    def abandon(self) -> None:
        """The Ray of every slot is gone: end their remaining processes here, and forget the actors."""
        for slot in self._slots.values():
            _kill_here(slot)
            slot.generation += 1
            slot.actor = None

    def _listen(
        self, slot: Slot, reference: Any, heard: Callable[[Slot, "Future[str]"], Event | None]
    ) -> None:
        generation = slot.generation

        def deliver(future: "Future[str]") -> None:
            self._deliver(lambda: heard(slot, future) if slot.generation == generation else None)

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
        slot.node, slot.host = who["node"], who["host"]
        if "broken" in who:
            return Died(slot.name, who["broken"], own=True)
        slot.incarnation, slot.place = who["incarnation"], who["place"]
        slot.pid, slot.started = who["pid"], who["started"]
        info = DeviceInfo(**who["device"])
        self._tickets.introduce(info)
        return Joined(slot.name, info.toolchain)

    def _text(self, task: Task) -> str:
        if task.digest not in self._texts:
            self._texts[task.digest] = self._spec.encode_task(task)
        return self._texts[task.digest]


def _answered(command: Assign, slot: Slot, future: "Future[str]") -> Event:
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


def _kill_here(slot: Slot) -> None:
    if slot.pid and slot.place == place() and started(slot.pid) == slot.started:
        os.kill(slot.pid, signal.SIGKILL)
    slot.pid = 0


def _one_line(error: BaseException) -> str:
    if "Actor" in type(error).__name__:
        return "its process died"  # the facts in Ray's page of text about it
    error = getattr(error, "cause", None) or error  # Ray's own error begins with its page of text
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
