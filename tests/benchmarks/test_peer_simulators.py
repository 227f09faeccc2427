"""Peers of the simulator bench: their answers become rows, their failures one line."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.simulator.peers import LAYERS, compare
from tilewright.compiler_core.errors import UsageError


def test_answers_of_the_runner_become_rows_beside_ours(tmp_path: Path) -> None:
    answer = {"name": next(iter(LAYERS)), "tool": "tool 1.0", "seconds": 2.5, "cycles": 7.0, "evaluations": 8}
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{json.dumps(answer)}'\n")
    fake.chmod(0o755)
    scalesim, zigzag = compare(fake, 0, quick=True)
    assert scalesim["our_cycles"] == 1763  # what SCALE-Sim 2.0.2 says of this layer
    for row in (scalesim, zigzag):
        assert (row["task"], row["method"], row["their_s"]) == ("peers", "tool 1.0", 2.5)
        assert row["ratio"] == pytest.approx(2.5 / row["our_s"], rel=0.1)


def test_an_environment_without_the_tools_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"scalesim failed: .*No .*scalesim"):
        list(compare(Path(sys.executable), 0, quick=True))
    with pytest.raises(UsageError, match="make bench-peers"):
        list(compare(tmp_path / "nothing", 0, quick=True))
