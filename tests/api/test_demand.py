"""A service counts its lookups by itself, and shows what they missed to those who run it."""

from pathlib import Path

import httpx
from fastapi import FastAPI

from tests.api.service import running_server, settings_for
from tests.db.samples import digest, filled, workload
from tilewright.api.app import create_app
from tilewright.api.cli.demand import duration
from tilewright.db.demand.entries import Served
from tilewright.db.demand.file import DemandFile
from tilewright.db.demand.service_file import file_of_service
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database

ASKED = {"target": "ascend310", "workload": digest("a kernel")}


def test_lookups_are_counted_and_ranked(client: httpx.Client, app: FastAPI, tmp_path: Path) -> None:
    for _ in range(3):
        assert not client.get("/v1/lookup", params=ASKED).json()["hit"]
    found = client.get("/v1/demand").json()
    assert found["totals"]["default"] == 3
    (row,) = found["wanted"]
    assert (row["workload_digest"], row["count"], row["target"]) == (ASKED["workload"], 3, "ascend310")
    assert row["why_not"] == "only its digest is known"
    text = client.get("/demand").text
    assert "3 default" in text
    assert "only its digest is known" in text
    file = DemandFile(tmp_path / "tuning.db.demand", read_only=True)
    assert [each.asked.served for each in file.rows()] == [Served.DEFAULT]


def test_nothing_asked_and_nothing_counted(client: httpx.Client, database: Database, tmp_path: Path) -> None:
    assert client.get("/v1/demand").json() == {"totals": {}, "wanted": []}
    assert "none yet" in client.get("/demand").text
    app = create_app(settings_for(tmp_path / "tuning.db", demand="off"), database)
    with running_server(app) as url, httpx.Client(base_url=url, trust_env=False) as other:
        other.get("/v1/lookup", params=ASKED)
        assert other.get("/v1/demand").status_code == 404
        assert "not counted here" in other.get("/demand").text


def test_what_the_server_counted_is_written_when_it_stops(database: Database, tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path / "tuning.db", demand=str(tmp_path / "mine")), database)
    row = workload()
    filled(Repository(database), [row])
    with running_server(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        for _ in range(5):
            client.get("/v1/lookup", params=ASKED)
    assert DemandFile(tmp_path / "mine", read_only=True).totals()["default"] == 5


def test_where_a_service_counts() -> None:
    assert file_of_service("auto", "tilewright.db") == "tilewright.db.demand"
    assert file_of_service("auto", "sqlite:////tmp/a.db") == "/tmp/a.db.demand"
    assert file_of_service("auto", "postgresql://user@host/name") == "tilewright.demand"
    assert file_of_service("mine", "tilewright.db") == "mine"
    assert file_of_service("off", "tilewright.db") == ""


def test_a_time_has_the_unit_of_its_size() -> None:
    assert [duration(us) for us in (0.0, 3.06, 999.9, 12_345.6, 2.5e6)] == [
        "0.0 us",
        "3.1 us",
        "999.9 us",
        "12.3 ms",
        "2.5 s",
    ]
