"""Target files: presets with their provenance, the schema, and mistakes explained by key and line."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tilewright.compiler_core.errors import TargetError
from tilewright.compiler_core.target_model.file import (
    PRESETS,
    check_target_file,
    list_targets,
    load_target,
    parse_target,
)
from tilewright.compiler_core.target_model.schema import schema
from tilewright.compiler_core.target_model.target import numbers_of

GEMMINI = (PRESETS / "gemmini16.toml").read_text()
NUMBER = re.compile(r"^(?P<key>\w+) = (?P<value>[^\[#]+?)\s*(#\s*(?P<mark>\w+)(?P<source>.*))?$")


def lines_with_keys(text: str) -> list[tuple[str, str, str]]:
    """(dotted key, mark, source) of every number, in the file's own order."""
    found: list[tuple[str, str, str]] = []
    stem, counts = "", dict[str, int]()
    for line in text.splitlines():
        if header := re.match(r"(\[\[?)([\w.]+)\]", line):
            stem = header[2] + "."
            if header[1] == "[[":
                at = counts[stem] = counts.get(stem, -1) + 1
                stem = f"{stem}{at}."
        elif entry := NUMBER.match(line):
            found.append((stem + entry["key"], entry["mark"] or "", entry["source"] or ""))
    return found


@pytest.mark.parametrize("name", list_targets())
def test_every_number_of_a_preset_is_published_or_assumed_as_its_list_says(name: str) -> None:
    target = load_target(name)
    for key, mark, source in lines_with_keys((PRESETS / f"{name}.toml").read_text()):
        if key in ("name", "description", "matrix.kind", "matrix.shapes.0.dtype") or key.endswith(".dtype"):
            continue
        assert mark in ("published", "assumed"), f"{name}: {key} says nothing of its source"
        assert target.is_assumed(key) == (mark == "assumed"), (
            f"{name}: {key} is {mark}, its list of assumed keys disagrees"
        )
        if mark == "published":
            assert source.startswith(": "), f"{name}: {key} is published where?"


@pytest.mark.parametrize("name", list_targets())
def test_presets_name_every_number_that_is_not_a_plain_default(name: str) -> None:
    named = {key for key, _, _ in lines_with_keys((PRESETS / f"{name}.toml").read_text())}
    defaults = re.compile(
        r"matrix\.(units|depthwise|shapes\.\d+\.(m_outer|taps|cycles|load_cycles))|vector\.minimum_lane_bits"
        r"|dma\.((load|store)_run_bytes|rows_apart)|(weights|values)_bypass_llb|streams_operands|fixed_slots|matrix\.largest_n"
        r"|accumulator_kib|identity|code|matrix\.operand_\w+|assumed\.\d+"
    )
    missing = {key for key, _ in numbers_of(load_target(name))} - named
    assert not {key for key in missing if not defaults.fullmatch(key)}


@pytest.mark.parametrize("name", list_targets())
def test_presets_obey_the_schema(name: str) -> None:
    jsonschema.validate(tomllib.loads((PRESETS / f"{name}.toml").read_text()), schema())


def test_schema_file_is_what_the_annotations_say() -> None:
    assert json.loads((PRESETS / "schema.json").read_text()) == schema()
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_docs_name_every_key_that_a_file_must_have() -> None:
    text = (Path(__file__).parents[2] / "docs" / "targets.md").read_text()
    rows = text.partition("| in | required keys |")[2].split("\n\n")[0].splitlines()[2:]
    told = {frozenset(re.findall(r"`\[?(\w+)\]?`", row.split("|")[2])) for row in rows}

    def required(part: Any) -> Iterator[frozenset[str]]:
        if isinstance(part, list):
            for each in part:
                yield from required(each)
        elif isinstance(part, dict):
            if part.get("required"):
                yield frozenset(part["required"])
            for each in part.values():
                yield from required(each)

    assert told == set(required(schema()))


def line_of(text: str, start: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), start=1) if line.startswith(start))


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"),
    [
        ("cores = 1 ", "cores = 0 ", "cores", "is 0; give a whole number from 1 to"),
        ("cores = 1 ", "cores = true ", "cores", "is True; give a whole number"),
        ("cores = 1 ", "cores = 1.5 ", "cores", "is 1.5; give a whole number"),
        ("cores = 1 ", 'cores = "two" ', "cores", "is 'two'; give a whole number"),
        ("cores = 1 ", "core = 1 ", "core", "is not known here; did you mean cores?"),
        ("frequency_mhz = 1000 ", "frequency_mhz = nan ", "frequency_mhz", "is nan; give a number"),
        ("gbps = 16 ", "gbps = -16 ", "llb.gbps", "is -16; give a number from"),
        ('dataflow = "ws"', 'dataflow = "wx"', "matrix.dataflow", "choose from os, ws, is"),
        ('kind = "systolic"', 'kind = "gpu"', "matrix.kind", "is 'gpu'; choose from cube, systolic"),
        ("overlap_folds = true", "overlap_folds = 1", "matrix.overlap_folds", "is 1; give true or false"),
        ('i8 = "i32"', 'i8 = "i3"', "dtypes.i8", "choose from f64, f32"),
        ('i8 = "i32"', 'i8 = "i4"', "dtypes.i8", "narrower or of another kind"),
        ('i8 = "i32"', 'int8 = "i32"', "dtypes.int8", "is 'int8'; choose from f64"),
        ('i8 = "i32"', 'i16 = "i8"', "dtypes.i16", "narrower or of another kind"),
        ("i8 = 1 ", "f16 = 1 ", "matrix.cycles_per_step.f16", "[dtypes] does not list"),
        ('"dram.kib"', '"dram.size"', "assumed", "names 'dram.size', which is no key"),
        ('name = "gemmini16"', 'name = "gem mini"', "name", "use 1 to 64 letters"),
        ("[host]", "[hosts]", "hosts", "did you mean host?"),
    ],
)
def test_a_mistake_is_explained_by_key_and_line(old: str, new: str, key: str, reason: str) -> None:
    assert old in GEMMINI
    text = GEMMINI.replace(old, new, 1)
    target, mistakes = parse_target(text)
    assert target is None
    found = [mistake for mistake in mistakes if mistake.key == key]
    assert found, [str(mistake) for mistake in mistakes]
    assert reason in found[0].reason
    if key != "assumed":
        at = next(n for n, line in enumerate(text.splitlines(), start=1) if new.rstrip() in line)
        assert found[0].line == at


