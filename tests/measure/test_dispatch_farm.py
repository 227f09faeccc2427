"""The dispatcher on whole farms in virtual time, every fault on. `troubled_farm(seed)` replays a failure."""

from dataclasses import replace

import pytest

from benchmarks.farm.virtual import troubled_farm
from tests.measure.fake_device import NamedTask, config_of
from tilewright.measure.farm.messages import Canary, Rules
from tilewright.measure.farm.virtual_farm import VirtualFarm
from tilewright.measure.farm.virtual_workers import CANARY_US, Costs, Sickness
from tilewright.measure.faults import FaultPlan
from tilewright.measure.results import Status

CANARIES = (Canary(NamedTask("canary"), config_of(0), CANARY_US),)


@pytest.mark.parametrize("start", range(0, 500, 50))
def test_promises_hold_whatever_happens(start: int) -> None:
    for seed in range(start, start + 50):
        report = troubled_farm(seed).run()
        assert not report.violations, f"seed {seed}: {report.violations}"


def test_a_seed_replays_exactly() -> None:
    for seed in (3, 17, 91):
        assert troubled_farm(seed).run() == troubled_farm(seed).run()


@pytest.mark.parametrize("factor", [0.3, 3.0])
@pytest.mark.parametrize("after", [0, 50])
def test_one_sick_worker_in_eight_is_quarantined_within_20_measurements(factor: float, after: int) -> None:
    for seed in range(20):
        plan = FaultPlan(seed=seed, pace_s=0.1, noise=0.01)
        sick = {"w3": Sickness(factor, after)}
        farm = VirtualFarm(Rules(canaries=CANARIES), 8, 1200, plan, sick=sick)
        report = farm.run()
        assert report.quarantined == ("w3",), seed
        assert report.measured_until_quarantine["w3"] <= 20
        assert report.best_latency_us == pytest.approx(farm.candidates.truth_us.min(), rel=0.1)
        assert not report.violations


def test_healthy_workers_are_never_quarantined_by_noise_within_tolerance() -> None:
    for seed in range(10):
        plan = FaultPlan(seed=seed, pace_s=0.01, noise=0.03)
        report = VirtualFarm(Rules(canaries=CANARIES), 8, 1000, plan).run()
        assert report.quarantined == ()


def test_batch_mode_gives_the_same_list_for_any_farm() -> None:
    quiet = FaultPlan(seed=5, pace_s=0.02)
    stormy = replace(
        quiet, crash_before=0.01, crash_after=0.01, hang=0.003, lost_reply=0.003, double_reply=0.1
    )
    # The budget and the seed fix the truth; farms of several sizes and fates have to find the same.
    lists = []
    for workers, plan in ((1, quiet), (2, quiet), (8, quiet), (8, stormy), (2, stormy)):
        farm = VirtualFarm(Rules(), workers, 200, plan, batch=16)
        farm.candidates.truth_us[:] = range(50, 250)
        assert farm.run().ok == 200
        lists.append([(farm.results[n].status, farm.results[n].latency_us) for n in range(200)])
    assert all(other == lists[0] for other in lists)


def test_all_poison_still_ends() -> None:
    farm = VirtualFarm(Rules(), 4, 30, FaultPlan(pace_s=0.01, poison=1.0))
    report = farm.run()
    assert report.finished == 30
    assert {m.status for m in farm.results.values()} <= {Status.FAILED, Status.LOST}


def test_a_farm_that_cannot_start_says_so() -> None:
    farm = VirtualFarm(Rules(), 3, 10, FaultPlan(pace_s=0.01, failed_start=1.0))
    farm.run()
    assert farm.halted
    assert {m.status for m in farm.results.values()} <= {Status.LOST}


def test_the_simulation_sees_what_blind_canaries_let_through() -> None:
    blind = (replace(CANARIES[0], tolerance=10.0),)
    plan = FaultPlan(seed=1, pace_s=0.1)
    report = VirtualFarm(Rules(canaries=blind), 4, 200, plan, sick={"w0": Sickness(0.3, 10)}).run()
    assert any("published from sick worker w0" in violation for violation in report.violations)


def test_a_slow_driver_shows_as_the_bottleneck() -> None:
    plan = FaultPlan(seed=1, pace_s=0.1)
    quick = VirtualFarm(Rules(), 50, 2000, plan).run()
    slow = VirtualFarm(Rules(), 50, 2000, plan, Costs(event_s=0.01)).run()
    assert slow.driver_busy > 0.9 > quick.driver_busy
    assert slow.efficiency < 0.5 < quick.efficiency
