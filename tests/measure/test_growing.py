"""A pool that begins in the process, and goes to workers where there is much to measure."""

import pytest

from tests.conformance.pool_suite import PoolSuite
from tests.measure.fake_device import FakeDevice, NamedTask, config_of
from tilewright.measure.farm.growing import GrowingPool
from tilewright.measure.farm.pool import Pool, SerialPool
from tilewright.tuner.devices import AUTO, SERIAL
from tilewright.tuner.request import PoolChoice

TASK = NamedTask("growing")


class Clock:
    """Every look at it is `step_s` later."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def grown(pools: list[Pool]) -> Pool:
    pools.append(SerialPool(FakeDevice()))
    return pools[-1]


class TestGrowingPool(PoolSuite):
    """What every pool keeps to; it grows in the middle of it."""

    @pytest.fixture
    def pool(self) -> Pool:
        return GrowingPool(SerialPool(FakeDevice()), lambda: grown([]), lambda line: None, 1.0, Clock(1.0))


@pytest.mark.parametrize(("step_s", "started"), [(0.1, 0), (1.0, 1)])
def test_workers_are_started_once_measuring_has_taken_as_long(step_s: float, started: int) -> None:
    pools, said = list[Pool](), list[str]()
    with GrowingPool(SerialPool(FakeDevice()), lambda: grown(pools), said.append, 2.0, Clock(step_s)) as pool:
        answers = [pool.measure(TASK, [config_of(number)])[0] for number in range(6)]
    assert answers == SerialPool(FakeDevice()).measure(TASK, [config_of(number) for number in range(6)])
    assert (len(pools), len(said)) == (started, started)


def test_a_run_begins_in_the_process_unless_asked_otherwise() -> None:
    assert PoolChoice().ray == AUTO != SERIAL
