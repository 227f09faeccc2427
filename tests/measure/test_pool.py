"""The serial pool and the fake device pass the suites that every pool and device passes."""

from collections.abc import Sequence

import pytest

from tests.conformance.device_suite import DeviceSuite
from tests.conformance.pool_suite import PoolSuite
from tests.measure.fake_device import FakeDevice, NamedTask, config_of
from tilewright.measure.device import Device, Task
from tilewright.measure.farm.pool import Pool, SerialPool
from tilewright.search_space.knobs import Config


class TestSerialPool(PoolSuite):
    @pytest.fixture
    def pool(self) -> Pool:
        return SerialPool(FakeDevice())


class TestFakeDevice(DeviceSuite):
    @pytest.fixture
    def device(self) -> Device:
        return FakeDevice()

    @pytest.fixture
    def case(self) -> tuple[Task, Sequence[Config]]:
        return NamedTask("a"), [config_of(1), config_of(2, "fail"), config_of(3)]
