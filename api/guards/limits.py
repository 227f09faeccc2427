"""How much anybody may ask for: token buckets by name, and a number of places."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


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


class Places:
    """A number of places; whoever finds none waits a little, then is turned away."""

    def __init__(self, count: int, patience_s: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._patience_s = patience_s

    @asynccontextmanager
    async def one(self) -> AsyncIterator[bool]:
        """Holds a place for the block when the value is True; False means that there was none in time."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._free.acquire()
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            self._free.release()
