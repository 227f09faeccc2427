"""What was imported, or measured under another toolchain, is measured again before anybody is served it."""

import json
from pathlib import Path

import optuna
import pytest

from tests.db.test_forgeries import sealed
from tests.onnx_models import saved, two_parts
from tilewright.api.cli.main import main
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.db.exchange.export import export_records
from tilewright.db.exchange.load import import_records
from tilewright.db.repository import Repository
from tilewright.db.retire import hide_stale, show_again
from tilewright.db.storage.session import open_database
from tilewright.measure import device
from tilewright.tuner.verbs.optuna_export import export_to_optuna
from tilewright.tuner.verbs.reverify import verify_claims
from tilewright.tuner.verbs.tune import tune

TARGET = "ascend310"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that holds one small tuned network, and its export."""
    folder = tmp_path_factory.mktemp("tuned")
    tune(
        saved(two_parts(), folder),
        TARGET,
        trials=24,
        database=folder / "tuning.db",
        ray="none",
    )
    opened = open_database(folder / "tuning.db", read_only=True)
    export_records(opened, folder / "records.jsonl")
    opened.close()
    return folder


def bests(path: Path) -> dict[tuple[str, str], float]:
    opened = open_database(path, read_only=True)
    found = {(b.key.workload_digest, b.key.toolchain): b.latency_us for b in Repository(opened).all_best()}
    opened.close()
    return found


def test_an_import_is_served_once_it_was_measured_here(tuned: Path, tmp_path: Path) -> None:
    here = tmp_path / "here.db"
    opened = open_database(here)
    import_records(opened, tuned / "records.jsonl")
    opened.close()
    assert bests(here) == {}
    verdicts = verify_claims(TARGET, database=here, ray="none")
    assert verdicts
    assert all(verdict.promoted for verdict in verdicts)
    assert bests(here) == bests(tuned / "tuning.db"), "a deterministic device says the same here"
    assert verify_claims(TARGET, database=here, ray="none") == ()


def test_a_lie_about_latency_is_served_as_measured_and_one_about_the_config_not_at_all(
    tuned: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in (tuned / "records.jsonl").read_text().splitlines()]
    kernels = [line["value"]["digest"] for line in lines if line.get("value", {}).get("kind") == "kernel"]
    flattered, illegal = kernels[:2]
    for line in lines:
        value = line.get("value", {})
        if line.get("kind") != "trial" or value["latency_us"] is None:
            continue
        if value["workload_digest"] == flattered:
            value["latency_us"], value["samples_us"] = value["bound_us"], []
        if value["workload_digest"] == illegal:
            value["config"] = [["tile_0", 3], ["magic", True]]
            from tilewright.search_space.knobs import Config

            value["config_digest"] = Config((("tile_0", 3), ("magic", True))).digest
    forged = tmp_path / "forged.jsonl"
    forged.write_bytes(sealed(lines))
    here = tmp_path / "here.db"
    opened = open_database(here)
    import_records(opened, forged)
    opened.close()
    verdicts = {
        verdict.workload_digest: verdict for verdict in verify_claims(TARGET, database=here, ray="none")
    }
    assert "not in the space" in verdicts[illegal].reason
    assert (illegal, TOOLCHAIN) not in bests(here)
    measured_us = verdicts[flattered].measured_us
    assert measured_us is not None
    assert measured_us > verdicts[flattered].claimed_us
    assert bests(here)[flattered, TOOLCHAIN] == measured_us


def test_after_a_toolchain_bump_old_bests_are_measured_again_and_then_hidden(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here.db"
    here.write_bytes((tuned / "tuning.db").read_bytes())
    before = bests(here)
    monkeypatch.setattr(device, "TOOLCHAIN", "next")
    verdicts = verify_claims(TARGET, database=here, ray="none")
    assert len(verdicts) == len(before)
    after = bests(here)
    assert {key: us for key, us in after.items() if key[1] == TOOLCHAIN} == before, (
        "old ones stay as they were"
    )
    assert {key[0] for key in after if key[1] == "next"} == {key[0] for key in before}
    opened = open_database(here)
    hidden = hide_stale(opened, "next")
    assert len(hidden) == 1
    assert {best.key.toolchain for best in Repository(opened).all_best()} == {"next"}
    show_again(opened, hidden)
    opened.close()
    assert bests(here) == after, "nothing was deleted"


def test_the_verbs(tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = str(tmp_path / "here.db")
    assert main(["db", "import", str(tuned / "records.jsonl"), "--db", here]) == 0
    assert main(["db", "verify", "--target", TARGET, "--db", here, "--ray", "none", "--limit", "1"]) == 0
    assert "1 claims: 1 promoted, 0 refused" in capsys.readouterr().out
    assert main(["db", "gc", "--db", here]) == 0
    assert "0 runs hidden" in capsys.readouterr().out
    assert main(["db", "upgrade", "--db", here]) == 0
    assert "schema " in capsys.readouterr().out
    assert main(["db", "upgrade", "--db", str(tuned / "records.jsonl")]) == 2


def test_optuna_reads_what_was_recorded(tuned: Path, tmp_path: Path) -> None:
    output = tmp_path / "optuna.db"
    studies, trials = export_to_optuna(output, database=tuned / "tuning.db")
    opened = open_database(tuned / "tuning.db", read_only=True)
    repository = Repository(opened)
    rows = [row for each in repository.runs() for row in repository.trials_of_run(each.uid)]
    opened.close()
    assert trials == len(rows)
    names = optuna.get_all_study_names(f"sqlite:///{output}")
    assert len(names) == studies
    found = [
        trial.value
        for name in names
        for trial in optuna.load_study(study_name=name, storage=f"sqlite:///{output}").trials
    ]
    assert sorted(found) == sorted(row.trial.measurement.latency_us for row in rows)  # type: ignore[type-var]
