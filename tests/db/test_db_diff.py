"""`tune db diff`: answers by verdict, contradictions by field, layers by name."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.db.samples import confirmations, filled, key_of, prepared, workload
from tilewright.api.cli.main import main
from tilewright.db.exchange.entries import StoredTrial, identity
from tilewright.db.exchange.export import entries_of
from tilewright.db.exchange.load import load_entries
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database

ROWS = [workload(name) for name in ("gone", "faster", "same", "slower", "new")]


def made(path: Path, latencies_us: dict[str, float]) -> None:
    database = open_database(path)
    repository = Repository(database)
    rows = [row for row in ROWS if json.loads(row.body)["op"] in latencies_us]
    run = prepared(repository, *rows)
    for number, row in enumerate(rows):
        took_us = latencies_us[json.loads(row.body)["op"]]
        repository.commit_trials(confirmations(run, number, row, (took_us,) * 3))
        repository.publish_best(key_of(row))
    database.close()


def test_answers_get_a_verdict_and_layers_have_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    made(one, {"gone": 9.0, "faster": 9.0, "same": 9.0, "slower": 9.0})
    made(two, {"new": 9.0, "faster": 8.0, "same": 9.0, "slower": 12.0})
    monkeypatch.setenv("TILEWRIGHT_LAYERS", f"team={two}, far=http://127.0.0.1:9")
    assert main(["db", "diff", str(one), "team", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: count for name, count in found["counts"].items() if name != "other Config"} == {
        "new": 1,
        "gone": 1,
        "faster": 1,
        "slower": 1,
    }
    assert {row["verdict"] for row in found["rows"]} >= {"new", "gone", "faster", "slower"}
    assert main(["db", "diff", str(one), "team"]) == 0
    assert "1 new, 1 gone, 1 faster, 1 slower" in capsys.readouterr().out
    assert main(["db", "diff", str(one), "far"]) == 2
    assert "far is a server; `tune db pull http://127.0.0.1:9` fetches" in capsys.readouterr().err
    assert main(["db", "diff", str(one), "nobody.db"]) == 2


def test_contradictions_are_listed_by_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = open_database(tmp_path / "one.db"), open_database(tmp_path / "two.db")
    filled(Repository(one), ROWS[:1], uid="run")
    entries = list(entries_of(one))
    place = next(place for place, each in enumerate(entries) if isinstance(each, StoredTrial))
    altered = entries[place]
    assert isinstance(altered, StoredTrial)
    trial = dataclasses.replace(altered.trial, seed=99)
    entries[place] = dataclasses.replace(altered, trial=trial)
    load_entries(two, sorted(entries, key=identity), "altered")
    one.close()
    two.close()
    assert main(["db", "diff", str(tmp_path / "one.db"), str(tmp_path / "two.db")]) == 1
    kind = altered.trial
    assert f"contradiction: trial run {kind.purpose} {kind.number} 0: seed" in capsys.readouterr().out
