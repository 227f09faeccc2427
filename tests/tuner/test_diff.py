"""`tune diff` and the ids it takes: two runs of one network in one database."""

import json
from pathlib import Path

import pytest

from tests.onnx_models import saved, small_cnn
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.target_model.file import target_text
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.tuner.explain.diff import diff_runs
from tilewright.tuner.explain.diff_others import diff_databases, diff_targets
from tilewright.tuner.verbs.tune import tune


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, of other seeds and budgets."""
    folder = tmp_path_factory.mktemp("runs")
    path = saved(small_cnn(), folder)
    for seed, trials in ((0, 20), (1, 40)):
        tune(path, "ethos_u55_128", trials=trials, seed=seed, database=folder / "t.db", ray="none")
    return folder / "t.db"


@pytest.fixture(scope="module")
def uids(database: Path) -> list[str]:
    opened = open_database(database, read_only=True)
    found = [run.uid for run in Repository(opened).runs() if run.asked.trials_budget]
    opened.close()
    return found[::-1]


def test_two_runs_side_by_side(database: Path, uids: list[str]) -> None:
    found = diff_runs(uids[0], uids[1], database=database)
    assert found.runs == (uids[0], uids[1])
    assert found.asked["seed"] == (0, 1)
    assert found.whole is not None
    assert found.whole.first is not None
    assert found.whole.first.best is not None
    apart = [max(each.ratio, 1 / each.ratio) for each in found.kernels if each.ratio is not None]
    assert apart == sorted(apart, reverse=True)
    assert sum(each.first.trials for each in found.kernels if each.first is not None) == 20


def test_a_run_beside_itself_differs_in_nothing(database: Path, uids: list[str]) -> None:
    found = diff_runs(uids[0], uids[0], database=database)
    assert found.asked == {}
    assert all(each.ratio in (1.0, None) and not each.knobs for each in found.kernels)


def test_runs_are_named_by_their_first_characters(
    database: Path, uids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", uids[0][:8], uids[1][:8], "--db", str(database)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:2]] == uids
    assert any("  network  " in line for line in lines[2:])
    assert main(["db", "runs", "--db", str(database), "--json", "-"]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert {row["run"] for row in listed} >= set(uids)
    assert {row["model"] for row in listed} == {"model"}
    with pytest.raises(RecordError, match="is not in the database"):
        diff_runs(uids[0], "0000beef", database=database)
    opened = open_database(database, read_only=True)
    with pytest.raises(RecordError):
        Repository(opened).run_called(uids[0][:3])  # too short to stand for anything
    opened.close()


def test_two_databases_side_by_side(database: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    tune(database.parent / "model.onnx", "ethos_u55_128", trials=4, seed=5, database=other, ray="none")
    found = diff_databases(database, other)
    assert found.answers[0] >= 2 <= found.answers[1]
    assert found.same + len(found.rows) >= max(found.answers)
    assert all(row.first != row.second or not row.same_config for row in found.rows)
    assert diff_databases(database, database).rows == ()


def test_two_targets_side_by_side(tmp_path: Path) -> None:
    text = target_text("ascend310").replace("l1_kib = 1024", "l1_kib = 512")
    (tmp_path / "mine.toml").write_text(text)
    found = diff_targets("ascend310", tmp_path / "mine.toml")
    assert found.keys == {"l1_kib": (1024, 512)}
    assert all(one == other for one, other in found.peaks.values())
    assert diff_targets("ascend310", "ascend910").keys["cores"] == (2, 32)


@pytest.mark.parametrize("kind", ["runs", "databases", "targets"])
def test_a_comparison_is_one_html_file(
    kind: str, database: Path, uids: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = {"runs": uids, "databases": [str(database)] * 2, "targets": ["ascend310", "ascend910"]}
    page = tmp_path / "diff.html"
    assert main(["diff", *pairs[kind], "--db", str(database), "-o", str(page), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)
    text = page.read_text()
    assert f"<h1>Two {kind}</h1>" in text
    if kind != "runs":  # two small runs may find the same
        assert ("<svg xmlns" in text) == (kind == "targets")
    assert "src=" not in text
