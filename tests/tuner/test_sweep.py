"""`tune sweep`: variants of a target, the area proxy, and which variants none beats."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.onnx_models import model, node, reals, saved, value
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import TargetError, UsageError
from tilewright.compiler_core.target_model.file import list_targets, parse_target, target_text
from tilewright.compiler_core.target_model.target import numbers_of
from tilewright.compiler_core.target_model.vary import varied
from tilewright.tuner.codesign.area import area_mm2
from tilewright.tuner.codesign.variants import variants_of


@pytest.mark.parametrize("name", list_targets())
def test_a_number_changes_and_nothing_else(name: str) -> None:
    text = target_text(name)
    before, _ = parse_target(text)
    assert before is not None
    for key in ("l1_kib", "cores", "llb.gbps", "dma.setup_cycles", "weights_bypass_llb", "matrix.units"):
        known = dict(numbers_of(before))
        if key not in known:
            continue
        other = "false" if known[key] is True else "true" if known[key] is False else "3"
        after, mistakes = parse_target(varied(text, {key: other}))
        assert after is not None, mistakes
        changed = {path for path, number in numbers_of(after) if known.get(path) != number}
        assert changed <= {key}
        assert str(dict(numbers_of(after))[key]) in (other, other.title(), "3.0")


def test_all_combinations_in_order() -> None:
    found = variants_of("gemmini16", ["core.l1_kib=128,256", "cores=8..40"])
    labels = [each.label for each in found]
    assert labels == [f"core.l1_kib={l1}, cores={cores}" for l1 in (128, 256) for cores in (8, 16, 32)]
    assert [(each.target.l1_kib, each.target.cores) for each in found][-1] == (256, 32)
    assert len({each.target.digest for each in found}) == len(found)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (["l1_kib"], UsageError, "is not KEY=A,B,C"),
        (["l1_kib=1..x"], UsageError, "is not KEY=A,B,C"),
        (["l1_kib=1,2", "l1_kib=3"], UsageError, "twice"),
        (["l1_kibb=1"], TargetError, "did you mean l1_kib"),
        (["name=x"], TargetError, "is no number of this target"),
        (["l1_kib=-3"], TargetError, "is no target: line"),
        (["l1_kib=1;x"], TargetError, "is no number for l1_kib"),
        (["l1_kib=1..1073741824", "cores=1..512"], UsageError, "variants; at most"),
    ],
)
def test_what_makes_no_sense_is_one_line(asked: list[str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        variants_of("gemmini16", asked)


def test_more_of_anything_takes_more_area() -> None:
    text = target_text("ascend910")
    areas = []
    for changes in ({}, {"l1_kib": "2048"}, {"cores": "64"}, {"llb.kib": "65536"}):
        target, _ = parse_target(varied(text, changes))
        assert target is not None
        areas.append(area_mm2(target))
    assert min(areas[1:]) > areas[0]


def test_the_table_and_the_picture_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(
        model([node("MatMul", "x w", "y")], [value("x", [32, 64])], ["y"], {"w": reals(1, 64, 32)}), tmp_path
    )
    drawn, told = tmp_path / "front.svg", tmp_path / "sweep.json"
    varied_by = ["--vary", "l1_kib=64,256", "--vary", "dma.setup_cycles=20,400"]
    asked = ["sweep", str(path), "--target", "gemmini16", *varied_by]
    files = ["--db", str(tmp_path / "t.db"), "--svg", str(drawn), "--json", str(told)]
    assert main([*asked, "--trials", "4", *files]) == 0
    rows = json.loads(told.read_text())["rows"]
    assert len(rows) == 4
    for row in rows:
        better = [
            other
            for other in rows
            if other is not row
            and all(other[key] <= row[key] for key in ("latency_us", "energy_uj", "area_mm2"))
            and any(other[key] < row[key] for key in ("latency_us", "energy_uj", "area_mm2"))
        ]
        assert row["beaten"] == bool(better)
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("*") for line in lines[1:-1]] == [not row["beaten"] for row in rows]
    dots = ElementTree.parse(drawn).getroot().findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == len(rows)
    # A second time everything is known.
    assert main([*asked, "--trials", "4", *files]) == 0
    assert json.loads(told.read_text())["rows"][0]["latency_us"] == rows[0]["latency_us"]


def test_dims_of_all_models_are_checked_before_any_is_tuned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sized, open_one = (
        saved(model([node("Relu", "x", "y")], [value("x", [rows, 8])], ["y"]), tmp_path, f"{name}.onnx")
        for name, rows in (("sized", 4), ("open", "rows"))
    )
    asked = ["--target", "gemmini16", "--vary", "l1_kib=64,256", "--db", str(tmp_path / "sweep.db")]
    assert main(["sweep", str(sized), str(open_one), *asked]) == 2
    assert "model open has dims without a value: rows" in capsys.readouterr().err
    assert main(["sweep", str(open_one), str(sized), *asked, "--dim", "rows=2"]) == 2
    assert "sized.onnx: the model has no dimension called 'rows'" in capsys.readouterr().err
    assert not (tmp_path / "sweep.db").exists()
