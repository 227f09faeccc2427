"""`tune targets peak`: micro-kernels come near what a target file promises, and never beyond."""

import json
from dataclasses import replace

import pytest

from api.cli.main import main
from compiler_core.target_file import list_targets, load_target
from measure.simulator.device import SimulatedDevice
from tuner.peak import measure_peaks


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


def test_the_command_prints_every_peak(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "peak", "gemmini16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["peak", "macs", "llb", "dram", "host", "launch"]
    assert main(["targets", "peak", "gemmini16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["peaks"]["host"]["unit"] == "GB/s"
