"""The callers' side of the Ray pool: issues tickets, waits for answers, leaves the rest to a thread."""

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from tilewright.compiler_core.errors import UsageError
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.farm.messages import DrainAsked, Event, Item, Rules, Submitted, ToolchainChanged
from tilewright.measure.farm.pool import CONFIRMATIONS, Answer, News, WorkerStatus
from tilewright.measure.farm.roster import RosterWorker
from tilewright.measure.farm.tickets import Tickets
from tilewright.measure.ray_farm.cluster import LOCAL
from tilewright.measure.ray_farm.driver import Driver
from tilewright.measure.results import Measurement
from tilewright.measure.wire import DeviceSpec
from tilewright.search_space.knobs import Config


class RayPool:
    """See Pool. `workers` actors at `address`; None takes every device of the kind the cluster offers."""

    def __init__(
        self, spec: DeviceSpec, workers: int | None = 2, address: str = LOCAL, rules: Rules | None = None
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"a pool of {workers} workers measures nothing; ask for at least 1")
        if workers is None and address == LOCAL:
            raise UsageError("a local pool needs a number of workers")
        rules = rules or Rules()
        self._kind = spec.kind
        self._tickets = Tickets(rules.backlog_max)
        self._driver = Driver(spec, workers, address, rules, self._tickets)
        self._news = News()
        self._started = False

    def start(self) -> None:
        """See Pool."""
        if not self._started:
            self._started = True
            self._driver.start()

    def info(self) -> DeviceInfo:
        """See Pool."""
        self.start()
        return self._tickets.info()

    def measure(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[Measurement]:
        """See Pool."""
        return self._tickets.wait_for(self._submit(self._tickets.issue(task, configs, floor_us=floor_us)))

    def confirm(self, task: Task, config: Config, times: int = CONFIRMATIONS) -> list[Measurement]:
        """See Pool."""
        apart = self._tickets.new_set()
        items = self._tickets.issue(task, [config] * times)
        return self._tickets.wait_for(self._submit(tuple(replace(item, apart=apart) for item in items)))

    def submit(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[int]:
        """See Pool."""
        items = self._tickets.issue(task, configs, floor_us=floor_us, loose=True)
        return [item.number for item in self._submit(items)]

    def collect(self, timeout_s: float | None = None) -> list[Answer]:
        """See Pool."""
        return self._tickets.collect(timeout_s)

    def wanted(self) -> int:
        """See Pool."""
        self.start()
        return self._tickets.wanted()

    def outstanding(self) -> int:
        """See Pool."""
        return self._tickets.outstanding()

    def workers(self) -> list[WorkerStatus]:
        """See Pool."""
        return [self._state(worker) for worker in self._tickets.workers()]

    def news(self) -> list[WorkerStatus]:
        """See Pool."""
        return self._news.of(self.workers())

    def drain(self, worker: str | None = None) -> None:
        """Let a worker (all with None) finish what it has, and go."""
        self._tell(DrainAsked(worker))

    def change_toolchain(self, toolchain: str) -> None:
        """From now on only workers of this version measure; the others are restarted once, then let go."""
        self._tell(ToolchainChanged(toolchain))

    def close(self) -> None:
        """See Pool."""
        if self._started:
            self._driver.end()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        self.start()
        self._tell(Submitted(items))
        return items

    def _tell(self, event: Event) -> None:
        self._driver.put(lambda: event)

    def _state(self, worker: RosterWorker) -> WorkerStatus:
        slot = self._driver.slots[worker.name]
        return WorkerStatus(
            worker.name,
            worker.phase.value,
            worker.measured,
            worker.strikes,
            worker.reason,
            pid=slot.pid,
            calls=len(worker.leases),
            kind=self._kind,
            host=slot.host,
            toolchain=worker.toolchain,
            canaries_good=worker.canaries_good,
            canaries_bad=worker.canaries_bad,
        )
