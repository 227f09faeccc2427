"""`tune targets`: list, show, check."""

import json
import re
from pathlib import Path

import pytest

from tilewright.api.cli.main import main
from tilewright.compiler_core.target_model.file import (
    PRESETS,
    doubts_of,
    list_targets,
    load_target,
    target_text,
)


def test_list_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(list_targets())


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "list", "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)["targets"]
    assert {row["name"]: row["digest"] for row in rows} == {
        name: load_target(name).digest for name in list_targets()
    }


def test_show_marks_what_is_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "show", "ascend910", "--numbers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["digest", load_target("ascend910").digest]
    assert "cores                            32" in lines
    assert ["energy.static_watts", "60.0", "assumed"] in [line.split() for line in lines]


def test_what_show_prints_is_a_file_that_can_be_edited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["targets", "show", "ascend910"]) == 0
    mine = tmp_path / "mine.toml"
    mine.write_text(capsys.readouterr().out)
    assert load_target(str(mine)).digest == load_target("ascend910").digest


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "show", "eyeriss", "--json", "-"]) == 0
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


@pytest.mark.parametrize(
    ("number", "doubted", "key"),
    [
        ("gbps = 16                         # published: CONFIG (dma", "gbps = 1 # (dma", "llb.gbps"),
        ("accumulator_kib = 64", "accumulator_kib = 32", ""),
        ("bits = 128", "bits = 500", "vector.bits"),
        ("frequency_mhz = 1000 ", "frequency_mhz = 1000000 ", "frequency_mhz"),
        ("kib = 512 ", "kib = 128 ", "llb.kib"),
        (
            "burst_bytes = 64                  # published: CONFIG (dma",
            "burst_bytes = 65 # (dma",
            "llb.burst_bytes",
        ),
        ("launch_us = 1.0 ", "launch_us = 100000.0 ", "overheads.launch_us"),
    ],
)
def test_check_asks_about_what_is_hardly_meant(
    number: str, doubted: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.toml"
    text = (PRESETS / "gemmini16.toml").read_text()
    assert text.count(number) == 1
    own = text.replace('name = "gemmini16"', 'name = "mine"')
    mine.write_text(own.replace(number, doubted))
    assert main(["targets", "check", str(mine), "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [doubt["key"] for doubt in told["doubts"]] == [key] * bool(key)
    assert all(doubt["line"] for doubt in told["doubts"])


def test_an_accumulator_holds_a_tile_of_sums(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    text = re.sub(r"accumulator_kib = \d+", "accumulator_kib = 1", (PRESETS / "ascend910.toml").read_text())
    mine.write_text(text)
    assert main(["targets", "check", str(mine)]) == 0
    assert "accumulator_kib" not in capsys.readouterr().out  # 16 x 16 sums of 4 bytes are 1 KiB
    mine.write_text(re.sub(r"\bn = 16\b", "n = 32", text))
    assert main(["targets", "check", str(mine)]) == 0
    assert "accumulator_kib: holds 1024 bytes, less than the 2048" in capsys.readouterr().out


@pytest.mark.parametrize("name", list_targets())
def test_presets_leave_no_doubts(name: str) -> None:
    assert doubts_of(target_text(name)) == ()


def test_another_chip_under_the_name_of_a_preset_is_doubted() -> None:
    changed = target_text("ascend310").replace("frequency_mhz = 680", "frequency_mhz = 700")
    (doubt,) = doubts_of(changed)
    assert doubt.key == "name"
    assert "a preset with other numbers" in doubt.reason
    assert doubts_of(changed.replace('name = "ascend310"', 'name = "mine"')) == ()


def test_an_empty_file_lacks_everything_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('name = "mine"\n')
    assert main(["targets", "check", str(mine)]) == 1
    said = capsys.readouterr().out
    for table in ("dtypes", "matrix", "vector", "llb", "dram", "dma", "host", "overheads", "energy"):
        assert f": {table}: is missing; give a table of " in said
    assert "llb: is missing; give a table of kib, gbps, latency_cycles, burst_bytes" in said


def test_no_such_target_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "show", "ascend91"]) == 2
    assert "did you mean ascend910?" in capsys.readouterr().err
