"""`import tilewright`: light, complete, typed; and the wheel that carries it."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tilewright
from tests.onnx_models import saved, two_parts

ROOT = Path(__file__).parents[1]
CLIENT = """
import sys

import tilewright as tw

trials = int(sys.argv[1])
level = 2 if trials else 0
report: tw.Report = tw.tune("model.onnx", target="ascend310", level=level, trials=trials, ray="none")
assert report.speedup >= 1.0
if trials:
    answer: tw.NetworkAnswer = tw.lookup("model.onnx", target="ascend310")
    assert answer.complete
    verdict: tw.Verdict = tw.verify("model.onnx", target="ascend310")
    assert verdict.ok
    tw.report("model.onnx", target="ascend310").save("report.html")
name: str = tw.load_target("ascend310").name
print(name, round(report.tuned.latency_us, 3))
"""


def test_all_names_are_there() -> None:
    for name in tilewright.__all__:
        assert getattr(tilewright, name).__doc__, name
    assert dir(tilewright) == sorted(tilewright.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        tilewright.nothing_like_it  # noqa: B018 - the error of a name that is not there


def test_types_and_names_agree() -> None:
    """Type checkers read the imports, Python the table: both hold the same names."""
    tree = ast.parse(Path(tilewright.__file__).read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname or alias.name
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(tilewright.__all__)


def test_the_import_loads_nothing_else() -> None:
    heavy = {"numpy", "onnx", "ray", "sqlalchemy"}
    program = f"import sys, tilewright; print(*sorted({heavy!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


def test_a_lookup_loads_no_compiler_and_no_tuner(tmp_path: Path) -> None:
    model, records = saved(two_parts(), tmp_path), tmp_path / "records.db"
    settings = f"{str(model)!r}, target='ascend310', database={str(records)!r}"
    tilewright.tune(model, target="ascend310", database=records, trials=8, ray="none")
    program = f"""
import sys, tilewright
answer = tilewright.lookup({settings})
assert answer.complete and all(kernel.hit for kernel in answer.kernels)
heavy = {{"llvmlite", "matplotlib", "numba", "onnxruntime", "optuna", "ray", "scipy", "xgboost"}}
simulator = {{name for name in sys.modules if name.startswith("tilewright.measure.simulator")}}
print(*sorted(heavy & sys.modules.keys() | simulator))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installed wheel puts into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    # A build leaves a folder behind, which the next one would pack again.
    unused = shutil.ignore_patterns(".*", "build", "dist", "tests", "benchmarks", "__pycache__", "*.db")
    shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=unused)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", folder, folder / "source"], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_one_package(site: Path) -> None:
    names = sorted(path.name for path in site.iterdir())
    assert names == ["tilewright", f"tilewright-{tilewright.__version__}.dist-info"]
    for needed in ("py.typed", "compiler_core/targets/ascend910.toml", "db/migrations/script.py.mako"):
        assert (site / "tilewright" / needed).is_file(), needed
    ours = {path.relative_to(site) for path in (site / "tilewright").rglob("*.py")}
    packages = [path for path in (ROOT / "tilewright").iterdir() if path.is_dir() and path.is_symlink()]
    there = {
        Path("tilewright", path.name, each.relative_to(path.resolve()))
        for path in packages
        for each in path.resolve().rglob("*.py")
    }
    assert ours - {Path("tilewright/__init__.py")} == there


@pytest.mark.parametrize(
    "trials",
    # What numba compiles for a new folder takes half a minute of a quiet processor.
    ["0", pytest.param("4", marks=pytest.mark.campaign)],
)
def test_a_client_works_beside_folders_of_the_same_names(site: Path, tmp_path: Path, trials: str) -> None:
    saved(two_parts(), tmp_path)
    for name in ("api", "db", "measure", "tuner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not the package you want')\n")
    (tmp_path / "client.py").write_text(CLIENT)
    said = _run(site, tmp_path, "client.py", trials)
    assert said.startswith("ascend310 ")
    _run(site, tmp_path, "-m", "tilewright.api.cli.main", "--help")


def test_a_client_is_typed(site: Path, tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT)
    shallow = ("--follow-imports", "silent", "--cache-dir", str(tmp_path / "cache"))
    _run(site, tmp_path, "-m", "mypy", "--strict", *shallow, "client.py")


def _run(site: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(site), "MYPYPATH": str(site), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
