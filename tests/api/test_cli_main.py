"""The shell of `tune`: verbs load lazily, and every error has its exit code and its one line."""

import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import typer

from tilewright.api.cli import main as cli
from tilewright.api.cli.verbs import VERBS, verb_app
from tilewright.compiler_core.errors import DeviceError, ModelError, UsageError, VerifyError

RAISED = {
    "model": ModelError("model.onnx: node 'a\x1b[31mb'\nis malformed"),
    "usage": UsageError("--trials -1 is negative"),
    "verify": VerifyError("output 'y' differs"),
    "device": DeviceError("no worker answers"),
    "interrupt": KeyboardInterrupt(),
}


@pytest.fixture(autouse=True)
def fake_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb `fail` beside the real ones, whose module exists only for the test."""
    app = verb_app()

    @app.command()
    def fail(error: str, miss: bool = False) -> int | None:
        if miss:
            return 3
        if error == "exit":
            raise typer.Exit(3)
        if error in RAISED:
            raise RAISED[error]
        return None

    monkeypatch.setitem(VERBS, "fail", "Fail on request.")
    monkeypatch.setitem(sys.modules, "tilewright.api.cli.fail", SimpleNamespace(app=app))


@pytest.mark.parametrize(
    ("arguments", "exit_code", "line"),
    [
        (["fail", "model"], 2, r"tune: model.onnx: node 'a\x1b[31mb' is malformed"),
        (["fail", "usage"], 2, "tune: --trials -1 is negative"),
        (["fail", "verify"], 1, "tune: output 'y' differs"),
        (["fail", "device"], 1, "tune: no worker answers"),
        (["fail"], 2, "tune fail: Missing argument 'error'. (see tune fail --help)"),
        (["fail", "x", "--nope"], 2, "tune fail: No such option: --nope (see tune fail --help)"),
        (["fial"], 2, "tune: No such command 'fial'. Did you mean 'fail'? (see tune --help)"),
        ([], 2, "tune: Missing command. (see tune --help)"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], exit_code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == exit_code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == line + "\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["nothing"], 0), (["x", "--miss"], 3), (["exit"], 3), (["interrupt"], 130)],
)
def test_exit_codes(arguments: list[str], exit_code: int) -> None:
    assert cli.main(["fail", *arguments]) == exit_code


def test_a_bug_keeps_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RAISED, "bug", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["fail", "bug"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tilewright {version('tilewright')}\n"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb, help_line in VERBS.items():
        assert f"  {verb} " in shown
        assert help_line.split()[0] in shown


def test_help_imports_nothing_heavy() -> None:
    program = """
import sys
from tilewright.api.cli.main import main
main(["--help"])
heavy = {"fastapi", "numba", "numpy", "onnx", "optuna", "pydantic", "ray", "rich", "sqlalchemy", "xgboost"}
print(*sorted(heavy & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        assert cli.main([verb, "--help"]) == 0
        assert f"tune {verb}" in capsys.readouterr().out
