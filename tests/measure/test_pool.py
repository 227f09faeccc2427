"""The serial pool and the fake device pass the suites that every pool and device passes."""

from collections.abc import Sequence

import pytest

from tests.conformance.device_suite import DeviceSuite
from tests.conformance.pool_suite import PoolSuite
from tests.measure.fake_device import FakeDevice, NamedTask, config_of
from tilewright.compiler_core.errors import DeviceError
from tilewright.measure.device import Device, DeviceInfo, Task
from tilewright.measure.farm.pool import Answer, Pool, SerialPool
from tilewright.measure.farm.standby import StandbyPool
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config


class TestSerialPool(PoolSuite):
    @pytest.fixture
    def pool(self) -> Pool:
        return SerialPool(FakeDevice())


class TestStandbyPool(PoolSuite):
    @pytest.fixture
    def pool(self) -> Pool:
        return StandbyPool([lambda: SerialPool(FakeDevice())], lambda why: None)


class Absent(SerialPool):
    """A pool that never comes up."""

    def __init__(self, made: list[str]) -> None:
        super().__init__(FakeDevice())
        made.append("started")
        self._made = made

    def info(self) -> DeviceInfo:
        raise DeviceError("the node timed out")

    def measure(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[Measurement]:
        raise DeviceError("the node timed out")

    def collect(self, timeout_s: float | None = None) -> list[Answer]:
        raise DeviceError("the node timed out")

    def close(self) -> None:
        self._made.append("closed")


def test_what_does_not_come_up_is_tried_again_and_then_replaced() -> None:
    made, said = list[str](), list[str]()
    choices = [lambda: Absent(made), lambda: Absent(made), lambda: SerialPool(FakeDevice())]
    with StandbyPool(choices, said.append) as pool:
        assert pool.measure(NamedTask("a"), [config_of(1)])[0].status is Status.OK
        assert pool.info().name == "fake"
        assert pool.collect() == []
    assert made == ["started", "closed"] * 2
    assert said == ["the node timed out"]


def test_a_pool_without_any_left_says_why() -> None:
    with (
        StandbyPool([lambda: Absent([])], lambda why: None) as pool,
        pytest.raises(DeviceError, match="timed"),
    ):
        pool.measure(NamedTask("a"), [config_of(1)])


class TestFakeDevice(DeviceSuite):
    @pytest.fixture
    def device(self) -> Device:
        return FakeDevice()

    @pytest.fixture
    def case(self) -> tuple[Task, Sequence[Config]]:
        return NamedTask("a"), [config_of(1), config_of(2, "fail"), config_of(3)]
