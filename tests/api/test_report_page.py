"""The report as people see it, in a real browser: what is drawn, in light and dark, wide and narrow."""

import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.api.looks import look_at
from tests.api.test_browser import QUIET
from tests.onnx_models import saved, small_cnn
from tilewright.api.pages.drawn.graph import layout_of, network_svg
from tilewright.api.pages.drawn.svg import WIDTH, up
from tilewright.api.pages.drawn.sweep import sweep_svg
from tilewright.api.pages.drawn.timeline import timeline
from tilewright.api.pages.html_report import report
from tilewright.api.pages.story import Point, Tale
from tilewright.tuner.answer.report import Report
from tilewright.tuner.verbs.tune import tune

CHROMIUM = shutil.which("chromium")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM FOUND: the report was not looked at")


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
    look_at(page, scheme, width)


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
    answer = made[1]
    names = [group.name for group in answer.groups]
    titles = [boxes.nth(index).locator("title").text_content() or "" for index in range(len(names))]
    assert [title.split(":")[0] for title in titles] == names
    boxes.last.click()
    sheet = page.get_by_role("dialog")
    expect(sheet.get_by_role("heading")).to_have_text(names[-1])
    knobs = answer.kernels[-1].config.items()
    assert all(f"{knob}{value}" in "".join(sheet.text_content() or "") for knob, value in knobs)
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    expect(boxes.last).to_be_focused()
    page.keyboard.press("Enter")
    sheet.get_by_role("link", name="In the table").click()
    assert page.url.endswith(f"#kernel-{len(names) - 1}")
    row = page.locator("tr:target")
    assert names[-1] in (row.text_content() or "")
    before = page.get_by_role("table", name="Before and after")
    assert f"{made[1].default.latency_us:,.6g}" in (before.text_content() or "")


@in_a_browser
def test_the_graph_is_zoomed_and_moved(page: Page) -> None:
    frame, svg = page.locator("figure#network .frame"), page.locator("figure#network svg")

    def seen() -> list[float]:
        return [float(number) for number in (svg.get_attribute("viewBox") or "").split()]

    whole = seen()
    page.get_by_role("button", name="Zoom in").click()
    assert seen()[2] == pytest.approx(whole[2] / 1.3)
    frame.focus()
    page.keyboard.press("+")
    assert seen()[2] == pytest.approx(whole[2] / 1.69)
    page.keyboard.press("0")
    assert seen() == whole
    frame.hover()
    page.mouse.wheel(0, -300)  # it has the focus: a wheel zooms
    assert seen()[2] == pytest.approx(whole[2] / 2.718, rel=1e-3)
    before = seen()
    box = frame.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 30, steps=4)
    page.mouse.up()
    assert seen()[1] > before[1]
    expect(page.get_by_role("dialog")).to_have_count(0)  # a drag opens nothing


@in_a_browser
def test_the_search_is_drawn(page: Page) -> None:
    for name in ("Which knobs mattered", "Trials side by side", "Drafted and measured"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    told = page.locator("figure#trials desc").text_content() or ""
    lines = page.locator("figure#trials polyline").count()
    assert int(told.split()[0]) < lines  # a line a trial, and the axes
    assert "% were measured within 25 %" in (page.locator("figure#drafts desc").text_content() or "")


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


@in_a_browser
def test_the_timeline_names_stages_and_engines(page: Page, made: tuple[Path, Report]) -> None:
    figure = page.locator("figure#timeline")
    titles = [told or "" for told in figure.locator("g.labelled title").all_text_contents()]
    assert [title.split(": ")[1].split(",")[0] for title in titles] == [
        group.name for group in made[1].groups
    ]
    lanes = figure.locator("svg > text").all_text_contents()
    assert {"load", "matrix", "vector", "store"} <= set(lanes)
    told = figure.locator("desc").text_content() or ""
    busy = [int(number) for number in re.findall(r"(\d+)%", told)]
    assert len(busy) == 4
    assert all(0 <= number <= 100 for number in busy)


def test_a_timeline_of_an_earlier_version_shows_cores() -> None:
    stage = {"name": "Conv a", "start_us": 0.0, "end_us": 2.0, "macs": 1, "port_bytes": 1, "cores": 1}
    pictures = {"stages": [stage], "latency_us": 2.0, "target": {"cores": 2}}
    told = timeline(Tale((), None, pictures, ""))
    assert "cores 50%" in told


def test_logarithmic_ticks_are_round_and_several() -> None:
    assert up(39.0, 650.0, logarithmic=True).ticks == [50, 100, 200, 500]
    assert up(1.0, 1e6, logarithmic=True).ticks == [1, 10, 100, 1e3, 1e4, 1e5, 1e6]


def test_names_in_the_picture_of_a_sweep_stand_apart_and_inside() -> None:
    """Variants of nearly one area and latency wrote their names over each other."""
    rows: Any = [
        SimpleNamespace(
            label=f"l1_kib={kib}, cores={cores}",
            latency_us=3.29 - cores / 100,
            area_mm2=35.0 + 15 * cores + kib / 256,
            energy_uj=7.0,
            beaten=kib == 512,
        )
        for kib in (256, 512)
        for cores in (1, 2)
    ]
    found: Any = SimpleNamespace(rows=rows, base="chip", models=["m"])
    names = re.findall(
        r'<text x="([\d.]+)" y="[\d.]+" text-anchor="start"[^>]*>(l1_[^<]+)<', sweep_svg(found)
    )
    assert [name for _, name in names] == ["l1_kib=256, cores=1", "l1_kib=256, cores=2"]
    assert all(float(x) + 6 * len(name) < WIDTH for x, name in names)
