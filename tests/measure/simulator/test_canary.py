"""The canary of a simulated chip: answered by every preset alike, failed by a chip with other numbers."""

import pytest

from tilewright.compiler_core.target_model.file import list_targets, load_target, target_text
from tilewright.measure.simulator.canary import simulated_canaries, warmed_device
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.measure.simulator.skew import skewed
from tilewright.measure.simulator.worker import task_from_text, task_to_text


@pytest.mark.parametrize("name", list_targets())
def test_every_preset_has_one_and_passes_it(name: str) -> None:
    (canary,) = simulated_canaries(target_text(name))
    travelled = task_from_text(task_to_text(canary.task))
    (measured,) = warmed_device(target_text(name)).measure(travelled, [canary.config])
    assert measured.latency_us == canary.latency_us
    assert canary.passes(measured)


def test_a_chip_that_is_slower_than_its_file_says_fails_it() -> None:
    target = load_target("ascend910")
    (canary,) = simulated_canaries(target_text("ascend910"))
    (measured,) = SimulatedDevice(target, truth=skewed(target, 1)).measure(canary.task, [canary.config])
    assert not canary.passes(measured)
