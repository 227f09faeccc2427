"""The report as people see it, in a real browser: what is drawn, in light and dark, wide and narrow."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.api.test_browser import QUIET
from tests.onnx_models import saved, small_cnn
from tilewright.api.pages.graph import layout_of, network_svg
from tilewright.api.pages.html_report import report
from tilewright.api.pages.story import Point, Tale
from tilewright.tuner.answer.report import Report
from tilewright.tuner.verbs.tune import tune

CHROMIUM = shutil.which("chromium")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM FOUND: the report was not looked at")
AA = 4.5
"""Least contrast of text (WCAG 2.2, 1.4.3)."""
CONTRASTS = """() => {
  const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = rgb => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    const box = element.closest('.network a')?.querySelector('rect');
    if (box) return numbers(getComputedStyle(box).fill);
    for (let at = element; at; at = at.parentElement) {
      const rgb = numbers(getComputedStyle(at).backgroundColor);
      if (rgb.length === 3 || rgb[3] > 0) return rgb;
    }
    return numbers(getComputedStyle(document.documentElement).backgroundColor);
  };
  const found = [];
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('title, desc, .unseen, style')) continue;
    const style = getComputedStyle(element);
    const ink = numbers(element.closest('svg') ? style.fill : style.color);
    const [high, low] = [light(ink), light(behind(element))].sort((a, b) => b - a);
    found.push([walker.currentNode.data.trim().slice(0, 40), (high + 0.05) / (low + 0.05)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A report on a small network that was tuned, and the answer of the run."""
    folder = tmp_path_factory.mktemp("report")
    path = saved(small_cnn(), folder)
    answer = tune(path, "ethos_u55_128", trials=48, database=folder / "t.db", ray="none")
    report(path, "ethos_u55_128", database=folder / "t.db").save(folder / "report.html")
    return folder / "report.html", answer


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, made: tuple[Path, Report]) -> Iterator[Page]:
    page = browser.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on(
        "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url)
    )
    page.goto(made[0].as_uri())
    yield page
    page.close()
    assert not wrong


@in_a_browser
@pytest.mark.parametrize(("scheme", "width"), [*itertools.product(("light", "dark"), (1280, 390))])
def test_text_can_be_read_and_nothing_hangs_over(page: Page, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    found = page.evaluate(CONTRASTS)
    assert len(found) > 50
    assert [each for each in found if each[1] < AA] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")


@in_a_browser
def test_the_curve_falls_from_the_default_to_the_answer(page: Page, made: tuple[Path, Report]) -> None:
    figure = page.locator("figure#convergence")
    points = figure.locator("polyline").last.get_attribute("points") or ""
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights == sorted(heights)  # down the page is faster
    told = figure.locator("desc").text_content() or ""
    answer = made[1]
    assert told.startswith(f"From {answer.default.latency_us:.6g} us to {answer.tuned.latency_us:.6g} us")
    assert "the bound is" in told
    assert "the budget of trials is spent" in told


@in_a_browser
def test_a_kernel_of_the_graph_leads_to_its_row(page: Page, made: tuple[Path, Report]) -> None:
    boxes = page.locator("figure#network a")
    assert boxes.count() == len(made[1].groups)
    names = [group.name for group in made[1].groups]
    titles = [boxes.nth(index).locator("title").text_content() or "" for index in range(len(names))]
    assert [title.split(":")[0] for title in titles] == names
    boxes.last.click()
    assert page.url.endswith(f"#kernel-{len(names) - 1}")
    row = page.locator("tr:target")
    assert names[-1] in (row.text_content() or "")
    before = page.get_by_role("table", name="Before and after")
    assert f"{made[1].default.latency_us:,.6g}" in (before.text_content() or "")


def test_the_curve_never_rises_and_ends_at_what_was_published() -> None:
    points = tuple(Point(trials, best, 1.0) for trials, best in ((8, 9.0), (16, 4.0), (24, 5.0), (32, 3.9)))
    result = {"objective": "latency", "default": {"latency_us": 10.0}, "tuned": {"latency_us": 4.2}}
    curve = Tale(points, result, {}, "").curve
    assert curve == [(0, 10.0), (8, 9.0), (16, 4.2), (24, 4.2), (32, 4.2)]
    assert Tale(points[:2], None, {}, "").curve == [(8, 9.0), (16, 4.0)]


def test_names_are_escaped_in_pictures() -> None:
    name = '<script>&"</svg>'
    kernel = {"name": name, "nodes": [name], "stage": 0, "us": 2.0, "host": False}
    root = ElementTree.fromstring(network_svg({"kernels": [kernel], "edges": []}))
    link = root.find("{http://www.w3.org/2000/svg}a")
    assert link is not None
    assert link.attrib["aria-label"].startswith(name)
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_rows_follow_the_data_and_no_two_boxes_share_a_place() -> None:
    edges = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)]
    layout = layout_of(4, edges)
    assert all(layout.rows[a] < layout.rows[b] for a, b in edges)
    assert len(set(zip(layout.columns, layout.rows, strict=True))) == 4
