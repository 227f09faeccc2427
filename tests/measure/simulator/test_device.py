"""The simulator as a Device."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.conformance.device_suite import DeviceSuite
from tests.measure.simulator.test_scalesim import product
from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.device import Device, Task
from tilewright.measure.results import Status
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.measure.simulator.skew import skewed, skewed_conflicts
from tilewright.search_space.knobs import Config
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space


def space_and_configs(target: Target, count: int) -> tuple[Task, list[Config]]:
    regions = Regions(kernel_of(product(256, 384, 512), [0], {}).workload)
    space = kernel_space(KnobLayout(regions, target))
    rows = sample(space, count, np.random.default_rng(0))
    return regions.workload, [space.decode(row) for row in rows]


class TestSimulatedDevice(DeviceSuite):
    @pytest.fixture
    def device(self) -> Device:
        return SimulatedDevice(load_target("ascend910"))

    @pytest.fixture
    def case(self) -> tuple[Task, Sequence[Config]]:
        return space_and_configs(load_target("ascend910"), 6)


def test_an_illegal_config_is_a_value_with_its_reason() -> None:
    target = load_target("ascend910")
    task, configs = space_and_configs(target, 1)
    too_many = Config(tuple((k, 4096 if k == "cores" else v) for k, v in configs[0]))
    measurement = SimulatedDevice(target).measure(task, [too_many])[0]
    assert measurement.status is Status.INVALID
    assert "4096 cores" in measurement.reason


def test_only_kernels_are_measured_by_config() -> None:
    class Other:
        digest = "0" * 64

    with pytest.raises(DeviceError, match="not of a Other"):
        SimulatedDevice(load_target("ascend910")).measure(Other(), [])


def test_a_skewed_chip_answers_under_the_nominal_name_and_is_slower() -> None:
    target = load_target("ascend910")
    nominal = SimulatedDevice(target)
    chip = SimulatedDevice(target, truth=skewed(target, 3), conflicts=skewed_conflicts(3))
    assert chip.describe().target_digest == nominal.describe().target_digest
    task, configs = space_and_configs(target, 8)
    for fast, slow in zip(nominal.measure(task, configs), chip.measure(task, configs), strict=True):
        assert fast.latency_us is not None
        assert slow.latency_us is not None
        assert slow.latency_us > fast.latency_us
