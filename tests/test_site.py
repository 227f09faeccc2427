"""The docs as a site: no warning, every link leads somewhere, and nothing comes from outside."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """Links, what is loaded, and places to link to, of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe", "link"):
            self.loaded += [given[name] for name in ("src", "href") if name in given]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", folder],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return folder


def test_every_link_leads_somewhere_and_nothing_comes_from_outside(site: Path) -> None:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 60
    wrong = []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            address, place = urldefrag(link)
            if urlsplit(address).scheme:
                if link in page.loaded and not link.startswith("data:"):
                    wrong.append(f"{path.name} loads {link}")
                continue
            there = (path.parent / unquote(urlsplit(address).path)).resolve() if address else path
            if not there.exists():
                wrong.append(f"{path.name}: {link}")
            elif place and there in pages and place not in pages[there].places:
                wrong.append(f"{path.name}: no place {link}")
    assert wrong == []


def test_the_reference_has_every_verb_and_every_name(site: Path) -> None:
    import tilewright
    from tilewright.api.cli.verbs import VERBS

    verbs = Page((site / "reference/cli.html").read_text(encoding="utf-8")).places
    assert {f"tune-{name}" for name in VERBS} <= verbs
    names = Page((site / "reference/python.html").read_text(encoding="utf-8")).places
    assert [name for name in tilewright.__all__ if not any(each.endswith(f".{name}") for each in names)] == []
