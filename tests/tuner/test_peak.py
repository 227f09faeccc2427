"""`tune targets peak`: micro-kernels come near what a target file promises, and never beyond."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tilewright.api.cli.main import main
from tilewright.compiler_core.target_model.file import list_targets, load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.results import Measurement
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.knobs import Config
from tilewright.tuner.verbs.peak import measure_peaks
from tilewright.tuner.verbs.soak import soak


@pytest.mark.parametrize("name", list_targets())
def test_ratios_of_every_preset(name: str) -> None:
    target = load_target(name)
    peaks = measure_peaks(target, SimulatedDevice(target))
    found = {peak.name: peak.ratio for peak in peaks}
    assert set(found) == {"macs", "dram", "host", "launch"} | ({"llb"} if target.llb_bytes else set())
    assert all(0.5 < ratio <= 1.0001 for ratio in found.values()), found


def test_a_chip_worse_than_its_file_is_found_out() -> None:
    target = load_target("ascend310")
    truth = replace(
        target,
        dram=replace(target.dram, gbps=target.dram.gbps / 2),
        overheads=replace(target.overheads, launch_us=3 * target.overheads.launch_us),
    )
    peaks = measure_peaks(target, SimulatedDevice(target, truth=truth))
    found = {peak.name: peak.ratio for peak in peaks}
    assert found["dram"] == pytest.approx(0.5, abs=0.01)
    assert found["launch"] < 0.6
    assert found["macs"] > 0.9


class Throttled:
    """A simulated chip that slows down by 2 % with every call."""

    def __init__(self, target: Target) -> None:
        self._chip = SimulatedDevice(target)
        self._factor = 1.0

    def describe(self) -> DeviceInfo:
        return self._chip.describe()

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        self._factor *= 1.02
        answers = self._chip.measure(task, configs)
        return [replace(a, latency_us=a.latency_us and a.latency_us * self._factor) for a in answers]


def test_a_soak_finds_drift_and_lets_a_steady_chip_pass() -> None:
    target = load_target("gemmini16")
    ticks = iter(range(100))
    steady = soak(target, SimulatedDevice(target), 2.0, clock=lambda: float(next(ticks)))
    assert all(drift.steady and drift.first == drift.last for drift in steady)
    found = {drift.name: drift for drift in soak(target, Throttled(target), 0.0)}
    assert set(found) == {"macs", "llb", "dram", "host", "launch"}
    assert not any(drift.steady for drift in found.values())


def test_the_command_soaks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "peak", "gemmini16", "--soak", "0", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)["drift"]
    assert all(row["ok"] for row in found.values())


def test_the_command_prints_every_peak(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "peak", "gemmini16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["peak", "macs", "llb", "dram", "host", "launch"]
    assert main(["targets", "peak", "gemmini16", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["peaks"]["host"]["unit"] == "GB/s"
