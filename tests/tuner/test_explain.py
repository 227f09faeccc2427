"""`tune explain`: what it says of an answer agrees with the Program and with the records."""

import json
from pathlib import Path

import pytest

from tests.onnx_models import saved, small_cnn
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import UsageError
from tilewright.tuner.explain.explain import Explanation, explain
from tilewright.tuner.verbs.tune import tune

TARGET = "ethos_u55_128"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small network, and a database in which it is tuned."""
    folder = tmp_path_factory.mktemp("tuned")
    path = saved(small_cnn(), folder)
    tune(path, TARGET, trials=48, database=folder / "t.db", ray="none")
    return path, folder / "t.db"


@pytest.fixture(scope="module")
def told(tuned: tuple[Path, Path]) -> Explanation:
    path, database = tuned
    return explain(path, TARGET, most=100, database=database)


def test_every_kernel_is_there_and_shares_add_up(told: Explanation) -> None:
    assert sum(each.share for each in told.kernels) == pytest.approx(1.0)
    totals = [each.latency_us * each.calls for each in told.kernels]
    assert totals == sorted(totals, reverse=True)
    assert [each.kernel for each in told.explained] == list(told.kernels)


def test_the_bound_is_the_tightest_resource_and_a_launch(told: Explanation) -> None:
    for each in told.explained:
        tightest = max((resource.least_us for resource in each.limits.resources), default=0.0)
        # Ops may share the units better than each on its faster one, never worse.
        assert each.kernel.bound_us <= tightest + each.limits.launch_us + 1e-9
        assert each.kernel.bound_us <= each.kernel.latency_us


def test_the_nest_loads_computes_and_stores_every_step(told: Explanation) -> None:
    for each in told.explained:
        text = [line.strip() for line in each.nest]
        assert any(line.startswith("load ") for line in text)
        assert text[-1].startswith("store ")
        for index, line in enumerate(each.nest):  # what is loaded stands before what reads it
            if line.strip().startswith("load "):
                name = line.split()[1].split("[")[0]
                after = each.nest[index + 1 :]
                assert any(f"({name}" in other or f", {name}" in other for other in after), line
        depths = {len(line) - len(line.lstrip()) for line in each.nest}
        assert sum(line.startswith("for ") for line in text) == len(depths) - 1


def test_the_runner_up_is_slower_and_differs(told: Explanation) -> None:
    others = [each for each in told.explained if each.runner_up is not None]
    assert others
    for each in others:
        assert each.runner_up is not None
        assert each.runner_up.latency_us >= each.kernel.latency_us * (1 - 1e-9)
        assert each.runner_up.knobs


def test_neighbours_are_told_from_both_sides(told: Explanation) -> None:
    names = {each.kernel.name for each in told.explained}
    pairs = [(each.kernel.name, other) for each in told.explained for other in each.neighbours]
    read = {(name, other.name) for name, other in pairs if other.reads_it}
    reading = {(other.name, name) for name, other in pairs if not other.reads_it}
    assert read == reading
    assert all(other in names for pair in read for other in pair)


def test_a_kernel_is_picked_by_number_name_or_digest(tuned: tuple[Path, Path], told: Explanation) -> None:
    path, database = tuned
    first = told.kernels[0]
    for wanted in ("0", first.name, first.workload_digest[:10]):
        (found,) = explain(path, TARGET, kernel=wanted, database=database).explained
        assert found.kernel == first
    with pytest.raises(UsageError, match=r"no kernel of .* is 'nothing like it'"):
        explain(path, TARGET, kernel="nothing like it", database=database)


def test_the_command_says_it_in_lines_and_in_json(
    tuned: tuple[Path, Path], told: Explanation, capsys: pytest.CaptureFixture[str]
) -> None:
    path, database = tuned
    asked = ["explain", str(path), "--target", TARGET, "--db", str(database)]
    assert main([*asked, "--kernel", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(told.kernels[0].name)
    assert {line.split()[0] for line in lines[1:] if line.startswith("  ") and line[2] != " "} >= {
        "nodes", "time", "bound", "engines", "tiles", "runner-up",
    }  # fmt: skip
    assert main([*asked, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["kernels"]] == [each.name for each in told.kernels]
