"""The common part of pools around another pool: it passes on all calls that a pool does not change."""

from types import TracebackType
from typing import Self

from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.farm.pool import CONFIRMATIONS, Answer, Pool, WorkerStatus
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config


class PoolAround:
    """See Pool. The part that `_pool` answers unchanged."""

    _pool: Pool

    def start(self) -> None:
        """See Pool."""
        self._pool.start()

    def wanted(self) -> int:
        """See Pool."""
        return self._pool.wanted()

    def outstanding(self) -> int:
        """See Pool."""
        return self._pool.outstanding()

    def workers(self) -> list[WorkerStatus]:
        """See Pool."""
        return self._pool.workers()

    def news(self) -> list[WorkerStatus]:
        """See Pool."""
        return self._pool.news()

    def info(self) -> DeviceInfo:
        """See Pool."""
        return self._pool.info()

    def confirm(self, task: Task, config: Config, times: int = CONFIRMATIONS) -> list[Measurement]:
        """See Pool."""
        return self._pool.confirm(task, config, times)

    def collect(self, timeout_s: float | None = None) -> list[Answer]:
        """See Pool."""
        return self._pool.collect(timeout_s)

    def close(self) -> None:
        """See Pool."""
        self._pool.close()

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
