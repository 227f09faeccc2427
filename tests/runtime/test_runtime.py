"""The loader: light, and with one clear line for whatever does not fit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.conftest import Made
from tilewright.compiler_core.library.manifest import manifest_text
from tilewright.runtime import LibraryError, cpu, load

MUTANTS = 200


def test_it_needs_numpy_alone(built: Made) -> None:
    program = f"""
import sys
from tilewright.runtime import load
load({str(built.library)!r})
parts = {{name.partition(".")[0] for name in sys.modules}}
ours = {{name for name in sys.modules if name.startswith("tilewright")}}
print(*sorted(parts - set(sys.stdlib_module_names) - {{"__main__"}}))
print(*sorted(ours))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    packages, ours = done.stdout.splitlines()
    own = {name for name in packages.split() if not name.startswith(("__editable__", "_distutils_hack"))}
    assert own == {"numpy", "tilewright"}
    assert {name.split(".")[1] for name in ours.split() if "." in name} == {"runtime"}


def test_inputs_that_do_not_fit_are_one_line(built: Made) -> None:
    library, given = load(built.library), dict(built.inputs())
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"x": given["x"]}, "input shift: float32[8, 1, 1] is missing"),
        ({**given, "z": given["x"]}, "input 'z' is none of the network's: x: float32[1, 3, 12, 12], shift"),
        ({**given, "x": given["x"].astype(np.float64)}, "input x: float32[1, 3, 12, 12] is given as float64"),
        ({**given, "x": given["x"][0]}, "is given as float32[3, 12, 12]"),
        ({**given, "x": "text"}, "is given as"),
    )
    for wrong, line in cases:
        with pytest.raises(LibraryError) as caught:
            library.run(wrong)
        assert line in str(caught.value)
        assert "\n" not in str(caught.value)


def test_arrays_of_any_strides_are_taken(built: Made) -> None:
    library, given = load(built.library), dict(built.inputs())
    turned = {**given, "x": np.asfortranarray(given["x"])}
    assert library.run(turned)["y"].tobytes() == library.run(given)["y"].tobytes()


def test_another_cpu_is_told(built: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags : fpu sse2\n")
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    with pytest.raises(LibraryError, match="this CPU lacks "):
        load(built.library)
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(LibraryError, match="and this CPU is riscv64"):
        load(built.library)


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2", 4096])
def test_threads_are_a_count(built: Made, threads: object) -> None:
    with pytest.raises(LibraryError, match="1 to 1024 threads"):
        load(built.library, threads=threads)  # type: ignore[arg-type]


def test_mutated_libraries_are_refused_in_one_line(built: Made, tmp_path: Path) -> None:
    rng = random.Random(19)
    names = ["manifest.json", "network.so", "weights.bin"]
    whole = {name: (built.library / name).read_bytes() for name in names}
    accepted, lines = [], []
    for number in range(MUTANTS):
        name = names[number % 3]
        folder = tmp_path / str(number)
        folder.mkdir()
        for each in names:
            data = _mutated(whole[each], rng) if each == name else whole[each]
            (folder / each).write_bytes(data)
        try:
            load(folder)
        except LibraryError as error:
            lines.append(str(error))
        else:
            accepted.append((number, name))
    assert all("\n" not in line and len(line) < 400 for line in lines)
    assert not [name for _, name in accepted if name != "manifest.json"]
    facts = json.loads(whole["manifest.json"])
    for number, name in accepted:  # white space may be another
        assert json.loads((tmp_path / str(number) / name).read_text()) == facts


def _mutated(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + rng.randbytes(8) + data[at:]
    return data + b"\0"


def test_fields_that_lie_under_a_right_digest_are_refused(built: Made, tmp_path: Path) -> None:
    facts = json.loads((built.library / "manifest.json").read_text())
    del facts["digest"]
    changes: tuple[dict[str, Any], ...] = (
        {"memory": {"values_bytes": -1, "scratch_bytes": 64}},
        {"memory": {"values_bytes": 1 << 60, "scratch_bytes": 64}},
        {"memory": {"values_bytes": 1 << 47, "scratch_bytes": 64}},
        {"memory": []},
        {"inputs": [{"name": "x", "dtype": "object", "shape": [1]}]},
        {"inputs": [{"name": "x", "dtype": "float32", "shape": [1 << 30, 1 << 30]}]},
        {"inputs": "x"},
        {"files": {"network.so": {"bytes": 1, "sha256": "no"}}},
        {"machine": None},
        {"format": "tilewright library 1"},
    )
    for change in changes:
        for name in ("network.so", "weights.bin"):
            (tmp_path / name).write_bytes((built.library / name).read_bytes())
        (tmp_path / "manifest.json").write_text(manifest_text({**facts, **change}))
        with pytest.raises(LibraryError):
            load(tmp_path)


def test_a_manifest_signed_anew_does_not_fit_the_code(built: Made, tmp_path: Path) -> None:
    whole = json.loads((built.library / "manifest.json").read_text())
    del whole["digest"]
    for name in ("network.so", "weights.bin"):
        (tmp_path / name).write_bytes((built.library / name).read_bytes())
    rng = random.Random(23)
    for _ in range(MUTANTS):
        facts = json.loads(json.dumps(whole))
        _change_a_leaf(facts[rng.choice(["inputs", "outputs", "memory", "machine", "files"])], rng)
        (tmp_path / "manifest.json").write_text(manifest_text(facts))
        with pytest.raises(LibraryError) as told:
            load(tmp_path)
        assert "\n" not in str(told.value)
    (tmp_path / "manifest.json").write_text(manifest_text(whole))
    load(tmp_path)


def _change_a_leaf(part: Any, rng: random.Random) -> None:
    """Another number or word somewhere in a part of a manifest."""
    while True:
        keys = sorted(part) if isinstance(part, dict) else range(len(part))
        key = rng.choice([key for key in keys if part[key] != []])
        if isinstance(part[key], dict | list):
            part = part[key]
            continue
        part[key] = part[key] + rng.choice([1, 64, -1]) if isinstance(part[key], int) else f"{part[key]}x"
        return


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="No such file"):
        load(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(LibraryError, match="no manifest"):
        load(tmp_path)


def test_a_fork_has_threads_of_its_own(built: Made) -> None:
    network = load(built.library, threads=2)
    network.run(built.inputs())
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        network.run(built.inputs())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_fifo_is_not_waited_for(built: Made, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    shutil.copytree(built.library, folder)
    (folder / "weights.bin").unlink()
    os.mkfifo(folder / "weights.bin")
    with pytest.raises(LibraryError, match=r"weights\.bin"):
        load(folder)


@pytest.mark.parametrize("given", [None, [1.0], "x"])
def test_inputs_without_names_are_one_line(built: Made, given: Any) -> None:
    with pytest.raises(LibraryError, match="inputs are given by name"):
        load(built.library).run(given)
