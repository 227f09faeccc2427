"""Actors that take turns on a clock of their own, in an order that a seed decides.

An actor is a greenlet (they come with SQLAlchemy): ordinary blocking code, which gives way where it sleeps.
Time moves only when all wait, so that hours pass in milliseconds, and a seed that fails fails again.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # it comes without types


class Killed(BaseException):
    """The process of an actor was killed; nothing in it runs any more but what unwinds."""


@dataclass(eq=False)
class Actor:
    """One thread of a process."""

    name: str
    process: str
    life: greenlet
    killed: bool = False
    turn: int = 0
    ended: "Event | None" = field(default=None, repr=False)


class World:
    """The scheduler, the clock and the dice."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_s = 0.0
        self._waiting: list[tuple[float, float, int, Actor]] = []
        self._actors: dict[greenlet, Actor] = {}
        self._hub: Any = getcurrent()

    def spawn(self, process: str, name: str, function: Callable[[], None]) -> Actor:
        """An actor that begins when the scheduler comes round to it."""

        def live() -> None:
            try:
                function()
            except Killed:
                pass
            finally:
                assert actor.ended is not None
                actor.ended.set()
                del self._actors[actor.life]

        actor = Actor(name, process, greenlet(live, self._hub))
        actor.ended = Event(self)
        self._actors[actor.life] = actor
        self._schedule(actor, 0.0)
        return actor

    def current(self) -> Actor:
        """Who is asking."""
        return self._actors[getcurrent()]

    def sleep(self, seconds: float) -> None:
        """Lets others go on for so long."""
        actor = self.current()
        if actor.killed:
            raise Killed
        self._schedule(actor, seconds)
        self._hub.switch()
        if actor.killed:
            raise Killed

    def wake(self, actor: Actor) -> None:
        """Ends an actor's sleep now."""
        self._schedule(actor, 0.0)

    def kill(self, process: str) -> None:
        """Ends every actor of a process where it stands."""
        for actor in [each for each in self._actors.values() if each.process == process]:
            actor.killed = True
            if actor.life:  # has begun
                self.wake(actor)
            else:
                del self._actors[actor.life]

    def stop(self, process: str, seconds: float) -> None:
        """Nothing of a process runs for so long, as after SIGSTOP."""
        for actor in [each for each in self._actors.values() if each.process == process]:
            self._schedule(actor, seconds)

    def run(self, until_s: float, over: Callable[[], bool] = lambda: False) -> None:
        """Lets the actors live until then, or until it is `over`."""
        while self._waiting and self._waiting[0][0] <= until_s and not over():
            at_s, _, turn, actor = heapq.heappop(self._waiting)
            if turn != actor.turn or actor.life not in self._actors:
                continue
            self.now_s = max(self.now_s, at_s)
            actor.life.switch()

    def end(self) -> None:
        """Kills everybody."""
        for process in {actor.process for actor in self._actors.values()}:
            self.kill(process)
        self.run(float("inf"))

    def _schedule(self, actor: Actor, seconds: float) -> None:
        actor.turn += 1
        heapq.heappush(self._waiting, (self.now_s + seconds, self.random.random(), actor.turn, actor))


class Event:
    """What `threading.Event` is to threads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._set = False
        self._waiting: list[Actor] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiting, self._waiting = self._waiting, []
        for actor in waiting:
            self._world.wake(actor)

    def wait(self, timeout: float = float("inf")) -> bool:
        if not self._set:
            actor = self._world.current()
            self._waiting.append(actor)
            self._world.sleep(timeout)
            self._waiting = [each for each in self._waiting if each is not actor]
        return self._set


class Thread:
    """What `threading.Thread` is to threads: an actor of the process that starts it."""

    def __init__(self, world: World, function: Callable[[], None]) -> None:
        self._world = world
        self._function = function
        self._actor: Actor | None = None

    def start(self) -> None:
        self._actor = self._world.spawn(self._world.current().process, "thread", self._function)

    def join(self) -> None:
        assert self._actor is not None
        assert self._actor.ended is not None
        self._actor.ended.wait()
