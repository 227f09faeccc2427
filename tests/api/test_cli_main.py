"""The shell of `tune`: verbs load lazily, and every error has its exit code and its one line."""

import importlib
import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from onnx import TensorProto, numpy_helper
from typer.main import get_command

from tests.onnx_models import model, node, saved, value
from tilewright.api.cli import main as cli
from tilewright.api.cli.members import MEMBERS
from tilewright.api.cli.options import files_of, write_json
from tilewright.api.cli.verbs import GROUPS, VERBS, Verb, verb_app
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

    monkeypatch.setitem(VERBS, "fail", Verb("bench", "Fail on request.", ("fail nothing", "fail x --miss")))
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
    for name, verb in VERBS.items():
        assert any(line.split(None, 1) == [name, verb.help] for line in shown.splitlines()), name
    headings = [line.removesuffix(":") for line in shown.splitlines() if line.endswith(":")]
    assert headings[1:] == list(GROUPS.values())


def test_tune_alone_says_what_to_do_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    steps = [line.split()[1] for line in printed.out.splitlines() if line.startswith("  tune ")]
    assert "run" in steps
    assert set(steps) <= set(VERBS)


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


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_by_two_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"tune {verb}" in shown
    command = get_command(importlib.import_module(f"tilewright.api.cli.{verb}").app)
    for example in VERBS[verb].examples:
        assert f"  tune {example}\n" in shown
        words = shlex.split(example.split(" > ")[0].split(" >> ")[0])
        assert words[0] == verb
        if "--help" not in words:
            understood(command, words)


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_of_a_family_explains_itself_by_two_examples(
    member: str, capsys: pytest.CaptureFixture[str]
) -> None:
    family, name = member.split()
    assert cli.main([family, name, "--help"]) == 0
    shown = capsys.readouterr().out
    command: Any = get_command(importlib.import_module(f"tilewright.api.cli.{family}").app)
    options = {option for param in command.commands[name].params for option in param.opts}
    for example in MEMBERS[member]:
        assert f"  tune {example}\n" in shown
        words = shlex.split(example.split(" > ")[0])
        assert words[:2] == [family, name]
        assert {word for word in words if word.startswith("-") and word != "-"} <= options


def test_every_member_of_a_family_has_examples() -> None:
    families = {
        verb: get_command(importlib.import_module(f"tilewright.api.cli.{verb}").app) for verb in VERBS
    }
    members = {
        f"{verb} {member}" for verb, each in families.items() for member in getattr(each, "commands", ())
    }
    assert members == set(MEMBERS)


def understood(command: Any, words: list[str]) -> None:
    """Parse a command line as it would be, and run nothing."""
    with command.make_context(words[0], words[1:]) as context:
        while hasattr(command, "commands"):
            words = [*context._protected_args, *context.args]
            command = command.commands[words[0]]
            context = command.make_context(words[0], words[1:], parent=context)


NO_ANSWER = {"serve", "runner", "worker", "completion", "targets detect"}
"""What runs until it is stopped, or prints a file."""


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in NO_ANSWER])
def test_json_means_the_same_on_every_verb(verb: str) -> None:
    command = get_command(importlib.import_module(f"tilewright.api.cli.{verb}").app)
    inner = getattr(command, "commands", {})
    for name, each in inner.items() if inner else [("", command)]:
        if f"{verb} {name}" in NO_ANSWER:
            continue
        options: list[Any] = [option for option in each.params if "--json" in option.opts]
        assert [(option.metavar, option.help, option.is_flag) for option in options] == [
            (None, "Write the answer as JSON to this file; - is standard output.", False)
        ], f"tune {verb} {name}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_verbs_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "_TUNE_COMPLETE" in capsys.readouterr().out


def test_completion_knows_the_options_of_a_verb() -> None:
    program = "from tilewright.api.cli.main import main; main()"
    asked = {"_TUNE_COMPLETE": "complete_bash", "COMP_WORDS": "tune explain --ker", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **asked}
    )
    assert done.stdout.split() == ["--kernel"]


def test_files_that_belong_to_inputs_are_kept_too(tmp_path: Path) -> None:
    """`tune compile model.onnx -o weights.bin` overwrote the model's weights, `-o tuning.db-wal` a log."""
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    made = model([node("Add", "x w", "y")], [value("x", [4])], ["y"])
    made.graph.initializer.append(tensor)
    path = saved(made, tmp_path)
    for name in ("weights.bin", "tuning.db-wal"):
        (tmp_path / name).write_bytes(bytes(16))
        with pytest.raises(UsageError, match="is an input of the command"):
            write_json({}, str(tmp_path / name), files_of(path, None, str(tmp_path / "tuning.db")))
    write_json({}, str(tmp_path / "other.json"), files_of(path, tmp_path / "none.onnx"))
