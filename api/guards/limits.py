"""Limits on requests: token buckets by name, and a number of places."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass


class Buckets:
    """A token bucket for each name: `rate_per_s` tokens flow in, up to `burst`."""

    def __init__(
        self, rate_per_s: float, burst: float, clock: Callable[[], float], names: int = 10_000
    ) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._clock = clock
        self._names = names
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, name: str) -> float:
        """Seconds until `name` has a token; 0 when it has one now."""
        return max(0.0, (1.0 - self._level(name)) / self._rate) if self._rate > 0 else 0.0

    def take(self, name: str) -> float:
        """Takes a token and gives 0, or the seconds to wait when there is none."""
        wait_s = self.wait_s(name)
        if wait_s == 0.0:
            self._levels[name] = self._level(name) - 1.0, self._clock()
            self._levels.move_to_end(name)
            if len(self._levels) > self._names:
                self._levels.popitem(last=False)
        return wait_s

    def _level(self, name: str) -> float:
        level, since = self._levels.get(name, (self._burst, 0.0))
        return min(self._burst, level + (self._clock() - since) * self._rate)


@dataclass(frozen=True)
class _Waiter:
    tenant: str
    names: frozenset[str]
    let_in: "asyncio.Future[None]"


class Places:
    """A number of places, of which no name holds more than `each`.

    A caller that finds none waits a little, then is refused. A place that is given back goes to the tenant
    that holds the fewest, among equals to the one who came first: a crowd of one tenant delays nobody else by
    more than one place.
    """

    def __init__(self, count: int, each: int, patience_s: float) -> None:
        self._free = count
        self._each = each
        self._patience_s = patience_s
        self._held: Counter[str] = Counter()
        self._waiting: list[_Waiter] = []

    @asynccontextmanager
    async def one(self, tenant: str, *names: str) -> AsyncIterator[bool]:
        """Holds a place for the block when the value is True; False means that there was none in time.

        `names` are whom it counts for: the key, the address.
        """
        future = asyncio.get_running_loop().create_future()
        waiter = _Waiter(tenant, frozenset((_of_tenant(tenant), *names)), future)
        if not await self._let_in(waiter):
            yield False
            return
        try:
            yield True
        finally:
            self._free += 1
            self._held.subtract(waiter.names)
            self._held += Counter()  # forgets those who hold none
            self._admit()

    async def _let_in(self, waiter: _Waiter) -> bool:
        self._waiting.append(waiter)
        self._admit()
        try:
            await asyncio.wait((waiter.let_in,), timeout=self._patience_s)
        except asyncio.CancelledError:
            if waiter.let_in.done():
                self._free += 1
                self._held.subtract(waiter.names)
            self._leave(waiter)
            raise
        if waiter.let_in.done():
            return True
        self._leave(waiter)
        return False

    def _leave(self, waiter: _Waiter) -> None:
        self._waiting = [each for each in self._waiting if each is not waiter]
        self._admit()

    def _admit(self) -> None:
        """Lets in as many as there is room for, the modest first."""
        while self._free > 0:
            fitting = [each for each in self._waiting if self._has_room(each)]
            if not fitting:
                return
            first = min(fitting, key=lambda each: self._held[_of_tenant(each.tenant)])
            self._waiting.remove(first)
            self._free -= 1
            self._held.update(first.names)
            first.let_in.set_result(None)

    def _has_room(self, waiter: _Waiter) -> bool:
        own = _of_tenant(waiter.tenant)
        return all(self._held[name] < self._each for name in waiter.names if name != own)


def _of_tenant(name: str) -> str:
    return f"tenant {name}"
