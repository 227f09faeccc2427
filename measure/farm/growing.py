"""A pool that begins in this process and grows: workers are started once the measuring has taken as long as
their start would. A run of short measurements ends before that, and a long one loses little.
"""

import time
from collections.abc import Callable, Sequence

from tilewright.measure.device import Task
from tilewright.measure.farm.around import PoolAround
from tilewright.measure.farm.pool import Pool
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config

START_S = 5.0
"""Processor time, of all its processes, that a local Ray with two workers takes to start: 4.7 s measured."""


class GrowingPool(PoolAround):
    """See Pool. `here` measures until that has taken `start_s` of this thread's processor time, then the pool
    that `elsewhere` makes, whose devices have to answer alike. `say` gets a line when it does.
    """

    def __init__(
        self,
        here: Pool,
        elsewhere: Callable[[], Pool],
        say: Callable[[str], None],
        start_s: float = START_S,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._pool = here
        self._elsewhere: Callable[[], Pool] | None = elsewhere
        self._say = say
        self._left_s = start_s
        self._clock = clock

    def measure(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[Measurement]:
        """See Pool."""
        self._grow()
        began_s = self._clock()
        answers = self._pool.measure(task, configs, floor_us=floor_us)
        self._left_s -= self._clock() - began_s
        return answers

    def submit(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[int]:
        """See Pool."""
        self._grow()
        began_s = self._clock()
        tickets = self._pool.submit(task, configs, floor_us=floor_us)
        self._left_s -= self._clock() - began_s
        return tickets

    def _grow(self) -> None:
        if self._elsewhere is None or self._left_s > 0.0 or self._pool.outstanding():
            return
        self._say("on workers of a local Ray from here on, as there is much to measure")
        self._pool.close()
        self._pool, self._elsewhere = self._elsewhere(), None
        self._pool.start()