def test_a_lane_op_of_an_unknown_op_is_a_mistake() -> None:
    text = GEMMINI + "\n[vector.lane_ops]\nexpp = 4\n"
    _, mistakes = parse_target(text)
    assert [(m.key, m.line) for m in mistakes] == [("vector.lane_ops.expp", len(text.splitlines()))]


def test_a_missing_key_points_at_its_table() -> None:
    text = "\n".join(line for line in GEMMINI.splitlines() if not line.startswith("rows"))
    _, mistakes = parse_target(text)
    assert [str(mistake) for mistake in mistakes] == [
        f"line {line_of(text, '[matrix]')}: matrix.rows: is missing; give a whole number from 1 to 1048576"
    ]


def test_all_mistakes_are_reported_in_the_order_of_their_lines() -> None:
    text = GEMMINI.replace("cores = 1 ", "cores = -1 ").replace("kib = 512", "kib = -512")
    _, mistakes = parse_target(text.replace("static_watts", "watts"))
    assert [mistake.key for mistake in mistakes] == [
        "cores",
        "llb.kib",
        "energy.static_watts",
        "energy.watts",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = [" * 5000, "nested deeper than 32"),
        (".".join("a" * 20_000) + " = 1", "a key of 20000 parts"),
        ("a = 1\n" * 20_000, "larger than 65536 bytes"),
        ("a = 1" + "0" * 5_000, "not valid TOML"),
    ],
)
def test_a_text_that_would_take_long_is_refused_first(text: str, reason: str) -> None:
    target, mistakes = parse_target(text)
    assert target is None
    assert [reason in mistake.reason for mistake in mistakes] == [True]


@pytest.mark.parametrize("text", ["cores = ", "[matrix", "a = 1\na = 2"])
def test_broken_toml_is_one_mistake(text: str) -> None:
    target, mistakes = parse_target(text)
    assert target is None
    assert len(mistakes) == 1
    assert mistakes[0].reason.startswith("not valid TOML")


def test_tables_where_values_belong_and_values_where_tables_belong() -> None:
    for text in ("matrix = 3", "dtypes = 4", "[cores]\na = 1", "vector = []", "matrix = {kind = []}"):
        target, mistakes = parse_target(text)
        assert target is None
        assert mistakes


def test_infinite_bandwidth_is_allowed_and_infinite_latency_is_not() -> None:
    assert parse_target(GEMMINI.replace("gbps = 16 ", "gbps = inf "))[0] is not None
    assert parse_target(GEMMINI.replace("latency_us = 0.5", "latency_us = inf"))[0] is None


def test_load_by_name_and_by_path(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(GEMMINI.replace("gemmini16", "mine"))
    assert load_target(mine).digest == load_target("gemmini16").digest
    assert load_target(str(mine)).name == "mine"
    assert check_target_file(mine)[1] == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ascend91", "no target is called 'ascend91'; did you mean ascend910?"),
        ("quantum", "presets are ascend310, ascend910"),
        ("../targets/ascend910", "No such file"),
        ("missing.toml", "missing.toml: No such file"),
        ("", "no target is called ''"),
    ],
)
def test_unknown_targets(name: str, message: str) -> None:
    with pytest.raises(TargetError, match=re.escape(message)):
        load_target(name)


def test_files_that_are_no_target_files(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(TargetError, match="not UTF-8"):
        load_target(binary)
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (1 << 21))
    with pytest.raises(TargetError, match="larger than"):
        load_target(large)
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(TargetError, match="directory"):
        load_target(folder)


def test_an_error_counts_the_other_mistakes_and_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(GEMMINI.replace("cores = 1 ", "cores = 0 ").replace("kib = 512", "kib = -512"))
    with pytest.raises(
        TargetError, match=r"line \d+: cores: is 0.*\(and 1 more: tune targets check"
    ) as caught:
        load_target(bad)
    assert "\n" not in str(caught.value)
