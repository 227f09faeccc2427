"""What every Device keeps to. A new one subclasses DeviceSuite and says which device, task and configs."""

from collections.abc import Sequence

import pytest

from tilewright.measure.device import Device, Task
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Config


class DeviceSuite:
    """Override `device` and `case`; `case` is a task and at least three different configs of its space."""

    @pytest.fixture
    def device(self) -> Device:
        raise NotImplementedError

    @pytest.fixture
    def case(self) -> tuple[Task, Sequence[Config]]:
        raise NotImplementedError

    def test_describes_itself_always_alike(self, device: Device) -> None:
        info = device.describe()
        assert info == device.describe()
        assert info.name
        assert info.toolchain
        assert len(info.target_digest) == 64

    def test_answers_every_config_in_order(self, device: Device, case: tuple[Task, Sequence[Config]]) -> None:
        task, configs = case
        together = device.measure(task, configs)
        assert len(together) == len(configs)
        if device.describe().deterministic:
            assert together == [device.measure(task, [config])[0] for config in configs]

    def test_no_configs_no_answers(self, device: Device, case: tuple[Task, Sequence[Config]]) -> None:
        assert device.measure(case[0], []) == []

    def test_repeats_itself_when_it_says_so(
        self, device: Device, case: tuple[Task, Sequence[Config]]
    ) -> None:
        task, configs = case
        if device.describe().deterministic:
            backwards = device.measure(task, list(configs)[::-1])
            assert backwards[::-1] == device.measure(task, configs)

    def test_a_failure_carries_its_reason(self, device: Device, case: tuple[Task, Sequence[Config]]) -> None:
        for measurement in device.measure(*case):
            assert (measurement.status is Status.OK) == (measurement.latency_us is not None)
            assert measurement.status is Status.OK or measurement.reason

    def test_something_can_be_measured(self, device: Device, case: tuple[Task, Sequence[Config]]) -> None:
        assert any(measurement.status is Status.OK for measurement in device.measure(*case))
