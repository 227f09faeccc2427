"""Every command in the README and the docs is understood; those for one's own network are run, in order."""

import re
import shlex
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from tests.onnx_models import saved, small_cnn
from tests.test_docs import DOCS, ROOT, told
from tilewright.api.cli.main import main
from tilewright.api.cli.verbs import VERBS
from tilewright.compiler_core.target_model.file import target_text

SYNTAX = re.compile(r"[\[\]|…]|\.\.\.|^\w+,|\bVERB\b|\bNAME\|")
"""Signs of a line that shows what may be written, not what to write."""
RUN_PAGES = ["README.md", "docs/guide/start.md", "docs/guide/lookup.md", "docs/guide/samplers.md"]
NEEDS_MORE = re.compile(
    r"--dim|--ray|--device|target host|\b(serve|worker|submit|watch|space|sweep|runner)\b"
)
"""Lines that need an open size, a farm, a board, this CPU or a server; others' tests run those."""


def commands(text: str) -> Iterator[list[str]]:
    """The `tune` lines of a page without their explanations, as words after `tune`."""
    blocks = re.findall(r"^(?: {4}|\$ )(?:\$ )?tune (.+)$", text, re.MULTILINE)
    for line in [*blocks, *re.findall(r"`tune ([^`\n]+)`", text)]:
        command = re.split(r"\s{2,}|\s+#|\s+(?:>>?|\|) ", line)[0].replace("\\|", "|").strip()
        if not SYNTAX.search(re.sub(r"\d+\.\.\d+|\bLO\.\.HI\b", "1", command)):
            yield shlex.split(command)


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_understood(path: Path) -> None:
    for words in commands(told(path)):
        verb, *rest = words
        if verb.startswith("-") or not rest:
            continue
        assert verb in VERBS, words
        command: Any = get_command(import_module(f"tilewright.api.cli.{verb}").app)
        members = getattr(command, "commands", {})
        if members:
            assert rest[0] in members, words
            command, rest = members[rest[0]], rest[1:]
        if complete(rest):
            assert not (wrong := wrongly(command, rest)), (words, wrong)


def wrongly(command: Any, words: list[str]) -> str:
    """Why a command is not understood; a file that a reader has and we have not is no reason."""
    try:
        command.make_context("tune", words)
    except typer.TyperException as error:
        message = error.format_message()
        return "" if "does not exist" in message else message
    return ""


def complete(rest: list[str]) -> bool:
    """Whether a line is one to be typed, not the name of a verb with the option in question."""
    return bool(rest) and not rest[0].startswith("--") and "--help" not in rest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reader")
    shutil.copy(saved(small_cnn(), made), made / "a.onnx")
    (made / "my_chip.toml").write_text(target_text("ascend310"))
    return made


def test_a_reader_can_type_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    typed = [words for page in RUN_PAGES for words in commands(told(ROOT / page))]
    lines = dict.fromkeys(" ".join(words) for words in typed if len(words) > 1)
    ran = []
    for line in lines:
        if NEEDS_MORE.search(line) or not complete(line.split()[1:]):
            continue
        line = re.sub(
            r"--trials \d+",
            "--trials 8",
            line.replace("MODEL.onnx", "model.onnx").replace("NAME", "ascend910"),
        )
        line = line.replace("light_resnet50.onnx", "model.onnx").replace("--sampler tpe", "--seed 0")
        words = shlex.split(line) + ["--ray", "none"] * line.startswith("run ")
        assert main(words) == 0, line
        ran.append(words[0])
    assert {"run", "lookup", "compile", "report", "explain", "verify", "targets", "db"} <= set(ran)
