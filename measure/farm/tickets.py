"""Between callers and the measuring thread: candidates in, tickets out, answers back, one lock."""

import threading
from collections.abc import Sequence
from itertools import count

from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.farm.messages import Finish, Item
from tilewright.measure.farm.pool import Answer
from tilewright.measure.farm.roster import RosterWorker
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config


class Tickets:
    """A pool's books. Callers `book` and wait; the thread `settles`. Every method may be called by either."""

    def __init__(self, backlog_max: int) -> None:
        self._backlog_max = backlog_max
        self._changed = threading.Condition()
        self._tickets = count()
        self._sets = count()
        self._results: dict[int, Measurement] = {}
        self._loose: dict[int, None] = {}  # tickets that `collect` hands out
        self._payload: dict[int, tuple[Task, Config]] = {}
        self._wanted = 0
        self._info: DeviceInfo | None = None
        self._error: str | None = None
        self._workers: tuple[RosterWorker, ...] = ()

    # For callers.

    def issue(
        self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0, loose: bool = False
    ) -> tuple[Item, ...]:
        """Candidates with a ticket (`number`) each; `collect` hands out the loose ones."""
        with self._changed:
            if self._error is not None:
                raise DeviceError(self._error)
            if len(self._payload) + len(configs) > self._backlog_max:
                raise UsageError(
                    f"{len(self._payload)} candidates are out and {len(configs)} more would pass the backlog "
                    f"limit of {self._backlog_max}; collect first"
                )
            items = []
            for config in configs:
                ticket = next(self._tickets)
                items.append(Item(ticket, task.digest, floor_us=floor_us))
                self._payload[ticket] = (task, config)
                if loose:
                    self._loose[ticket] = None
            self._wanted = max(0, self._wanted - len(items))
            return tuple(items)

    def new_set(self) -> int:
        """A number for candidates that shall go to different workers."""
        with self._changed:
            return next(self._sets)

    def wait_for(self, items: Sequence[Item]) -> list[Measurement]:
        """The answers, in order, when the last one is there; DeviceError when nothing more will come."""
        numbers = [item.number for item in items]
        with self._changed:
            self._changed.wait_for(
                lambda: self._error is not None or all(number in self._results for number in numbers)
            )
            answers = [self._results.pop(number, None) for number in numbers]
            whole = [answer for answer in answers if answer is not None]
            lost = any(answer.status is Status.LOST for answer in whole)
            if len(whole) < len(answers) or (lost and self._error is not None):
                raise DeviceError(self._error or "the pool has ended")
            return whole

    def collect(self, timeout_s: float | None) -> list[Answer]:
        """Loose answers that came since; waits for one. DeviceError when none is there and none will come."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._error is not None or not self._loose or bool(self._done_loose()), timeout_s
            )
            done = [Answer(ticket, self._results.pop(ticket)) for ticket in self._done_loose()]
            for answer in done:
                del self._loose[answer.ticket]
            if not done and self._error is not None:
                raise DeviceError(self._error)
            return done

    def info(self) -> DeviceInfo:
        """The first worker's, as soon as there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._info is not None or self._error is not None)
            if self._info is None:
                raise DeviceError(self._error or "the pool has ended")
            return self._info

    def wanted(self) -> int:
        """The dispatcher's last demand, less the tickets issued since."""
        with self._changed:
            return self._wanted

    def outstanding(self) -> int:
        """Loose tickets not collected."""
        with self._changed:
            return len(self._loose)

    def workers(self) -> tuple[RosterWorker, ...]:
        """As the dispatcher saw them last."""
        with self._changed:
            return self._workers

    def _done_loose(self) -> list[int]:
        return [ticket for ticket in self._results if ticket in self._loose]

    # For the measuring thread.

    def payload(self, numbers: Sequence[int]) -> list[tuple[Task, Config]]:
        """Task and Config of the items with these numbers."""
        with self._changed:
            return [self._payload[number] for number in numbers]

    def introduce(self, info: DeviceInfo) -> None:
        """A worker reported its device; the first report counts."""
        with self._changed:
            self._info = self._info or info
            self._changed.notify_all()

    def settle(self, finished: Sequence[Finish], wanted: int, workers: tuple[RosterWorker, ...]) -> None:
        """These are done; and this is how the farm stands."""
        with self._changed:
            for done in finished:
                self._results[done.number] = done.measurement
                del self._payload[done.number]
            self._wanted = wanted
            self._workers = workers
            if finished:
                self._changed.notify_all()

    def fail(self, reason: str) -> None:
        """Nothing more will be measured; the first reason counts."""
        with self._changed:
            self._error = self._error or reason
            self._changed.notify_all()
