"""Devices of the user's own: loaded by name, held to the Device suite, tuned on."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulator.scalesim import product
from tests.conformance.device_suite import DeviceSuite
from tests.onnx_models import saved, small_cnn
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.db.repository import Repository
from tilewright.db.retire import hide_stale
from tilewright.db.storage.session import open_database
from tilewright.measure.device import Device, Task
from tilewright.search_space.knobs import Config
from tilewright.search_space.moves import sample
from tilewright.tuner.devices import load_device, own_device
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.verbs.report import report_on
from tilewright.tuner.verbs.tune import tune
from tilewright.tuner.verbs.verify import verify

EXAMPLE = "examples.own_device:open_board"
T1 = {
    "ConfigurationSpace": {
        "TuningParameters": [
            {"Name": "tile", "Values": "[1, 2, 4, 8, 16, 32]"},
            {"Name": "unroll", "Values": "[1, 2, 4]"},
        ],
        "Conditions": [{"Expression": "tile % unroll == 0", "Parameters": ["tile", "unroll"]}],
    }
}


def _table() -> dict[str, object]:
    return {
        "metadata": {"timeunit": "milliseconds"},
        "results": [
            {
                "configuration": {"tile": tile, "unroll": unroll},
                "invalidity": "correct",
                "correctness": 1,
                "objectives": ["time"],
                "measurements": [{"name": "time", "value": 1 + abs(tile - 8) + unroll, "unit": "ms"}],
            }
            for tile in (1, 2, 4, 8, 16, 32)
            for unroll in (1, 2, 4)
            if tile % unroll == 0
        ],
    }


class TestExample(DeviceSuite):
    @pytest.fixture
    def device(self) -> Device:
        return load_device(EXAMPLE)

    @pytest.fixture
    def case(self) -> tuple[Task, Sequence[Config]]:
        task = KernelTask(Regions(kernel_of(product(64, 64, 64), [0], {}).workload), load_target("ascend310"))
        rows = sample(task.space, 4, np.random.default_rng(0))
        return task.workload, [task.space.decode(row) for row in rows]


def test_the_example_is_short() -> None:
    text = (Path(__file__).parents[2] / "examples" / "own_device.py").read_text()
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("board", "not MODULE:FACTORY"),
        ("no_such_module_here:make", "No module named"),
        ("json:open_board", "has no 'open_board'"),
        ("json:__name__", "no function"),
        ("builtins:dict", "lacks describe"),
    ],
)
def test_what_is_no_device_is_refused(reference: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        load_device(reference)


def test_what_a_device_raises_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unplugged.py").write_text(
        """
from examples.own_device import open_board

class Board:
    def __init__(self):
        self.describe = open_board().describe

    def measure(self, task, configs):
        raise OSError("usb gone")

def broken():
    raise RuntimeError("no board on the bus")
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = saved(small_cnn(), tmp_path)
    asked = ["run", str(model), "--target", "ascend310", "--trials", "4", "--db", str(tmp_path / "t.db")]
    assert main([*asked, "--device", "unplugged:broken"]) == 2
    assert "raised RuntimeError: no board on the bus" in capsys.readouterr().err
    assert main([*asked, "--device", "unplugged:Board"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "usb gone" in told


def test_a_device_for_another_target_is_refused() -> None:
    with pytest.raises(UsageError, match="this run is for"):
        own_device(EXAMPLE, load_target("gemmini16").digest)


def test_a_space_is_tuned_against_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "T1.json").write_text(json.dumps(T1))
    (tmp_path / "T4.json.gz").write_bytes(gzip.compress(json.dumps(_table()).encode()))
    asked = ["space", str(tmp_path / "T1.json"), "--replay", str(tmp_path / "T4.json.gz"), "--json", "-"]
    assert main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["best"] == {"tile": 8, "unroll": 1}
    assert found["best_us"] == 2000.0
    assert found["ratio"] == 1.0
    assert found["trials"] == 15
    assert main([*asked, "--trials", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 3


def test_a_space_wants_one_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "T1.json").write_text(json.dumps(T1))
    assert main(["space", str(tmp_path / "T1.json")]) == 2
    assert "either --replay" in capsys.readouterr().err


def test_a_network_is_tuned_on_the_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(small_cnn(), tmp_path)
    options = ["--target", "ascend310", "--device", EXAMPLE, "--trials", "24", "--json", "-"]
    assert main(["run", str(model), *options, "--db", str(tmp_path / "own.db")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tuned"]["latency_us"] <= report["default"]["latency_us"]


def test_two_devices_of_one_target_answer_each_for_itself(tmp_path: Path) -> None:
    """The board and the simulator share a target file; their records share nothing."""
    model, database = saved(small_cnn(), tmp_path), tmp_path / "both.db"

    def trials(device: str | None) -> int:
        return tune(model, "ascend310", trials=24, device=device, ray="none", database=database).trials

    assert [trials(EXAMPLE), trials(None)] == [24, 24], "the second is not answered by the first"
    assert [trials(EXAMPLE), trials(None)] == [0, 0]
    for toolchain, protocol in (("board-sdk-1.0", "median of 3"), (TOOLCHAIN, "one reading")):
        opened = open_database(database, read_only=True)
        rows = [row.asked for row in Repository(opened).runs() if row.asked.toolchain == toolchain]
        opened.close()
        assert [row.protocol for row in rows] == [protocol]
        files = ["-o", str(tmp_path / "program.json"), "--db", str(database)]
        asked = ["compile", str(model), "--target", "ascend310", "--require", "verified", *files]
        assert main([*asked, "--toolchain", toolchain]) == 0
        told = report_on(model, "ascend310", database=database, toolchain=toolchain)
        assert told.run is not None
        assert told.run.asked.toolchain == toolchain
        assert verify(model, "ascend310", database=database, toolchain=toolchain).ok
    assert report_on(model, "ascend310", database=database).result["tuned"]["latency_us"] is not None
    assert main([*asked, "--toolchain", "of nobody"]) == 3
    with pytest.raises(UsageError, match="no record of toolchain 'of nobody' answers for this network"):
        verify(model, "ascend310", database=database, toolchain="of nobody")
    opened = open_database(database)
    assert hide_stale(opened, TOOLCHAIN) == [], "no simulator answers for a board"
    opened.close()
