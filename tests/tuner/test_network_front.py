"""The front of a network, from `tune run` to its report: measured whole, recorded, drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.onnx_models import saved, small_cnn
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.tuner.kernel.front import front_of
from tilewright.tuner.verbs.report import report_on
from tilewright.tuner.verbs.tune import tune, tune_range

TARGET, TRIALS = "ascend310", 96
OBJECTIVES = "latency,energy,peak_bytes"
FIGURES = ("latency_us", "energy_uj", "peak_bytes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, tuned by the command line: answer.json, front.svg and tuning.db beside it."""
    made = tmp_path_factory.mktemp("front")
    model = saved(small_cnn(), made)
    asked = ["run", str(model), "--target", TARGET, "--trials", str(TRIALS), "--ray", "none"]
    files = ["--db", str(made / "tuning.db"), "--json", str(made / "answer.json")]
    assert main([*asked, "--objective", OBJECTIVES, *files, "--svg", str(made / "front.svg")]) == 0
    return made


@pytest.fixture
def answer(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    return found


def test_no_program_of_the_front_is_beaten(answer: dict[str, Any]) -> None:
    assert answer["objective"] == "latency,energy,memory"
    assert answer["trials"] == TRIALS
    values = np.array([[point[key] for key in FIGURES] for point in answer["front"]])
    assert len(front_of(values)) == len(values) > 1, "here the fastest is not the most frugal"
    default = [answer["default"][key] for key in FIGURES]
    assert (values <= default).all(axis=1).any()
    assert answer["tuned"]["latency_us"] == values[:, 0].min()
    assert all(len(point["config"]["groups"].split("|")) == point["kernels"] for point in answer["front"])


def test_the_picture_has_a_dot_a_program(folder: Path, answer: dict[str, Any]) -> None:
    picture = (folder / "front.svg").read_text()
    assert picture.startswith("<svg")
    assert picture.count("<circle") == len(answer["front"])


def test_the_report_of_the_run_tells_the_same_front(folder: Path, answer: dict[str, Any]) -> None:
    database = folder / "tuning.db"
    told = report_on(folder / "model.onnx", TARGET, database=database)
    assert told.result["front"] == answer["front"]
    opened = open_database(database, read_only=True)
    uid = Repository(opened).runs(1)[0].uid
    opened.close()
    page = folder / "report.html"
    assert main(["report", uid, "-o", str(page), "--db", str(database)]) == 0
    assert '<figure id="front">' in page.read_text()


def test_the_same_question_is_answered_from_the_database(folder: Path, answer: dict[str, Any]) -> None:
    model, database = folder / "model.onnx", folder / "tuning.db"
    again = tune(model, TARGET, trials=TRIALS, objective=OBJECTIVES, database=database, ray="203.0.113.1:1")
    assert (again.stop_reason, again.trials) == ("database", 0)
    assert [point.to_json() for point in again.front] == answer["front"]
    single = tune(model, TARGET, trials=TRIALS, database=database, ray="none")
    assert single.trials == TRIALS, "a front of as many trials is no answer to one objective"
    assert single.front == ()
    assert single.tuned.latency_us <= answer["tuned"]["latency_us"]


def test_a_killed_run_ends_with_the_same_front(folder: Path, answer: dict[str, Any], tmp_path: Path) -> None:
    model, database = folder / "model.onnx", tmp_path / "tuning.db"
    measured = 0

    def die(event: object) -> None:
        nonlocal measured
        measured += type(event).__name__ == "Measured"
        if measured == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(model, TARGET, trials=TRIALS, objective=OBJECTIVES, database=database, ray="none", on_event=die)
    resumed = tune(model, TARGET, trials=TRIALS, objective=OBJECTIVES, database=database, ray="none")
    assert [point.to_json() for point in resumed.front] == answer["front"]


def test_what_has_no_front_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    model, database = folder / "model.onnx", tmp_path / "tuning.db"
    with pytest.raises(UsageError, match="needs measurements"):
        tune(model, TARGET, level=1, objective=OBJECTIVES, database=database)
    with pytest.raises(UsageError, match="asks for a front"):
        tune_range(model, TARGET, "n", 1, 2, objective=OBJECTIVES, database=database)
    asked = ["run", str(model), "--target", TARGET, "--db", str(database), "--svg", str(tmp_path / "f.svg")]
    assert main(asked) == 2, "one objective has no front to draw"


def test_a_device_that_does_not_tell_energy_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "silent_device.py").write_text(
        """from dataclasses import replace
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.simulator.device import SimulatedDevice

class Silent:
    def __init__(self):
        self.inner = SimulatedDevice(load_target("ascend310"))

    def describe(self):
        return self.inner.describe()

    def measure(self, task, configs):
        return [replace(each, energy_uj=None) for each in self.inner.measure(task, configs)]

def make():
    return Silent()
"""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(DeviceError, match="energy"):
            tune(
                folder / "model.onnx",
                TARGET,
                trials=24,
                objective="latency,energy",
                database=tmp_path / "tuning.db",
                device="silent_device:make",
            )
