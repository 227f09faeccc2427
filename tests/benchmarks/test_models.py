"""The models bench on a folder of small networks: one sound, one that does not import."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.networks import models
from benchmarks.networks.models import bench_models
from tests.onnx_models import model, node, saved, small_cnn, value
from tilewright.api.cli.main import main
from tilewright.compiler_core.checking import judge_model
from tilewright.compiler_core.onnx_import.reference import ReferenceValue, reference_walk


def test_a_sound_network_passes_on_every_target(tmp_path: Path) -> None:
    saved(small_cnn(), tmp_path)
    said: list[str] = []
    found = bench_models(tmp_path, quick=True, light=False, say=said.append)
    assert [row["target"] for row in found["rows"]] == ["ascend910", "ethos_u55_256"]
    assert all(figure["ok"] for figure in found["summary"].values())
    for row in found["rows"]:
        assert row["schedules"] == 7
        assert row["laid_out"] >= 1
        assert row["emulated"] == 2
        assert row["values"] >= 1
        assert 0 <= row["worst_of_allowed"] < 1
    assert ["int8" in row["timed_as"] for row in found["rows"]] == [False, True]
    assert len(said) == 3


def test_wrong_numbers_are_a_missed_goal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file means is off by a ten-thousandth: the bench must not call that equal."""
    honest = reference_walk

    def off(*asked: Any) -> Iterator[ReferenceValue]:
        for told in honest(*asked):
            yield replace(told, array=told.array * 1.0001)

    monkeypatch.setattr(judge_model, "reference_walk", off)
    saved(small_cnn(), tmp_path)
    found = bench_models(tmp_path, quick=True, light=False, targets=["ascend910"], say=lambda _: None)
    assert not found["summary"]["worst_difference_of_allowed"]["ok"]


def test_symbolic_dims_are_bound_to_something_small(tmp_path: Path) -> None:
    made = model([node("Relu", "x", "y")], [value("x", ["batch", 3])], ["y"])
    saved(made, tmp_path)
    found = bench_models(tmp_path, quick=True, light=False, targets=["ascend910"], say=lambda _: None)
    assert found["rows"][0]["error"] == ""
    assert found["rows"][0]["values"] == 1


def test_a_network_that_does_not_import_is_an_error_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"\x00not a model")
    assert main(["bench", "models", str(tmp_path), "--no-light", "--quick", "--json", "-"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["bench"] == "models"
    assert found["summary"]["errors"] == {"value": 2, "goal": 0, "ok": False}
    assert all("broken.onnx" in row["error"] for row in found["rows"])


def test_networks_above_the_limit_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MOST_MACS", 0)
    saved(small_cnn(), tmp_path)
    found = bench_models(tmp_path, quick=True, light=False, targets=["ascend910"], say=lambda _: None)
    (row,) = found["rows"]
    assert row["numbers"].startswith("sampled: ")
    assert row["emulated"] == 2
    assert 0 < row["worst_of_allowed"] < 1


def test_a_broken_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has a whole row and half of one: the first is not made again, the second is."""
    saved(small_cnn(), tmp_path)
    journal = tmp_path / "rows.jsonl"

    def bench() -> list[dict[str, Any]]:
        return list(
            bench_models(tmp_path, quick=True, light=False, journal=journal, say=lambda _: None)["rows"]
        )

    first = bench()
    lines = journal.read_text().strip().splitlines()
    assert len(lines) == 2
    journal.write_text(lines[0] + "\n" + lines[1][:40])
    made: list[str] = []
    honest = models._compiled

    def counted(*args: Any) -> dict[str, Any]:
        made.append(args[1].name)
        return honest(*args)

    monkeypatch.setattr(models, "_compiled", counted)
    assert [row["worst_of_allowed"] for row in bench()] == [row["worst_of_allowed"] for row in first]
    assert made == ["ethos_u55_256"]


def test_every_bench_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("models", "order", "lookup", "search", "farm"):
        assert main(["bench", name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "--json" in shown
        assert "--quick" in shown
