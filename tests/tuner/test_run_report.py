"""One HTML file tells of a network or of a run, and asks nobody for anything."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.onnx_models import model, node, saved, two_parts, value
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.tuner.verbs.report import report_on
from tilewright.tuner.verbs.search_pictures import importances
from tilewright.tuner.verbs.tune import tune

TARGET = "ascend310"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tuned")
    tune(saved(two_parts(), made), TARGET, trials=24, database=made / "tuning.db", ray="none")
    return made


def newest(database: Path) -> str:
    opened = open_database(database, read_only=True)
    uid = Repository(opened).runs(1)[0].uid
    opened.close()
    return uid


def nameless(result: dict[str, Any]) -> dict[str, Any]:
    """A result without the model's names, which records do not have."""
    kernels = [{key: told for key, told in kernel.items() if key != "name"} for kernel in result["kernels"]]
    rewrites = [{**rewrite, "value": ""} for rewrite in result["rewrites"]]
    return {**result, "kernels": kernels, "rewrites": rewrites}


def test_a_model_and_its_run_are_told_alike(folder: Path, tmp_path: Path) -> None:
    database = folder / "tuning.db"
    of_model = report_on(folder / "model.onnx", TARGET, database=database)
    of_run = report_on(newest(database), database=database)
    assert nameless(of_model.result) == nameless(of_run.result)
    assert of_model.points == of_run.points
    assert len(of_model.points) == 24
    standing = [point["best"] for point in of_model.points]
    assert of_model.result["bound"]["latency_us"] < of_model.result["tuned"]["latency_us"]
    assert standing == sorted(standing, reverse=True)
    assert standing[0] == of_model.result["default"]["latency_us"]
    assert standing[-1] == of_model.result["tuned"]["latency_us"]
    assert {point["bound"] for point in of_model.points} == {of_model.result["bound"]["latency_us"]}


def test_the_file_stands_alone(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database, output = str(folder / "tuning.db"), tmp_path / "report.html"
    asked = ["report", str(folder / "model.onnx"), "--target", TARGET, "-o", str(output), "--db", database]
    assert main(asked) == 0
    assert "convergence, kernels, roofline, timeline" in capsys.readouterr().out
    text = output.read_text()
    assert text.count("<svg") >= 4
    assert "contract + tanh" in text
    addresses = set(re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", text))
    assert all(address.startswith(("#", "data:")) for address in addresses), (
        "a page that is sent around asks nobody"
    )
    assert main(["report", newest(Path(database)), "-o", str(output), "--db", database]) == 0


def test_a_network_that_nobody_tuned_is_told_by_its_default(folder: Path, tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "a"), node("TopK", "a k", "v i")]
    constants = {"w": np.ones((8, 16), np.float32), "k": np.array([2])}
    path = saved(model(nodes, [value("x", [4, 8])], ["v"], constants), tmp_path)
    told = report_on(path, TARGET, database=folder / "tuning.db")
    assert told.points == []
    assert told.result["tuned"]["latency_us"] is None
    assert told.result["host_ops"]
    output = str(tmp_path / "r.html")
    assert (
        main(["report", str(path), "--target", TARGET, "-o", output, "--db", str(folder / "tuning.db")]) == 0
    )


def test_what_cannot_be_told_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs --target"):
        report_on(folder / "model.onnx", database=folder / "tuning.db")
    with pytest.raises(RecordError, match="not in the database"):
        report_on("nobody", database=folder / "tuning.db")


def test_a_knob_that_decides_is_told_from_one_that_does_not() -> None:
    generator = np.random.default_rng(7)
    rows = generator.integers(0, 3, size=(90, 3)).astype(np.int32)
    noise = generator.normal(0.0, 0.05, 90)
    shares = importances(rows, np.exp(0.5 * rows[:, 0] + noise))
    assert shares[0] > 0.95
    assert max(shares[1:]) < 0.1
    assert list(importances(rows, np.full(90, 2.0))) == [0.0, 0.0, 0.0]  # nothing to explain
    assert list(importances(rows[:2, :1], np.array([1.0, 2.0]))) == [0.0]  # too few to tell


def test_the_search_of_a_report_is_that_of_its_trials(folder: Path) -> None:
    told = report_on(folder / "model.onnx", TARGET, database=folder / "tuning.db")
    search = told.pictures["search"]
    assert 0 < len(search["predicted"]) <= told.result["trials"] == len(told.points)
    fastest = {kernel["name"]: kernel["trials"][0][-1] for kernel in search["kernels"]}
    best = {kernel["name"]: kernel["latency_us"] for kernel in told.result["kernels"]}
    assert fastest
    assert all(fastest[name] == pytest.approx(best[name], rel=0.3) for name in fastest)
    for kernel in search["kernels"]:
        for *places, _ in kernel["trials"]:
            pairs = zip(places, kernel["knobs"], strict=True)
            assert all(0 <= place < len(knob["values"]) for place, knob in pairs)
