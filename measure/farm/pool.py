"""Between search and measurement: candidates in, measurements out, from any number of workers."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from types import TracebackType
from typing import Protocol, Self

from tilewright.measure.device import Device, DeviceInfo, Task
from tilewright.measure.farm.dispatch import above_floor
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config

CONFIRMATIONS = 3


@dataclass(frozen=True)
class Answer:
    """A finished submission: its ticket from `submit`, and the measurement."""

    ticket: int
    measurement: Measurement


@dataclass(frozen=True)
class WorkerStatus:
    """One worker, for people and metrics.

    `phase` is starting, ready, draining, quarantined or released (drained, outdated, or never came up:
    `reason` says which). `pid` is its process's on `host`, 0 and "" while there is none (known); `calls` are
    under way or waiting at the worker. Good and bad canaries are counted over the slot's whole life,
    `strikes` are those that still count.
    """

    name: str
    phase: str
    measured: int
    strikes: int
    reason: str
    pid: int = 0
    calls: int = 0
    kind: str = ""
    host: str = ""
    toolchain: str = ""
    canaries_good: int = 0
    canaries_bad: int = 0

    @property
    def activity(self) -> str:
        """The phase in one word for a page: `ready` is split into idle and busy."""
        if self.phase != "ready":
            return self.phase
        return "busy" if self.calls else "idle"


class News:
    """The workers that changed since the last call: by a phase, a measurement, a canary."""

    def __init__(self) -> None:
        self._told: dict[str, WorkerStatus] = {}

    def of(self, states: Sequence[WorkerStatus]) -> list[WorkerStatus]:
        """Those of `states` that differ from the last call's, calls under way aside."""
        fresh = [state for state in states if self._told.get(state.name) != replace(state, calls=0)]
        self._told.update({state.name: replace(state, calls=0) for state in fresh})
        return fresh


class Pool(Protocol):
    """Several devices of one kind behind one interface. Not for several threads, except `close`.

    `measure` is deterministic wherever the device is: its answers do not depend on how many workers there are
    or when they die (`Measurement.worker` aside). `submit` and `collect` keep a wide farm busy and answer in
    the order of completion. A submission is answered exactly once. Both raise DeviceError when nothing can be
    measured any more. The suite is tests/conformance/pool_suite.py.
    """

    def start(self) -> None:
        """Begin to bring the workers up, and return at once; later calls wait for them as needed."""
        ...

    def info(self) -> DeviceInfo:
        """The DeviceInfo of the workers. Waits for the first worker."""
        ...

    def measure(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[Measurement]:
        """One Measurement per Config, in their order. Under `floor_us` (a proven bound) is WRONG."""
        ...

    def confirm(self, task: Task, config: Config, times: int = CONFIRMATIONS) -> list[Measurement]:
        """`times` further measurements of one Config, on different workers where the farm has them."""
        ...

    def submit(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[int]:
        """Queue candidates; one ticket each. UsageError when the backlog is full: `collect` first."""
        ...

    def collect(self, timeout_s: float | None = None) -> list[Answer]:
        """Submissions finished since the last call; waits for at least one unless none is out or the time is
        over.

        To keep a wide farm busy, wait for some 50 ms only: with canaries, `wanted` grows before anything is
        finished.
        """
        ...

    def wanted(self) -> int:
        """The number of further candidates that would keep every worker busy."""
        ...

    def outstanding(self) -> int:
        """The number of submissions that are not answered yet, or answered and not collected."""
        ...

    def workers(self) -> list[WorkerStatus]:
        """All workers that belong or belonged to the farm."""
        ...

    def news(self) -> list[WorkerStatus]:
        """The workers that changed since the last call, for a table of workers or a metric.

        Costs no measuring time; ask as often as the reader can write, between batches for instance.
        """
        ...

    def close(self) -> None:
        """End every worker process. Submissions not answered by then never are. Idempotent."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SerialPool:
    """One device in this process: no workers, no deadlines, no start-up."""

    def __init__(self, device: Device, batch: int = 16) -> None:
        self._device = device
        self._batch = batch
        self._tickets = count()
        self._done: list[Answer] = []
        self._measured = 0
        self._news = News()

    def start(self) -> None:
        """Nothing to bring up."""

    def info(self) -> DeviceInfo:
        """See Pool."""
        return self._device.describe()

    def measure(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[Measurement]:
        """See Pool."""
        answers = self._device.measure(task, configs)
        self._measured += len(answers)
        return [
            above_floor(replace(answer, worker=answer.worker or "serial"), floor_us) for answer in answers
        ]

    def confirm(self, task: Task, config: Config, times: int = CONFIRMATIONS) -> list[Measurement]:
        """See Pool."""
        return [self.measure(task, [config])[0] for _ in range(times)]

    def submit(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[int]:
        """See Pool. Measures at once."""
        answers = self.measure(task, configs, floor_us=floor_us)
        new = [Answer(next(self._tickets), answer) for answer in answers]
        self._done += new
        return [answer.ticket for answer in new]

    def collect(self, timeout_s: float | None = None) -> list[Answer]:
        """See Pool."""
        done, self._done = self._done, []
        return done

    def wanted(self) -> int:
        """See Pool."""
        return max(0, self._batch - len(self._done))

    def outstanding(self) -> int:
        """See Pool."""
        return len(self._done)

    def workers(self) -> list[WorkerStatus]:
        """See Pool."""
        info = self._device.describe()
        return [
            WorkerStatus(
                "serial",
                "ready",
                self._measured,
                0,
                "",
                pid=os.getpid(),
                kind=info.name,
                host=socket.gethostname(),
                toolchain=info.toolchain,
            )
        ]

    def news(self) -> list[WorkerStatus]:
        """See Pool."""
        return self._news.of(self.workers())

    def close(self) -> None:
        """End the device, where it is one that ends."""
        end = getattr(self._device, "close", None)
        if callable(end):
            end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
