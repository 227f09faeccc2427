"""Whole networks on this CPU: ops of the host beside kernels, and what calling small kernels costs."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.measure.host.test_device import this_core
from tests.onnx_models import model, node, reals, saved, value
from tilewright.compiler_core.checking.probe import probe_of
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.measure.checked import checked
from tilewright.measure.host import child
from tilewright.measure.host.device import HostDevice
from tilewright.measure.host.jobs import HostJob
from tilewright.measure.results import Status
from tilewright.search_space.network import network_config, numbered
from tilewright.tuner.kernel.task import KernelTask


def test_a_network_with_an_op_of_the_host_is_measured_and_checked(tmp_path: Path) -> None:
    """One output is the host's own, the other that of a kernel that reads the host's."""
    nodes = [
        node("MatMul", "x w", "h"),
        node("TopK", "h k", "best at"),
        node("Relu", "best", "y"),
    ]
    constants = {"w": reals(1, 8, 16), "k": np.array([3])}
    path = saved(model(nodes, [value("x", [4, 8])], ["y", "at"], constants), tmp_path)
    target, graph = this_core(), import_model(path).graph
    plan, network = plan_graph(graph, target), numbered(graph)
    configs = {digest: KernelTask(regions, target).default for digest, regions in plan.regions.items()}
    device = HostDevice(target)
    try:
        (measured,) = checked(device).measure(network.task, [network_config(plan, configs, network)])
    finally:
        device.close()
    assert measured.status is Status.OK, measured.reason
    assert len(plan.regions) == 2


def test_sums_that_become_integers_are_timed_at_unit_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are checked on large ones, and an exponential behind those is no ordinary number."""
    nodes = [node("MatMul", "x w", "h"), node("Sigmoid", "h", "s"), node("Cast", "s", "y", to=6)]
    path = saved(model(nodes, [value("x", [4, 8])], ["y"], {"w": reals(1, 8, 16)}), tmp_path)
    graph = import_model(path).graph
    workload = kernel_of(graph, range(len(graph.ops)), {}).workload
    sent: list[HostJob] = []
    honest = HostDevice._send_buffers

    def send(device: HostDevice, job: HostJob) -> None:
        sent.append(job)
        honest(device, job)

    monkeypatch.setattr(HostDevice, "_send_buffers", send)
    target, probe = this_core(), probe_of(workload.graph, 0, integers=False)
    device = HostDevice(target)
    try:
        measured = device.measure(workload, [KernelTask(Regions(workload), target).default] * 2)
    finally:
        device.close()
    assert [each.status for each in measured] == [Status.OK] * 2
    assert [job.task.endswith("timed") for job in sent] == [False, True, False, False, True]
    first = workload.graph.inputs[0]
    assert np.abs(probe.given[first]).max() > 16 * np.abs(probe.calm[first]).max()


class Clock:
    """A core on which calling a kernel takes 100 ns, each of its tiles 1,000, a burst 50, a look at it 90."""

    now_ns = 0

    def look(self) -> int:
        self.now_ns += 90
        return self.now_ns

    def call(self, spec: dict[str, Any]) -> Any:
        first, last = spec["tiles"]

        def run(times: int) -> None:
            self.now_ns += spec["call_ns"] + 1000 * (last - first) * times

        return run


@pytest.mark.parametrize(("kernels", "ns"), [(1, 2000.0), (3, 6000.0)])
def test_calls_from_python_are_no_part_of_a_networks_time(
    kernels: int, ns: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, runner = Clock(), child.ImageRunner()
    monkeypatch.setattr(runner, "call", clock.call)
    monkeypatch.setattr(time, "thread_time_ns", clock.look)
    calls = [{"tiles": [0, 2], "call_ns": 100}] * kernels
    burst = {"tiles": [0, 0], "call_ns": 50}
    asked = {"calls": calls, "burst": burst, "burst_rounds": 1}
    limits = {"sample_ns": 10_000_000, "least": 3, "most": 3, "budget_ns": 10**9}
    assert [pair[0] for pair in runner.measure(asked | limits)] == pytest.approx([ns] * 3, rel=1e-3)
