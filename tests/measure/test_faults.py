"""Faults repeat by their seed, stay off when off, and are caught where something is there to catch them."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.device_suite import DeviceSuite
from tests.measure.fake_device import FakeDevice, NamedTask, config_of, latency_of
from tilewright.compiler_core.errors import UsageError
from tilewright.measure.device import Device, Task
from tilewright.measure.faults import RATES, FaultPlan, FaultyDevice, stretched
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config

TASK = NamedTask("a")
CONFIGS = [config_of(number) for number in range(500)]


class GentleEffects:
    """Writes down what would have happened."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.waited_s = 0.0

    def crash(self) -> None:
        self.faults.append("crash")

    def hang(self) -> None:
        self.faults.append("hang")

    def wait(self, seconds: float) -> None:
        self.waited_s += seconds


class TestFaultlessFaultyDevice(DeviceSuite):
    @pytest.fixture
    def device(self) -> Device:
        return FaultyDevice(FakeDevice(), FaultPlan(), life=0)

    @pytest.fixture
    def case(self) -> tuple[Task, Sequence[Config]]:
        return TASK, [config_of(1), config_of(2, "fail"), config_of(3)]


def measure(plan: FaultPlan, life: int = 0) -> tuple[list[Measurement], GentleEffects]:
    effects = GentleEffects()
    return FaultyDevice(FakeDevice(), plan, "w0", life, effects).measure(TASK, CONFIGS), effects


@given(
    rates=st.dictionaries(st.sampled_from(RATES), st.floats(0.0, 1.0)),
    seed=st.integers(0, 2**32),
    noise=st.floats(0.0, 0.5),
)
@settings(max_examples=20, deadline=None)
def test_the_seed_repeats_everything(rates: dict[str, float], seed: int, noise: float) -> None:
    plan = FaultPlan(seed=seed, noise=noise, **rates)
    one, one_effects = measure(plan)
    two, two_effects = measure(plan)
    assert one == two
    assert one_effects.faults == two_effects.faults


def test_nothing_on_changes_nothing() -> None:
    measured, effects = measure(FaultPlan(seed=9))
    assert measured == FakeDevice().measure(TASK, CONFIGS)
    assert effects.faults == []


@pytest.mark.parametrize("fault", ["crash_before", "crash_during", "crash_after", "hang", "lost_reply"])
def test_a_rate_is_met_and_a_restart_does_not_repeat_it(fault: str) -> None:
    measured, effects = measure(FaultPlan(seed=1, **{fault: 0.1}))
    lost = {number for number, answer in enumerate(measured) if answer.status is Status.LOST}
    assert 25 <= len(lost) <= 80
    assert len(effects.faults) == len(lost)
    again, _ = measure(FaultPlan(seed=1, **{fault: 0.1}), life=1)
    assert lost != {number for number, answer in enumerate(again) if answer.status is Status.LOST}


def test_poison_sticks_to_its_candidate() -> None:
    lists = [measure(FaultPlan(seed=1, poison=0.1), life)[0] for life in (0, 1)]
    first, second = ([answer.status is Status.LOST for answer in answers] for answers in lists)
    assert first == second
    assert any(first)


def test_noise_is_log_normal_around_the_truth() -> None:
    measured, _ = measure(FaultPlan(seed=2, noise=0.1))
    logs = [
        np.log((answer.latency_us or 0.0) / latency_of(TASK, config))
        for answer, config in zip(measured, CONFIGS, strict=True)
    ]
    assert abs(np.mean(logs)) < 0.02
    assert 0.085 < np.std(logs) < 0.115


def test_drift_throttling_and_sickness_stretch_times() -> None:
    drifting = FaultPlan(drift=0.2)
    assert drifting.stretch("w", 0) == 1.0
    assert drifting.stretch("w", 100) == pytest.approx(1.1)
    assert drifting.stretch("w", 10_000) == pytest.approx(1.2)
    throttled = [FaultPlan(seed=3, throttle=0.3).stretch("w", count) for count in range(400)]
    assert set(throttled) == {1.0, 1.5}
    changes = sum(a != b for a, b in pairwise(throttled))
    assert 1 <= changes <= 20  # spells, not single measurements
    assert FaultPlan(sickness=0.3).stretch("w", 5) == pytest.approx(0.3)


def test_pace_and_stragglers_take_wall_time_and_leave_latencies_alone() -> None:
    measured, effects = measure(FaultPlan(seed=4, pace_s=0.1, straggler=0.1, straggler_factor=5.0))
    assert measured == FakeDevice().measure(TASK, CONFIGS)
    assert 50.0 * 1.2 < effects.waited_s < 50.0 * 1.6


def test_right_outputs_at_the_wrong_time() -> None:
    measured, _ = measure(FaultPlan(seed=6, wrong_time=0.1, wrong_time_factor=4.0))
    ratios = {
        round(latency_of(TASK, config) / (answer.latency_us or 1.0), 6)
        for answer, config in zip(measured, CONFIGS, strict=True)
    }
    assert ratios == {1.0, 4.0}


def test_failures_are_not_stretched() -> None:
    lost = failure(Status.LOST, "gone")
    assert stretched(lost, 2.0) == lost
    whole = Measurement(Status.OK, latency_us=2.0, samples_us=(1.0, 2.0, 3.0), latency_cycles=2000.0)
    assert stretched(whole, 2.0) == Measurement(
        Status.OK, latency_us=4.0, samples_us=(2.0, 4.0, 6.0), latency_cycles=4000.0
    )


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_is_a_probability(rate: float) -> None:
    with pytest.raises(UsageError, match="hang"):
        FaultPlan(hang=rate)
