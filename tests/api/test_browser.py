"""The dashboard as people use it, in a real Chromium."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.api.looks import look_at
from tests.api.service import model_bytes, whole_service
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.service.job_rows import About
from tilewright.db.service.jobs import Jobs
from tilewright.db.storage.session import Database
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.request import TuneRequest

CHROMIUM = shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO CHROMIUM FOUND: the dashboard was not tested; install chromium"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Database]]:
    with whole_service(tmp_path_factory.mktemp("browser"), pause_s=0.3) as service:
        yield service


@pytest.fixture
def page(browser: Browser, served: tuple[str, Database]) -> Iterator[Page]:
    """A page that fails its test over any error in the console and any request to somewhere else."""
    page = browser.new_page(base_url=served[0])
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith((served[0], "data:")) else wrong.append(request.url),
    )
    yield page
    page.close()
    assert not wrong


def submit(page: Page, model: Path, name: str, trials: int) -> None:
    page.goto("/submit")
    model = model / f"{name}.onnx"
    model.write_bytes(model_bytes())
    page.get_by_label("Model").set_input_files(model)
    page.get_by_label("Target", exact=True).select_option("ascend310")
    page.get_by_label("Trials at most").fill(str(trials))
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_submit_watch_and_read(page: Page, tmp_path: Path) -> None:
    submit(page, tmp_path, "watched", 16)
    status = page.get_by_role("status")
    expect(status).to_contain_text("running", timeout=20_000)
    expect(page.locator("figure#convergence svg")).to_be_visible(timeout=20_000)
    expect(status).to_contain_text("succeeded", timeout=20_000)  # without anybody loading the page again
    expect(status).to_contain_text("the budget of trials is spent")
    for name in ("Convergence", "Kernels", "Roofline", "Timeline", "Memory"):
        expect(page.get_by_role("figure", name=name)).to_be_visible()
    expect(page.get_by_role("img", name="Convergence")).to_be_visible()
    expect(page.get_by_role("cell", name="contract + <relu>", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel this job")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="Result as JSON").click()
    assert '"speedup"' in download.value.path().read_text()


def test_cancel(page: Page, tmp_path: Path) -> None:
    submit(page, tmp_path, "doomed", 4000)
    expect(page.get_by_role("status")).to_contain_text("running", timeout=20_000)
    page.get_by_role("button", name="Cancel this job").click()
    expect(page.get_by_role("status")).to_contain_text("cancelled", timeout=20_000)
    page.goto("/")
    page.get_by_label("State").select_option("cancelled")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name="doomed")).to_be_visible()
    expect(page.get_by_role("link", name="watched")).to_have_count(0)


def test_records_are_found_and_compared(page: Page, tmp_path: Path) -> None:
    submit(page, tmp_path, "recorded", 8)
    expect(page.get_by_role("status")).to_contain_text("succeeded", timeout=20_000)
    page.get_by_role("link", name=re.compile("^[0-9a-f]{12}$")).last.click()
    expect(page).to_have_url(re.compile("/records.workload="))
    page.get_by_label("Status").select_option("ok")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("radio", name=re.compile("as A$")).first.check()
    page.get_by_role("radio", name=re.compile("as B$")).nth(1).check()
    page.get_by_role("button", name="Compare A and B").click()
    expect(page.get_by_role("rowheader", name="latency, us")).to_be_visible()
    assert page.locator("tr.differs").count() > 0
    page.get_by_role("link", name="Networks").click()
    page.get_by_role("link", name="resnet50").click()
    expect(page.get_by_role("heading", name="What is known of network resnet50")).to_be_visible()
    page.get_by_role("link", name="Workers").click()
    expect(page.get_by_text("No worker has been seen.")).to_be_visible()


def test_a_bad_model_is_said_on_the_page(
    browser: Browser, served: tuple[str, Database], tmp_path: Path
) -> None:
    page = browser.new_page(base_url=served[0])
    page.goto("/submit")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    page.get_by_label("Model").set_input_files(tmp_path / "bad.onnx")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("not an ONNX file")
    page.close()


def test_by_keyboard_alone(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for path in ("/", "/submit", "/records", "/models", "/workers", "/demand"):
        page.goto(path)
        unnamed = page.eval_on_selector_all(
            "input, select, textarea, button",
            "all => all.filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).length",
        )
        assert unnamed == 0, path
        assert page.locator("h1").count() == 1
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.locator("table:not(:has(caption))").count() == 0


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, served: tuple[str, Database]) -> None:
    phone = browser.new_page(base_url=served[0], viewport={"width": 360, "height": 740})
    job = httpx.post(
        f"{served[0]}/v1/jobs",
        files={"model": ("a_model_with_a_rather_long_name_indeed_for_a_phone.onnx", model_bytes())},
        data={"spec": '{"target":"ascend910","trials":4}'},
        trust_env=False,
    ).json()["id"]
    while httpx.get(f"{served[0]}/v1/jobs/{job}", trust_env=False).json()["state"] != "succeeded":
        pass
    for path in ("/", "/submit", "/records", "/models", "/workers", "/demand", f"/jobs/{job}"):
        phone.goto(path)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360, path
    phone.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_on_a_desk_and_on_a_phone(
    page: Page, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    submit(page, tmp_path, f"looked at in {scheme}", 8)
    expect(page.get_by_role("status")).to_contain_text("succeeded", timeout=20_000)
    job = page.url.rpartition("/")[2]
    network = page.locator("dd a[href^='/models/']").get_attribute("href")
    first, second = (each["id"] for each in page.request.get("/v1/records?limit=2").json()["records"])
    compared = f"/records/compare?a={first}&b={second}"
    for path in (
        "/",
        "/submit",
        "/records",
        "/models",
        "/workers",
        "/demand",
        f"/jobs/{job}",
        str(network),
        compared,
    ):
        page.goto(path)
        for width in (1280, 390):
            look_at(page, scheme, width)


def test_without_scripts_it_works_too(browser: Browser, served: tuple[str, Database], tmp_path: Path) -> None:
    context = browser.new_context(base_url=served[0], java_script_enabled=False)
    page = context.new_page()
    submit(page, tmp_path, "plain", 4)
    context.close()


def test_signing_in_and_out_with_many_jobs(browser: Browser, tmp_path: Path) -> None:
    with whole_service(tmp_path) as (url, database):
        _, secret = ApiKeys(database).create("tenant", "browser", [Scope.READ])
        jobs = Jobs(database)
        for number in range(120):
            request = TuneRequest(Path(f"model {number}.onnx"), "ascend910")
            about = About(f"model {number}", "ascend910")
            jobs.cancel(jobs.submit("tenant", request_to_json(request), about=about)[0].uid)
        page = browser.new_page(base_url=url)
        page.goto("/")
        page.get_by_label("API key").fill("tw_wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("not valid")
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("row")).to_have_count(51)
        page.get_by_role("link", name="Older").click()
        expect(page.get_by_role("link", name="model 69")).to_be_visible()
        expect(page.get_by_role("link", name="Submit")).to_have_count(0)
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible()
        page.close()
