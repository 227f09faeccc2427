"""A pool with others in reserve: where one cannot measure any more, the next takes its place for good."""

from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from tilewright.compiler_core.errors import DeviceError
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.farm.around import PoolAround
from tilewright.measure.farm.pool import CONFIRMATIONS, Answer, Pool
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config

T = TypeVar("T")


class StandbyPool(PoolAround):
    """See Pool. `choices` make pools of devices that answer alike, the preferred one first.

    The others come up when they are needed: a call that one pool cannot answer goes to the next, unless
    submissions are out. `say` gets the reason when the last one is taken.
    """

    def __init__(self, choices: Sequence[Callable[[], Pool]], say: Callable[[str], None]) -> None:
        first, *self._reserve = choices
        self._pool = first()
        self._say = say

    def info(self) -> DeviceInfo:
        """See Pool."""
        return self._ask(lambda pool: pool.info())

    def measure(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[Measurement]:
        """See Pool."""
        return self._ask(lambda pool: pool.measure(task, configs, floor_us=floor_us))

    def confirm(self, task: Task, config: Config, times: int = CONFIRMATIONS) -> list[Measurement]:
        """See Pool."""
        return self._ask(lambda pool: pool.confirm(task, config, times))

    def submit(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[int]:
        """See Pool."""
        return self._ask(lambda pool: pool.submit(task, configs, floor_us=floor_us))

    def collect(self, timeout_s: float | None = None) -> list[Answer]:
        """See Pool."""
        return self._ask(lambda pool: pool.collect(timeout_s))

    def __enter__(self) -> Self:
        self.start()
        return self

    def _ask(self, question: Callable[[Pool], T]) -> T:
        while True:
            try:
                return question(self._pool)
            except DeviceError as error:
                if not self._reserve or self._pool.outstanding():
                    raise
                self._take_next(str(error))

    def _take_next(self, reason: str) -> None:
        self._pool.close()
        self._pool = self._reserve.pop(0)()
        if not self._reserve:
            self._say(reason)
        self._pool.start()
