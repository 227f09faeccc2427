"""Runs in MLflow, in a folder."""

import json
from pathlib import Path

import pytest

from tests.onnx_models import saved, two_parts
from tilewright.api.cli.main import main

mlflow = pytest.importorskip("mlflow")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_run_is_logged_with_report_and_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = saved(two_parts(), tmp_path)
    store = (tmp_path / "store").as_uri()
    asked = ["run", str(model), "--target", "ascend310", "--trials", "6", "--ray", "none", "--seed", "3"]
    assert main([*asked, "--mlflow", store, "--json", "-"]) == 0
    answer = json.loads(capsys.readouterr().out)
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("tilewright")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["target"] == "ascend310"
    assert run.data.params["seed"] == "3"
    assert run.data.params["graph_digest"] == answer["graph_digest"]
    assert run.data.metrics["tuned.latency_us"] == answer["tuned"]["latency_us"]
    assert run.data.metrics["speedup"] == answer["speedup"]
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    assert {path.name for path in folder.iterdir()} == {"report.html", "program.json", "result.json"}
    assert json.loads((folder / "program.json").read_text())["provenance"]["toolchain"]
    assert json.loads((folder / "result.json").read_text())["speedup"] == answer["speedup"]
    assert not (tmp_path / "mlruns").exists()


def test_what_cannot_be_logged_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, database = saved(two_parts(), tmp_path), tmp_path / "t.db"
    asked = ["run", str(model), "--target", "ascend310", "--db", str(database)]
    assert main([*asked, "--mlflow", "nowhere://host"]) == 2
    assert "--mlflow nowhere://host" in capsys.readouterr().err
    assert main([*asked, "--dim", "n=1..4", "--mlflow", str(tmp_path)]) == 2
    assert not database.exists()
