"""`tune build`: the library computes what the Program computes, and nothing is published that does not."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.onnx_models import model, node, reals, saved, value
from tests.runtime.conftest import Made, unsearched
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.codegen.run import run_program
from tilewright.runtime import load
from tilewright.search_space.blocking import blocking_of
from tilewright.tuner.verbs import build as module

FILES = {"network.so", "weights.bin", "manifest.json", "tilewright_net.h", "example.c"}


def test_the_library_computes_bit_for_bit_what_kernels_compute_in_this_process(built: Made) -> None:
    compiled = unsearched(built.model, built.target, database=built.database)
    choices, plan = compiled.assignment.choices, compiled.assignment.plan
    blockings = {
        digest: chosen
        for digest, regions in plan.regions.items()
        if (chosen := blocking_of(choices[digest].config, regions)) is not None
    }
    named = built.inputs()
    arrays = {at: named[name] for name, at in compiled.opened.model.inputs}
    stored = run_program(compiled.graph, compiled.program, arrays, host_machine(), blockings)
    compiled.close()
    got = load(built.library).run(named)
    for name, at in compiled.opened.model.outputs:
        wanted = stored[at] if at in stored else arrays[at]
        assert got[name].tobytes() == wanted.tobytes(), name


def test_the_library_computes_what_onnxruntime_computes(built: Made) -> None:
    library, session = load(built.library), onnxruntime.InferenceSession(built.model)
    for seed in range(3):
        wanted = session.run(None, dict(built.inputs(seed)))
        got = library.run(built.inputs(seed))
        assert [*got] == ["y", "s", "again", "given"]
        for array, other in zip(got.values(), wanted, strict=True):
            assert np.abs(array - other).max() <= 1e-5 * np.abs(other).max()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_the_work_and_change_no_bit(built: Made, threads: int) -> None:
    alone, together = load(built.library), load(built.library, threads=threads)
    for seed in range(3):
        wanted, got = alone.run(built.inputs(seed)), together.run(built.inputs(seed))
        assert all(got[name].tobytes() == array.tobytes() for name, array in wanted.items())


def test_an_arena_is_smaller_than_its_values_and_a_run_leaves_nothing_behind(built: Made) -> None:
    library = load(built.library)
    first = library.run(built.inputs(1))
    library.run(built.inputs(2))
    again = library.run(built.inputs(1))
    assert all(again[name].tobytes() == array.tobytes() for name, array in first.items())


def test_the_manifest_tells_where_it_came_from(built: Made) -> None:
    facts = json.loads((built.library / "manifest.json").read_text())
    assert {path.name for path in built.library.iterdir()} == FILES
    assert facts["inputs"][0] == {"name": "x", "dtype": "float32", "shape": [1, 3, 12, 12]}
    assert facts["provenance"]["target"]["name"] == "host"
    assert 0.0 < facts["verification"]["share"] <= 1.0
    assert facts["files"]["network.so"]["bytes"] == (built.library / "network.so").stat().st_size


@pytest.mark.usefixtures("by_default")
def test_what_is_wrong_is_not_published(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = module.run_apart

    def lying(*given: object) -> object:
        outputs = honest(*given)  # type: ignore[arg-type]
        outputs[0].flat[3] += 0.001
        return outputs

    monkeypatch.setattr(module, "run_apart", lying)
    assert made.build(output=tmp_path / "lie") == 1
    told = capsys.readouterr().err.splitlines()
    assert "output y of the library is not what" in told[-1]
    assert not (tmp_path / "lie").exists()


@pytest.mark.usefixtures("by_default")
def test_what_cannot_be_built_is_one_line(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert made.build("--require", "verified", output=tmp_path / "no") == 3
    assert "kernels are guesses" in capsys.readouterr().err
    assert made.build("--require", "perhaps", output=tmp_path / "no") == 2
    assert made.build(output=made.model) == 2
    assert "is no folder" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("by_default")
def test_a_target_that_is_no_cpu_is_refused(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Made(made.model, Path("ascend910"), made.database, tmp_path / "no")
    assert other.build() == 2
    assert "--target host" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "no").exists()


@pytest.mark.usefixtures("by_default")
def test_a_network_without_kernels_is_a_library_of_copies(made: Made, tmp_path: Path) -> None:
    nodes = [node("Identity", "x", "y"), node("Identity", "c", "z")]
    plain = model(nodes, [value("x", [3]), value("spare", [2])], ["y", "z"], {"c": reals(1, 5)})
    copies = Made(saved(plain, tmp_path), made.target, made.database, tmp_path / "copies")
    assert copies.build() == 0
    x = np.arange(3, dtype=np.float32)
    got = load(tmp_path / "copies").run({"x": x, "spare": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(got["y"], x)
    np.testing.assert_array_equal(got["z"], reals(1, 5))


def test_the_example_in_c_runs_it(built: Made, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    folder = tmp_path / "copy"
    shutil.copytree(built.library, folder)
    command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "example.c", "network.so", "-Wl,-rpath,$ORIGIN"]
    subprocess.run([*command, "-o", "example"], cwd=folder, check=True)
    for name, array in built.inputs().items():
        (folder / name).write_bytes(array.tobytes())
    done = subprocess.run(["./example", "x", "shift"], cwd=folder, check=True, capture_output=True)
    outputs = load(built.library).run(built.inputs())
    assert done.stdout == b"".join(array.tobytes() for array in outputs.values())


def test_a_linker_and_its_tools_know_the_file(built: Made) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("readelf is missing")
    command = ["readelf", "--wide", "--all", str(built.library / "network.so")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert "R E" in done.stdout
    assert "RWE" not in done.stdout
    assert " net\n" in done.stdout
