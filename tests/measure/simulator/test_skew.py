"""Skewed chips are slower where numbers were assumed, and alike everywhere else."""

import pytest

from tests.measure.simulator.test_by_hand import lowered, plain_chip, relu
from tilewright.compiler_core.target_model.file import list_targets, load_target
from tilewright.compiler_core.target_model.target import numbers_of
from tilewright.measure.simulator.kernel import simulate_kernel
from tilewright.measure.simulator.skew import skewed, skewed_conflicts
from tilewright.measure.simulator.tables.flatten import Conflicts

SHRINKING = ("gbps", "bytes_per_cycle", "outstanding", "bits", "frequency_mhz")


@pytest.mark.parametrize("name", list_targets())
def test_only_assumed_numbers_move_and_only_for_the_worse(name: str) -> None:
    target = load_target(name)
    before, after = dict(numbers_of(target)), dict(numbers_of(skewed(target, 7)))
    assert before.keys() == after.keys()
    moved = [path for path in before if before[path] != after[path]]
    assert moved
    for path in moved:
        assert any(path == listed or path.startswith(f"{listed}.") for listed in target.assumed)
        old, new = before[path], after[path]
        assert isinstance(old, int | float)
        assert isinstance(new, int | float)
        assert new < old if path.endswith(SHRINKING) else new > old


def test_a_seed_is_a_chip() -> None:
    target = load_target("ascend910")
    assert skewed(target, 1) == skewed(target, 1)
    assert skewed(target, 1).digest != skewed(target, 2).digest
    assert skewed_conflicts(1) == skewed_conflicts(1)


def test_rows_a_period_apart_take_longer() -> None:
    """Rows of 12800 bytes are 50 periods of 256 apart, and no whole number of 768."""
    target = plain_chip()
    program = lowered(relu(1), target, slots=1)
    plain = simulate_kernel(program, target).cycles
    assert simulate_kernel(program, target, conflicts=Conflicts(256, 50)).cycles == plain * 3 // 2
    assert simulate_kernel(program, target, conflicts=Conflicts(768, 50)).cycles == plain
