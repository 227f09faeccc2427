"""One version, wherever somebody reads it: pyproject.toml, the package, the command and the changelog."""

import re
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest

import tilewright
from tilewright.api.cli import main as cli

ROOT = Path(__file__).parents[1]


def _declared() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _headings() -> list[str]:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def test_package_and_command_have_the_declared_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert version("tilewright") == _declared()
    assert tilewright.__version__ == _declared()
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tilewright {_declared()}\n"


def test_the_changelog_begins_with_what_is_unreleased_and_then_has_the_declared_version() -> None:
    unreleased, newest, *_ = _headings()
    assert unreleased == "[Unreleased]"
    found = re.fullmatch(r"\[(.+)\] - (\d{4}-\d{2}-\d{2})", newest)
    assert found is not None, newest
    assert found[1] == _declared()
    assert date.fromisoformat(found[2]).isoformat() == found[2]
