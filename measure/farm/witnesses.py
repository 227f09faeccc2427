"""A pool whose clock is checked before a time counts: a device may report a wrong time for right numbers.

A reading that would be the lowest of its task, or that is below the proven bound, is checked: the same Config
runs two times in a row, then three times, and so on. Work that is read as too short alone takes its true time
in most of these. A reading stands unless two of them agree on more than AGREE times as much; then it is read
once more, and where it says the same again, the longer reading is what the candidate takes, now and whenever
it is confirmed. No model has a say in this, and no candidate is lost: one that surprises stays the best. The
more wrong times a device has told, the more runs have to agree with a short one, and of one that tells many
every reading is checked.

Other faults come first: wrong numbers have no time to check, and a lost answer is asked for again, as it is
no evidence about the candidate. One that is lost every time is a failure of the candidate.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, inf, log

from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.farm.around import PoolAround
from tilewright.measure.farm.dispatch import above_floor
from tilewright.measure.farm.pool import CONFIRMATIONS, Answer, Pool
from tilewright.measure.repeated import Repeated
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config

AGREE = 1.5
"""Two readings within this factor agree: a spell of throttling and caches that are warm lie within it."""
FEWEST, MOST = 2, 16
"""How many repeated runs are read before a reading stands."""
RISK = 3e-4
"""The tolerated chance that a wrong time stands, at the rate of wrong times that is to be expected."""
FAILURES = 8
"""After how many repeated runs that fail a reading stands: such a device does not repeat."""
ATTEMPTS = 16
"""How often a lost answer is asked for."""
MANY = 0.03
"""Where more of the checked times than this were wrong, every reading is checked."""
_Key = tuple[str, str]


class WitnessedPool(PoolAround):
    """`pool` with its lowest readings checked; the methods keep the promises of Pool. `say` gets the first
    wrong time, and at the end their number.
    """

    def __init__(self, pool: Pool, say: Callable[[str], None] = lambda line: None) -> None:
        self._pool = pool
        self._say = say
        self._least_us: dict[str, float] = {}
        self._stands_for: dict[_Key, Task] = {}
        self._witnesses: dict[_Key, int] = {}
        self._asked: dict[int, tuple[Task, Config, float]] = {}
        self._heard = 0
        self._wrong = 0

    def info(self) -> DeviceInfo:
        """See Pool. A checked pool is not deterministic."""
        return replace(self._pool.info(), deterministic=False)

    def measure(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[Measurement]:
        """See Pool."""
        readings = self._pool.measure(task, configs)
        return [self._judged(task, *pair, floor_us) for pair in zip(configs, readings, strict=True)]

    def confirm(self, task: Task, config: Config, times: int = CONFIRMATIONS) -> list[Measurement]:
        """See Pool. Confirms a Config after checking it."""
        key = task.digest, config.digest
        if key not in self._stands_for and self._witnesses.get(key, 0) < self._needed:
            (reading,) = self._pool.confirm(task, config, 1)
            self._checked(task, config, self._answered(task, config, reading), impossible=False)
        run = self._stands_for.get(key, task)
        return [self._answered(run, config, each) for each in self._pool.confirm(run, config, times)]

    def submit(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[int]:
        """See Pool."""
        tickets = self._pool.submit(task, configs)
        self._asked |= {ticket: (task, each, floor_us) for ticket, each in zip(tickets, configs, strict=True)}
        return tickets

    def collect(self, timeout_s: float | None = None) -> list[Answer]:
        """See Pool."""
        answers = []
        for answer in self._pool.collect(timeout_s):
            task, config, floor_us = self._asked.pop(answer.ticket)
            judged = self._judged(task, config, answer.measurement, floor_us)
            answers.append(Answer(answer.ticket, judged))
        return answers

    def close(self) -> None:
        """See Pool."""
        if self._wrong > 1:
            self._say(f"{self._wrong} of {self._heard} times that were checked were too short")
        self._wrong = 0
        super().close()

    @property
    def _needed(self) -> int:
        """The number of repeated runs before a reading stands, by Laplace's rule of succession."""
        share = (self._wrong + 1.0) / (self._heard + 2.0)
        return min(MOST, max(FEWEST, ceil(log(RISK) / log(share)))) if share < 1.0 else MOST

    def _answered(self, task: Task, config: Config, reading: Measurement) -> Measurement:
        """`reading`, or one that is not lost; FAILED where every attempt is."""
        attempts = 1
        while reading.status is Status.LOST and attempts < ATTEMPTS:
            (reading,) = self._pool.measure(task, [config])
            attempts += 1
        if reading.status is not Status.LOST:
            return reading
        return failure(Status.FAILED, f"lost in {attempts} attempts: {reading.reason}", reading.worker)

    def _judged(self, task: Task, config: Config, reading: Measurement, floor_us: float) -> Measurement:
        """A reading as it counts: checked where it would be the lowest of its task, or is impossible.

        Of a device that tells wrong times every reading is checked: the search learns from all.
        """
        reading = self._answered(task, config, reading)
        if reading.latency_us is None:
            return reading
        least_us = self._least_us.get(task.digest, inf)
        impossible = above_floor(reading, floor_us).status is Status.WRONG
        if impossible or reading.latency_us < least_us or self._wrong > MANY * self._heard:
            reading = above_floor(self._checked(task, config, reading, impossible), floor_us)
        if reading.latency_us is not None:
            self._least_us[task.digest] = min(reading.latency_us, least_us)
        return reading

    def _checked(self, task: Task, config: Config, reading: Measurement, impossible: bool) -> Measurement:
        """`reading`, or what two repeated runs agree on where that is longer."""
        if reading.latency_us is None:
            return reading
        key = task.digest, config.digest
        longer: list[tuple[Repeated, Measurement]] = []
        read = failed = 0
        while read < (MOST if longer or impossible else self._needed) and failed < FAILURES:
            run = Repeated(task, read + failed + 2)
            (heard,) = self._pool.measure(run, [config])
            heard = self._answered(run, config, heard)
            if heard.status is Status.WRONG:
                return heard
            if heard.latency_us is None:
                failed += 1
                continue
            read += 1
            if _exceeds(heard, reading):
                agreeing = [each for each in longer if _agree(each[1], heard)]
                longer.append((run, heard))
                if agreeing:
                    return self._contradicted(key, config, reading, agreeing[0])
        self._heard += not impossible
        self._witnesses[key] = read
        return reading

    def _contradicted(
        self, key: _Key, config: Config, reading: Measurement, witness: tuple[Repeated, Measurement]
    ) -> Measurement:
        """The time of a Config whose reading is much shorter than that of two repeated runs."""
        run, longer = witness
        (again,) = self._pool.confirm(run.task, config, 1)
        again = self._answered(run.task, config, again)
        if again.latency_us is not None and not _exceeds(longer, again):
            return again  # the first reading was an outlier, or this is a slow spell
        self._heard += 1
        self._wrong += 1
        self._stands_for[key] = run
        why = (
            f"read as {reading.latency_us:.4g} us; {run.times} runs in a row take {longer.latency_us:.4g} us"
            " each, as do more"
        )
        if self._wrong == 1:
            self._say(f"the clock is checked more closely: config {config.digest[:12]} was {why}")
        return replace(longer, reason=why)


def _exceeds(longer: Measurement, reading: Measurement) -> bool:
    """Whether a reading is longer than another by more than agreeing readings are."""
    if longer.latency_us is None or reading.latency_us is None:
        return False
    return longer.latency_us > AGREE * reading.latency_us


def _agree(one: Measurement, other: Measurement) -> bool:
    return not _exceeds(one, other) and not _exceeds(other, one)
