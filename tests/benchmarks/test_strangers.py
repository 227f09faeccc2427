"""Tools of others as devices: the protocol with their processes, and the bench on their recorded answers."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.bench import bench_search
from benchmarks.search.strangers import recorded, tool
from benchmarks.search.strangers.draft import vela_draft
from benchmarks.search.strangers.recorded import record_tool, space_file, tables, tool_named
from benchmarks.search.strangers.tool import TOOLS, VELA, ToolDevice, ToolProcess
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.measure.recorded.replay import SpaceTask
from tilewright.measure.results import Status
from tilewright.search_space.moves import enumerate_rows
from tilewright.search_space.t1 import load_t1

HOST = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    size = asked["layer"]["size"]
    cycles = [None if a == b else float(size * (a + 2 * b)) for a, b in asked["configs"]]
    print(json.dumps({"tool": "toy 1", "cycles": cycles}), flush=True)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tool.Tool:
    """A tool of two knobs whose process is this Python."""
    (tmp_path / "toy_host.py").write_text(HOST)
    made = replace(
        VELA, name="toy", package="toy==1", knobs={"a": (1, 2, 3), "b": (2, 3)}, layers=VELA.layers[:2]
    )
    monkeypatch.setenv("TILEWRIGHT_TOY", sys.executable)
    for module in (tool, recorded):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(recorded, "TOOLS", {"toy": made})
    return made


def test_a_tool_answers_and_its_table_answers_the_same(toy: tool.Tool) -> None:
    rows = record_tool("toy", lambda line: None)["rows"]
    assert [row["valid"] for row in rows] == [4, 4]  # of six, two are refused
    space, process = load_t1(space_file(toy)), ToolProcess(toy)
    found = enumerate_rows(space)
    assert found is not None
    configs = [space.decode(row) for row in found]
    for layer, table in zip(toy.layers, tables(toy), strict=True):
        live = ToolDevice(process, layer).measure(SpaceTask(space), configs)
        kept = table.measure(SpaceTask(space), configs)
        assert [m.status for m in live] == [m.status for m in kept]
        assert [m.latency_us for m in live] == [m.latency_us for m in kept]
        assert live[1].latency_us == 224 * (1 + 2 * 3) / 500.0
        assert sum(m.status is Status.INVALID for m in live) == 2
    process.close()


def test_a_tool_that_ends_or_is_missing_is_one_line(toy: tool.Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    (tool.FOLDER / "toy_host.py").write_text("raise SystemExit")
    with pytest.raises(DeviceError, match="toy==1 ended without an answer"):
        ToolProcess(toy).ask({})
    monkeypatch.setenv("TILEWRIGHT_TOY", "/nowhere/python")
    with pytest.raises(UsageError, match="make strangers"):
        ToolProcess(toy).ask({})
    with pytest.raises(UsageError, match="was not recorded"):
        recorded.table_files(toy)


def test_every_tool_has_its_tables() -> None:
    for name, one in TOOLS.items():
        assert len(one.layers) >= 12
        assert len({layer.name for layer in one.layers}) == len(one.layers)
        assert len(recorded.table_files(tool_named(name))) == len(one.layers)
    with pytest.raises(UsageError, match="choose from vela, zigzag"):
        tool_named("nobody")


def test_the_bench_runs_on_a_layer_of_a_tool() -> None:
    methods = ("tilewright", "no_draft", "random+draft", "prior")
    named = [VELA.layers[3].name]
    found = bench_search(
        device="vela", quick=True, seeds=1, tasks=named, methods=methods, say=lambda line: None
    )
    assert {row["task"] for row in found["rows"]} == {f"vela/{named[0]}"}
    assert {row["method"] for row in found["rows"]} == set(methods)  # priors are the tool's other layers
    for row in found["rows"]:
        assert row["improvements"][-1][1] >= row["optimum_us"]


def test_the_draft_of_a_block_ranks_as_the_tool_does() -> None:
    space = load_t1(space_file(VELA))
    rows = enumerate_rows(space)
    assert rows is not None
    some = rows[np.random.default_rng(0).permutation(len(rows))[:200]]
    at = next(index for index, each in enumerate(VELA.layers) if each.layer.op == "DepthwiseConv2D")
    layer, table = VELA.layers[at], list(tables(VELA))[at]
    answers = [
        m.latency_us or np.nan for m in table.measure(SpaceTask(space), [space.decode(row) for row in some])
    ]
    ok = np.isfinite(answers)
    drafts = vela_draft(layer, space)(some)[ok]
    assert np.corrcoef(drafts, np.log(np.array(answers)[ok]))[0, 1] > 0.8
