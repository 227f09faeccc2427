"""One job, read through every interface: default, answer, bound and gap are one number each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.service import running_runner, running_server, settings_for
from tests.onnx_models import saved, small_cnn
from tilewright.api.app import create_app
from tilewright.api.cli.main import main
from tilewright.api.client import Client
from tilewright.api.pages.html_report import report
from tilewright.api.schemas.jobs import JobSpec
from tilewright.db.records import Key
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database, open_database
from tilewright.measure.objectives import Objective
from tilewright.tuner.jobs.work import Tuning
from tilewright.tuner.request import PoolChoice

TARGET = "ascend310"


@dataclass(frozen=True)
class OneJob:
    """A job that has ended, and the ways to it."""

    model: Path
    database: Database
    path: Path
    url: str
    job: str
    objective: Objective
    result: dict[str, Any]

    @property
    def answer(self) -> float:
        return float(self.result["tuned"][self.objective.row.figure])

    @property
    def default(self) -> float:
        return float(self.result["default"][self.objective.row.figure])

    @property
    def bound(self) -> float:
        return float(self.result["bound"][self.objective.row.figure])

    def get(self, route: str) -> httpx.Response:
        return httpx.get(self.url + route, trust_env=False).raise_for_status()

    def is_shown_on(self, page: str) -> None:
        """The table of a page has every figure that the result has."""
        for figure, words in (("latency_us", "latency, us"), ("energy_uj", "energy, uJ")):
            row = page.split(f'<th scope="row">{words}</th>')[1].split("</tr>")[0]
            for label, side in (("Default", "default"), ("Answer", "tuned"), ("Bound", "bound")):
                if self.result[side].get(figure) is not None:
                    (shown,) = numbers(f'data-label="{label}" class="num">', row)
                    assert shown == pytest.approx(self.result[side][figure], rel=1e-5)

    def command(self, verb: str, *options: str) -> list[str]:
        given = ["--target", TARGET, "--db", str(self.path), "--objective", self.objective]
        return [verb, str(self.model), *given, *options]


@pytest.fixture(scope="module", params=[Objective.LATENCY, Objective.ENERGY])
def one_job(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[OneJob]:
    folder = tmp_path_factory.mktemp("one_job")
    model, path = saved(small_cnn(), folder), folder / "tuning.db"
    database = open_database(path)
    work = Tuning(str(path), PoolChoice(ray="none"))
    app = create_app(settings_for(path), database)
    with running_runner(database, work), running_server(app) as url, Client(url) as client:
        job = client.submit(model, JobSpec(target=TARGET, trials=16, objective=request.param)).id
        assert [heard.kind for heard in client.watch(job)]
        yield OneJob(model, database, path, url, job, request.param, client.result(job))
    database.close()


def numbers(name: str, text: str) -> list[float]:
    """The numbers that stand after a name."""
    return [float(each.replace(",", "")) for each in re.findall(rf"{name}\D*?([\d,]+\.?\d*)", text)]


def test_the_live_line_ends_at_what_is_published(one_job: OneJob) -> None:
    with Client(one_job.url) as client:
        heard = list(client.watch(one_job.job))
    measured = [each.body for each in heard if each.kind == "measured"]
    bests = [body["best"] for body in measured]
    assert bests == sorted(bests, reverse=True)
    assert bests[0] <= one_job.default
    assert {body["bound"] for body in measured} == {one_job.bound}
    assert measured[-1]["trials"] == measured[-1]["budget"] == one_job.result["trials"]
    done = [each.body["detail"] for each in heard if each.kind == "phase"][-1]
    assert numbers("best", done) == [pytest.approx(one_job.answer, abs=0.005)]
    assert numbers("bound", done) == [pytest.approx(one_job.bound, abs=0.005)]


def test_the_service_tells_them(one_job: OneJob) -> None:
    told = one_job.get(f"/v1/jobs/{one_job.job}/report").json()["result"]
    for name in ("default", "tuned", "bound", "gap", "trials", "speedup"):
        assert told[name] == one_job.result[name]
    page = one_job.get(f"/jobs/{one_job.job}").text
    one_job.is_shown_on(page)
    assert numbers("<dt>Best so far</dt>", page) == [pytest.approx(one_job.answer, rel=1e-5)]
    assert numbers("<dt>Gap: ratio</dt>", page) == [pytest.approx(one_job.result["gap"]["ratio"], rel=1e-3)]
    asked = {"model": one_job.result["graph_digest"], "target": TARGET, "objective": one_job.objective}
    found = httpx.get(one_job.url + "/v1/lookup", params=asked, trust_env=False).json()["best"]
    assert found["latency_us"] == one_job.result["tuned"]["latency_us"]
    assert found["energy_uj"] == one_job.result["tuned"]["energy_uj"]
    assert found["bound_us"] == one_job.result["bound"]["latency_us"]


def test_the_database_holds_them(one_job: OneJob) -> None:
    run = Repository(one_job.database).runs(1)[0].asked
    key = Key(one_job.result["graph_digest"], run.target_digest, run.toolchain, one_job.objective)
    for row, name in (
        (Repository(one_job.database).best(key), "tuned"),
        (Repository(one_job.database).default(key), "default"),
    ):
        assert row is not None
        assert row.latency_us == one_job.result[name]["latency_us"]
        assert row.energy_uj == one_job.result[name]["energy_uj"]


def test_the_command_line_prints_them(one_job: OneJob, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(one_job.command("run", "--trials", "16", "--ray", "none")) == 0
    text = capsys.readouterr().out
    for name, value in (("default", one_job.default), ("tuned", one_job.answer), ("bound", one_job.bound)):
        assert pytest.approx(value, abs=0.005) in numbers(rf"\n{name} +", text)
    assert numbers(r"\ngap +", text) == [pytest.approx(one_job.result["gap"]["ratio"], abs=0.005)]
    assert main(one_job.command("lookup")) == 0
    latency_us = one_job.result["tuned"]["latency_us"]
    assert numbers("network +hit", capsys.readouterr().out) == [pytest.approx(latency_us, abs=0.005)]


def test_the_report_tells_them(one_job: OneJob) -> None:
    html = report(one_job.model, TARGET, objective=one_job.objective, database=one_job.path).html
    of_job = one_job.get(f"/jobs/{one_job.job}/report").text
    for page in (html, of_job):
        one_job.is_shown_on(page)
        assert numbers("<dt>Gap: ratio</dt>", page)[-1] == pytest.approx(
            one_job.result["gap"]["ratio"], rel=1e-3
        )
