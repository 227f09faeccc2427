"""Candidates of which most crash, hang or lie: each trial ends in its status, and a search goes on.

CANDIDATES in the environment says how many (`make host-campaign` takes 1,000).
"""

import os

import numpy as np
import pytest

from tests.measure.host.test_device import BEYOND, CRASHES, DOES_NOTHING, HANGS, broken, product, this_core
from tilewright.compiler_core.checking.probe import Probe
from tilewright.compiler_core.codegen.machine.image import Image
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.measure.farm.pool import SerialPool
from tilewright.measure.host import device as module
from tilewright.measure.host.device import HostDevice
from tilewright.measure.host.jobs import HostJob
from tilewright.measure.results import Status
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.search import KernelSearch, search_kernel
from tilewright.tuner.kernel.stopping import StopRule
from tilewright.tuner.kernel.task import KernelTask

CANDIDATES = int(os.environ.get("CANDIDATES", "12"))
LEAVES_GARBAGE = """  %q = getelementptr ptr, ptr %o, i64 2
  %p = load ptr, ptr %q, align 8
  store volatile float 0x7FF0000000000000, ptr %p, align 4
  ret void
"""
TRAPS = "  call void @llvm.trap()\n  unreachable\n"
FAULTS = {
    CRASHES: Status.FAILED,
    HANGS: Status.TIMEOUT,
    DOES_NOTHING: Status.WRONG,
    BEYOND: Status.FAILED,
    LEAVES_GARBAGE: Status.WRONG,
    TRAPS: Status.FAILED,
}


class FaultyImages:
    """Stands in for the images of a device: every second is broken, in each way in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.expected: list[Status] = []
        honest = HostDevice._image_of
        images = [(broken(body), status) for body, status in FAULTS.items()]

        def image_of(device: HostDevice, nest: KernelNest) -> Image:
            turn, is_broken = divmod(len(self.expected), 2)
            image, status = images[turn % len(images)] if is_broken else (honest(device, nest), Status.OK)
            self.expected.append(status)
            return image

        monkeypatch.setattr(module, "RUN_DEADLINE_S", 5.0)
        monkeypatch.setattr(HostDevice, "_image_of", image_of)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> FaultyImages:
    return FaultyImages(monkeypatch)


def test_no_trial_is_lost(faulty: FaultyImages) -> None:
    task = KernelTask(Regions(product()), this_core())
    rows = sample(task.space, CANDIDATES, np.random.default_rng(0), attempts=64)
    configs = [task.space.decode(rows[index % len(rows)]) for index in range(CANDIDATES)]
    device = HostDevice(task.target, budget_ns=2_000_000)
    try:
        measured = [device.measure(product(), [config])[0] for config in configs]
    finally:
        device.close()
    pairs = zip(measured, faulty.expected, configs, strict=True)
    assert not [(each, status, config) for each, status, config in pairs if each.status is not status]
    assert len(measured) == CANDIDATES
    assert all(each.reason or each.status is Status.OK for each in measured)


def test_a_search_outlives_them(faulty: FaultyImages) -> None:
    task = KernelTask(Regions(product()), this_core())
    device = HostDevice(task.target, budget_ns=2_000_000)
    try:
        found = search_kernel(
            KernelSearch(task.problem((task.default,)), "faults"), SerialPool(device), StopRule(12)
        )
    finally:
        device.close()
    assert [trial.measurement.status for trial in found.trials] == faulty.expected


def test_a_kernel_that_is_right_only_once_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts its runs in the scratch memory, and spoils its output from the second on."""
    spoils = """  %n = load volatile i32, ptr %s, align 4
  %m = add i32 %n, 1
  store volatile i32 %m, ptr %s, align 4
  %again = icmp sgt i32 %n, 0
  br i1 %again, label %bad, label %good
bad:
  %q = getelementptr ptr, ptr %o, i64 2
  %p = load ptr, ptr %q, align 8
  store volatile float 0x7FF0000000000000, ptr %p, align 4
  br label %good
good:
  ret void
"""
    target, workload = this_core(), product()
    device = HostDevice(target)
    monkeypatch.setattr(HostDevice, "_image_of", lambda self, nest: broken(spoils))
    monkeypatch.setattr(Probe, "objection", lambda self, value, got: "wrong" if got.max() > 1e30 else "")
    monkeypatch.setattr(HostDevice, "_computed", _zeroed)
    try:
        (measured,) = device.measure(workload, [KernelTask(Regions(workload), target).default])
    finally:
        device.close()
    assert measured.status is Status.WRONG
    assert "run again" in measured.reason


def _zeroed(self: HostDevice, job: HostJob, calls: object, shapes: object) -> dict[int, Array]:
    for name in job.outputs:
        self._ask({"what": "fill", "name": name, "byte": 0})
    self._ask({"what": "run", "calls": calls})
    return self._outputs(job, shapes)  # type: ignore[arg-type]
