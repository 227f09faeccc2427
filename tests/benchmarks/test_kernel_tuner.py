"""Kernel Tuner behind a pipe: the protocol with a stand-in, the package where it is installed."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.arena import SearchArena
from benchmarks.search.methods import run_method
from benchmarks.search.peers.kernel_tuner_peer import ENVIRONMENT, KERNEL_TUNER, kernel_tuner_python
from tests.tuner.landscapes import problem_and_device
from tilewright.compiler_core.errors import DeviceError, UsageError

STAND_IN = """#!{python}
import json, sys
table = json.loads(sys.stdin.readline())
for line in sys.stdin:
    asked = json.loads(line)
    if asked["strategy"] == "pso":
        break
    rows = [row[:-1] for row in table["rows"] if asked["seed"] or row[-1] is None]
    print(json.dumps(rows[: 2 * asked["budget"]]), flush=True)
"""


def arena() -> SearchArena:
    problem, device = problem_and_device()
    return SearchArena("made-up", problem, device)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    monkeypatch.setenv(ENVIRONMENT, str(python))


@pytest.mark.usefixtures("stand_in")
def test_answers_come_back_as_latencies_of_the_table() -> None:
    here = arena()
    assert here.problem.whole is not None
    latencies = here.latencies_us(here.problem.whole)
    found = run_method(here, "kernel_tuner/genetic_algorithm", 1, 30)
    assert np.array_equal(found, latencies[:30], equal_nan=True)
    failed = run_method(here, "kernel_tuner/genetic_algorithm", 0, 30)
    assert len(failed) == min(30, int(np.isnan(latencies).sum()))
    assert np.isnan(failed).all()


@pytest.mark.usefixtures("stand_in")
def test_a_process_that_ends_is_named() -> None:
    with pytest.raises(DeviceError, match="in the middle of pso"):
        run_method(arena(), "kernel_tuner/pso", 0, 30)


def test_without_the_package_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="make kernel-tuner"):
        run_method(arena(), KERNEL_TUNER[0], 0, 30)


@pytest.mark.skipif(kernel_tuner_python() is None, reason="`make kernel-tuner` was not run")
def test_a_strategy_of_the_package_searches_the_table() -> None:
    here = arena()
    found = run_method(here, "kernel_tuner/genetic_algorithm", 0, 60)
    assert 20 <= len(found) <= 60
    assert np.array_equal(found, run_method(here, "kernel_tuner/genetic_algorithm", 0, 60), equal_nan=True)
