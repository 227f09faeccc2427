"""The candidates that are not finished: which goes next, to whom, and how many of them at a time."""

from collections import deque
from dataclasses import replace
from math import ceil

from tilewright.measure.farm.messages import Item, Rules

PACE_WEIGHT = 0.5  # of the newest call in the running mean of seconds per candidate


class Backlog:
    """Accepted candidates, their queue, and the pace at which each task's are measured."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.items: dict[int, Item] = {}  # accepted and not finished
        self.pace_s: dict[str, float] = {}  # task -> seconds per candidate
        self.last_task = ""
        self._queue: deque[int] = deque()
        self._singles: dict[int, None] = {}  # sent alone: suspects, and members of apart sets
        self._sites: dict[int, set[str]] = {}  # apart set -> workers that had a member

    def __bool__(self) -> bool:
        """Whether there is work for another worker."""
        return bool(self._queue or self._singles)

    def accept(self, item: Item) -> None:
        """A new candidate, at the end of the queue."""
        self.items[item.number] = item
        self._enqueue(item)

    def requeue(self, number: int) -> bool:
        """Back to the front, unless it is finished or on its way already."""
        if number not in self.items or number in self._singles:
            return False
        self._enqueue(self.items[number], front=True)
        return True

    def burn(self, number: int, worker: str) -> Item:
        """Note that `worker` went down with it; the item as it is now."""
        item = self.items[number]
        self.items[number] = item = replace(item, burned=(*item.burned, worker))
        return item

    def suspect(self, number: int) -> None:
        """Once more, alone."""
        self._enqueue(self.items[number])

    def finish(self, number: int) -> None:
        """Out of the books."""
        del self.items[number]

    def clear(self) -> None:
        """The backlog is closed: no item is handed out any more."""
        self._queue.clear()
        self._singles.clear()

    def take(self, name: str, live: set[str]) -> tuple[int, ...]:
        """The next items for the worker `name`; () when there are none."""
        for number in self._singles:
            if self._eligible(self.items[number], name, live):
                del self._singles[number]
                return (number,)
        if not self._queue:
            return ()
        task = self.items[self._queue[0]].task
        full = self.full_chunk(task)
        # An equal share balances the end of a batch; a quarter of a full call is not worth splitting.
        size = min(full, max(ceil(len(self._queue) / max(1, len(live))), full // 4))
        chunk: list[int] = []
        while self._queue and len(chunk) < size and self.items[self._queue[0]].task == task:
            chunk.append(self._queue.popleft())
        return tuple(chunk)

    def sent(self, numbers: tuple[int, ...], name: str) -> None:
        """These went to the worker `name`."""
        for number in numbers:
            item = self.items[number]
            self.last_task = item.task
            if item.apart is not None:
                self._sites.setdefault(item.apart, set()).add(name)

    def learn_pace(self, numbers: tuple[int, ...], calls: int, elapsed_s: float) -> None:
        """`calls` measurements, of these items and perhaps a canary, took `elapsed_s` in all."""
        if not numbers:
            return
        task = self.items[numbers[0]].task
        newest = elapsed_s / calls
        before = self.pace_s.get(task, newest)
        self.pace_s[task] = PACE_WEIGHT * newest + (1.0 - PACE_WEIGHT) * before

    def prefetches(self) -> bool:
        """Whether the next candidate is quick enough for a second call to wait at a worker."""
        pace_s = self.pace_s.get(self.items[self._queue[0]].task if self._queue else self.last_task)
        return pace_s is not None and pace_s < self._rules.prefetch_below_s

    def full_chunk(self, task: str) -> int:
        """The number of candidates of a task that keep a worker busy for `chunk_s`."""
        pace_s = self.pace_s.get(task)
        if pace_s is None:
            return 1
        most = self._rules.chunk_max
        if self._rules.canaries:  # a worker that falls sick may spoil no more than this before it is asked
            most = min(most, self._rules.canary_every)
        return max(1, min(most, int(self._rules.chunk_s / max(pace_s, 1e-9))))

    def _enqueue(self, item: Item, front: bool = False) -> None:
        if item.burned or item.apart is not None:
            self._singles[item.number] = None
        elif front:
            self._queue.appendleft(item.number)
        else:
            self._queue.append(item.number)

    def _eligible(self, item: Item, name: str, live: set[str]) -> bool:
        avoid = set(item.burned)
        if item.apart is not None:
            avoid |= self._sites.get(item.apart, set())
        return name not in avoid or live <= avoid
