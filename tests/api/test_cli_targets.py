"""`tune targets`: list, show, check."""

import json
from pathlib import Path

import pytest

from tilewright.api.cli.main import main
from tilewright.compiler_core.target_model.file import PRESETS, list_targets, load_target


def test_list_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(list_targets())


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["digest"] for row in rows} == {
        name: load_target(name).digest for name in list_targets()
    }


def test_show_marks_what_is_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "show", "ascend910"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["digest", load_target("ascend910").digest]
    assert "cores                            32" in lines
    assert ["energy.static_watts", "60.0", "assumed"] in [line.split() for line in lines]


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "show", "eyeriss", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["numbers"]["llb.gbps"] == "inf"
    assert "energy" in shown["assumed"]


def test_check_of_a_good_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "check", str(PRESETS / "gemmini16.toml")]) == 0
    assert "gemmini16 is a valid target" in capsys.readouterr().out


def test_check_prints_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    text = (PRESETS / "gemmini16.toml").read_text()
    mine.write_text(text.replace("cores = 1 ", "cores = 0 ").replace("kib = 512", "kib = -512"))
    assert main(["targets", "check", str(mine)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[2] for line in lines] == ["cores", "llb.kib"]


def test_no_such_target_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "show", "ascend91"]) == 2
    assert "did you mean ascend910?" in capsys.readouterr().err
