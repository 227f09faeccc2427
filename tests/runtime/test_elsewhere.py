"""Libraries for another CPU: built here, run under qemu."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.compiler_core.codegen.aarch64_process import run_library_under
from tests.runtime.conftest import Made
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.measure.host.detect import MeasuredCore, core_text
from tilewright.runtime import LibraryError, load

NEOVERSE = Machine("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+dotprod", 128, 32)


def target_file(folder: Path, code: str) -> Path:
    """A CPU with 128-bit vectors that is called so."""
    text = core_text(NEOVERSE, MeasuredCore(3000.0, 2, 4, (64.0, 32.0), 10.0))
    kept = [line for line in text.splitlines() if not line.startswith(("identity", "code"))]
    kept.insert(1, f'code = "{code}"')
    path = folder / "other.toml"
    path.write_text("\n".join(kept).replace('name = "host"', 'name = "other"'))
    return path


@pytest.mark.usefixtures("by_default")
def test_a_library_for_aarch64_computes_the_same_numbers(made: Made, built: Made, tmp_path: Path) -> None:
    target = target_file(tmp_path, "aarch64-unknown-linux-gnu neoverse-n1 +neon +dotprod")
    other = Made(made.model, target, made.database, tmp_path / "arm")
    assert other.build() == 0
    facts = json.loads((other.library / "manifest.json").read_text())
    assert facts["machine"] == {
        "architecture": "aarch64",
        "cpu": "neoverse-n1",
        "features": ["asimd", "asimddp"],
    }
    assert "not run on its CPU" in facts["verification"]["rule"]
    with pytest.raises(LibraryError, match="the library is for aarch64"):
        load(other.library)
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("qemu-aarch64 is missing: package qemu-user-static")
    named = made.inputs()
    wanted = load(built.library).run(named)
    memory = facts["memory"]
    got = run_library_under(
        qemu,
        tmp_path,
        (other.library / "network.so").read_bytes(),
        memory["values_bytes"] + memory["scratch_bytes"],
        (other.library / "weights.bin").read_bytes(),
        [named[each["name"]].tobytes() for each in facts["inputs"]],
        [wanted[each["name"]].nbytes for each in facts["outputs"]],
    )
    for (name, array), data in zip(wanted.items(), got, strict=True):
        found = np.frombuffer(data, array.dtype).reshape(array.shape)
        assert np.abs(found - array).max() <= 2e-6 * np.abs(array).max(), name


@pytest.mark.parametrize(
    "code",
    [
        "sparc-sun-solaris ultra",
        "aarch64-unknown-linux-gnu a72\\nret +neon",
        "aarch64",
        "x86_64-linux a +b;c",
    ],
)
def test_a_cpu_that_is_none_is_one_line(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    other = Made(made.model, target_file(tmp_path, code), made.database, tmp_path / "no")
    assert other.build() == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
