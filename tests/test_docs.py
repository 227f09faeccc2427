"""What the docs name is there: files, imports, links, verbs of `tune` with their options, routes."""

import re
import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tilewright.api.app import create_app
from tilewright.api.cli.verbs import VERBS
from tilewright.api.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "decisions"),
]
OWN_WORDS = re.compile(r"--(?:grpc|no-emit)\S*")


def told(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_modules_and_files_are_there(path: Path) -> None:
    files = {str(each.relative_to(ROOT)) for each in ROOT.rglob("*.py") if ".venv" not in each.parts}
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.py)\b", told(path))
    assert not [each for each in named if not any(f"/{file}".endswith(f"/{each}") for file in files)]
    for module, names in re.findall(r"^ *from (tilewright[\w.]*) import ([\w, ]+)", told(path), re.MULTILINE):
        assert not [name for name in names.split(", ") if not hasattr(import_module(module), name)]
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", told(path)) if not link.startswith("http")]
    assert not [link for link in links if not (path.parent / link).exists()]


def test_links_to_a_section_name_a_heading() -> None:
    dead = []
    for path in DOCS:
        for link in re.findall(r"\]\(([^)]*#[^)]+)\)", told(path)):
            page, _, section = link.partition("#")
            if not page.startswith("http"):
                headings = re.findall(r"^#+ (.*)$", told(path.parent / page if page else path), re.MULTILINE)
                if section not in {slug(heading) for heading in headings}:
                    dead.append((path.name, link))
    assert dead == []


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_verbs_have_the_options_that_docs_give_them(path: Path) -> None:
    unknown = []
    for line in re.findall(r"\btune ([a-z]+(?: [a-z]+)?)\b([^`\n]*)", told(path)):
        verb, options = line[0].split(), re.findall(r"(?<!\S)\[?(--?[a-zA-Z][\w-]*)", line[1])
        if verb[0] in VERBS and options:
            have = _options(*verb)
            named = ["-O" if re.fullmatch(r"-O\d", each) else each for each in options]
            unknown += [(" ".join(verb), each) for each in named if each not in have]
    assert not unknown


def _options(verb: str, part: str = "") -> set[str]:
    """Every option of a verb; of a family's member where one is named."""
    command: Any = get_command(import_module(f"tilewright.api.cli.{verb}").app)
    members = getattr(command, "commands", {})
    commands = [members[part]] if part in members else [command, *members.values()]
    given = {
        name for each in commands for param in each.params for name in (*param.opts, *param.secondary_opts)
    }
    return given | {"--help"}


def test_the_service_page_names_every_route(tmp_path: Path) -> None:
    app = create_app(Settings(database=str(tmp_path / "any.db")))
    named = re.findall(r"(/[\w./{}-]+)", told(ROOT / "docs" / "service.md"))
    shapes = {re.sub(r"\{\w+\}", "{}", route) for route in named}
    assert not [path for path in app.openapi()["paths"] if re.sub(r"\{\w+\}", "{}", path) not in shapes]


def test_the_drawing_of_the_architecture_is_the_one_that_its_script_draws() -> None:
    picture = ROOT / "docs" / "pictures" / "architecture.svg"
    draw = runpy.run_path(str(picture.with_suffix(".py")))["drawing"]
    assert told(picture) == draw(), f"run python {picture.with_suffix('.py').relative_to(ROOT)}"
    assert "prefers-color-scheme: dark" in told(picture)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    boxes = {
        name
        for said in re.findall(r'class="small [a-z_]+">([^<]+)<', told(picture))
        for name in said.split(", ")
    }
    assert boxes - {"yours"} == packages - {"tests", "benchmarks", "tilewright"}
