"""Rules of the house that the linters cannot see."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("api", "compiler_core", "cost_model", "db", "measure", "search_space", "tuner")


def test_db_loads_no_tuning_machinery() -> None:
    modules = [
        ".".join(["tilewright", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
        for path in sorted((ROOT / "db").rglob("*.py"))
        if "migrations" not in path.parts
    ]
    program = f"""
import importlib, sys
for module in {modules!r}:
    importlib.import_module(module)
print(*sorted({{"numba", "optuna", "ray", "xgboost"}} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", PACKAGES)
def test_package_files_hold_a_docstring_and_nothing_else(package: str) -> None:
    for path in (ROOT / package).rglob("__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, f"{path} holds more than a docstring"
        assert isinstance(body[0], ast.Expr), f"{path} holds no docstring"


def test_lock_names_no_place_and_no_needless_library() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = [line.split("==")[0] for line in lines if line and not line.startswith((" ", "#"))]
    assert "nvidia-nccl-cu12" not in pinned
    assert pinned == sorted(pinned)
    assert not [line for line in lines if "://" in line or line.startswith("-")]


def test_the_installed_command_is_ours() -> None:
    """Ray ships a command of the same name; the one installed last wins."""
    script = Path(sys.executable).with_name("tune").read_text(encoding="utf-8")
    assert "from tilewright.api.cli.main import main" in script


def test_one_class_a_name() -> None:
    """A reader who meets a name need not ask which of two classes it is."""
    homes: dict[str, list[str]] = {}
    for package in (*PACKAGES, "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}
