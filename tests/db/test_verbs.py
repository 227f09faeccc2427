"""Verbs on databases: what they refuse, what they leave alone, and what they say."""

from pathlib import Path

import pytest

from tests.db.samples import confirmations, filled, key_of, prepared, workload
from tilewright.api.cli.main import main
from tilewright.api.cli.options import read_seconds
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.db.demand.recorder import Recorder
from tilewright.db.exchange.best_file import export_best
from tilewright.db.exchange.export import export_records
from tilewright.db.exchange.load import import_records, merge_database
from tilewright.db.layers.opening import open_layers
from tilewright.db.layers.settings import LayerSetting
from tilewright.db.repository import Repository
from tilewright.db.sharing.signing import SigningKey, make_key
from tilewright.db.sharing.trust import Trust, TrustedKey
from tilewright.db.storage.session import Database, open_database


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    database = open_database(tmp_path / "here.db")
    filled(Repository(database), [workload("a")])
    database.close()
    return tmp_path / "here.db"


@pytest.mark.parametrize(
    "line",
    [
        "keys list",
        "keys revoke 1",
        "db export -o out.jsonl",
        "db export -o out.jsonl --sign lab",
        "db push http://127.0.0.1:9 --sign lab",
        "db vouch",
        "db gc",
        "db verify --target ascend910",
        "db merge other.db",
        "db import other.jsonl",
    ],
)
def test_no_verb_that_reads_makes_a_database(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    make_key("lab")
    assert main([*line.split(), "--db", "missing.db"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("missing.db").exists()
    assert not Path("out.jsonl").exists()


def test_a_known_key_is_changed_only_where_that_is_asked_for(sqlite_database: Database) -> None:
    trust, one, other = Trust(sqlite_database), SigningKey.new().signer, SigningKey.new().signer
    trust.trust(TrustedKey(one, "lab"))
    trust.trust(TrustedKey(one, "lab"))
    with pytest.raises(RecordError, match=r"trusted already, as 'lab', for all devices, 5% measured again"):
        trust.trust(TrustedKey(one, "lab", share=0.0))
    with pytest.raises(RecordError, match=r"'lab' is the name of another key"):
        trust.trust(TrustedKey(other, "lab"))
    trust.trust(TrustedKey(one, "old lab", share=0.0), change=True)
    trust.trust(TrustedKey(other, "lab"))
    with pytest.raises(RecordError, match=r"'lab' is the name of another key"):
        trust.trust(TrustedKey(one, "lab"), change=True)
    trust.revoke(other)
    third = SigningKey.new().signer
    trust.trust(TrustedKey(third, "lab"))
    assert trust.called("lab").signer == third, "the one that is revoked has given its name up"
    assert trust.called("old lab").share == 0.0


def test_an_export_of_answers_takes_no_records(path: Path, tmp_path: Path) -> None:
    database = open_database(path)
    export_records(database, tmp_path / "records.jsonl")
    export_best(database, tmp_path / "best.db")
    answers = open_database(tmp_path / "best.db")
    with pytest.raises(RecordError, match=r"holds answers alone, as `tune db export --best` writes them"):
        import_records(answers, tmp_path / "records.jsonl")
    with pytest.raises(RecordError, match=r"and no records; TILEWRIGHT_LAYERS asks it"):
        merge_database(answers, database)
    assert Repository(answers).best(key_of(workload("a"))) is not None
    answers.close()
    database.close()


def test_a_layer_that_cannot_be_opened_is_named_without_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError, match=r"tilewright\.db.*; team: .*nowhere\.db"):
        open_layers("tilewright.db", settings=[LayerSetting("team", str(tmp_path / "nowhere.db"))])


def test_equal_databases_are_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["diff"], ["db", "diff"]):
        assert main([*verb, str(path), str(path)]) == 0
        said = capsys.readouterr().out
        assert said == f"{path} and {path} have equal answers: answers 1, the same in both 1\n"


def test_of_a_merge_both_sides_of_a_conflict_are_told(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, took_us in (("one.db", 9.0), ("two.db", 8.0)):
        database = open_database(tmp_path / name)
        repository = Repository(database)
        run = prepared(repository, workload("b"), uid="run-1")
        repository.commit_trials(confirmations(run, 0, workload("b"), (took_us,) * 3))
        repository.finish_run(run, "budget spent", 0.0)
        database.close()
    assert main(["db", "merge", "one.db", "--db", str(path)]) == 0
    capsys.readouterr()
    assert main(["db", "merge", "two.db", "--db", str(path)]) == 0
    said = capsys.readouterr().out
    assert "conflict: run run-1: started_at_s; kept as run run-1.conflict-2\n" in said


@pytest.mark.parametrize("text", ["-5", "0", "-1h", "inf", "nan"])
def test_a_time_limit_is_above_zero(text: str) -> None:
    with pytest.raises(UsageError, match=r"--time-limit .* is no time"):
        read_seconds(text, "--time-limit")


def test_demand_that_cannot_be_logged_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(tmp_path, every_s=3600.0)
    for _ in range(3):
        recorder.note(("0" * 64, "1" * 64, "3", "latency", "default"), 0.0)
        recorder._flush_or_say()
    recorder.close()
    assert len([line for line in caplog.messages if line.startswith("demand was not logged")]) == 1


def test_a_lock_is_written_or_compared_not_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lock", "m.onnx", "--target", "ascend910", "-o", "a.lock", "--diff", "b.lock"]) == 2
    assert "give one of -o and --diff: a lock is written, or compared with" in capsys.readouterr().err
