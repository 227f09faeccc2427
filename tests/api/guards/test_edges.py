"""Requests at the edges: hosts named twice, wrong keys, long names, a database that goes meanwhile."""

import logging
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.api.service import model_bytes, running_server, settings_for
from tests.api.test_jobs_routes import submit, work_off
from tilewright.api.app import create_app
from tilewright.api.guards.slow import authority_of
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.storage.session import Database, DatabaseDownError

ROOT = Path(__file__).parents[3]


def asked(url: str, head: str) -> bytes:
    """The first line of the answer to a request as it goes over the wire."""
    with closing(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10)) as wire:
        wire.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return wire.recv(4096).partition(b"\r\n")[0]


def test_a_request_names_one_host(app: FastAPI) -> None:
    with running_server(app) as url:
        ours = url.removeprefix("http://")
        good = (
            f"GET /healthz HTTP/1.1\nHost: {ours}",
            f"GET http://{ours}/healthz HTTP/1.1\nHost: {ours}",
        )
        for head in good:
            assert asked(url, head) == b"HTTP/1.1 200 OK", head
        bad = (
            "GET /healthz HTTP/1.1\nHost: 127.0.0.1\nHost: evil.example",
            "GET /healthz HTTP/1.1\nHost: 127.0.0.1\nHost: 127.0.0.1",
            "GET http://evil.example/healthz HTTP/1.1\nHost: 127.0.0.1",
            "GET http://127.0.0.1@evil.example/healthz HTTP/1.1\nHost: 127.0.0.1",
            "GET http://evil.example/v1/jobs HTTP/1.1\nHost: evil.example",
            "GET /healthz HTTP/1.1\nHost: evil.example",
        )
        for head in bad:
            assert asked(url, head) == b"HTTP/1.1 400 Bad Request", head
    assert authority_of(b"/path?next=http://evil.example/") is None
    assert authority_of(b"http://name:1?query") == b"name:1"


def test_wrong_keys_at_the_sign_in_page_are_counted(database: Database, tmp_path: Path) -> None:
    secret = ApiKeys(database).create("tenant", "test", [Scope.READ])[1]
    app = create_app(settings_for(tmp_path / "tuning.db", failures_per_minute=3), database)
    with running_server(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        answers = [client.post("/sign-in", data={"key": f"tw_{number}"}) for number in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert int(answers[-1].headers["retry-after"]) > 0
        # They count together with wrong keys elsewhere, and a right one still opens.
        assert client.get("/v1/jobs", headers={"Authorization": "Bearer tw_x"}).status_code == 429
        assert client.post("/sign-in", data={"key": secret}).status_code == 303


def test_a_long_name_of_a_model_is_cut(client: httpx.Client, database: Database) -> None:
    """The runner writes the model to a file of that name; file systems take 255 bytes."""
    name = "\N{MUSICAL SYMBOL G CLEF}" * 100 + ".onnx"
    answer = client.post(
        "/v1/jobs", files={"model": (name, model_bytes())}, data={"spec": '{"target":"ascend910"}'}
    )
    assert answer.status_code == 201, answer.text
    work_off(database)
    assert client.get(answer.json()["links"]["self"]).json()["state"] == "succeeded"


def test_a_deleted_database_is_not_ready(client: httpx.Client, tmp_path: Path) -> None:
    assert client.get("/readyz").status_code == 200
    (tmp_path / "tuning.db").rename(tmp_path / "moved.db")
    assert client.get("/readyz").status_code == 503
    for _ in range(5):
        assert submit(client).status_code == 503
    assert client.get("/healthz").status_code == 200
    (tmp_path / "moved.db").rename(tmp_path / "tuning.db")
    assert client.get("/readyz").status_code == 200
    assert submit(client).status_code == 201


def test_a_database_that_goes_ends_a_stream_in_order(
    app: FastAPI, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = submit(client).json()["id"]
    with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        lines = answer.iter_lines()
        while not next(lines).startswith("data:"):
            pass

        def gone(*_: object) -> None:
            raise DatabaseDownError("connection refused")

        monkeypatch.setattr(app.state.service.jobs, "get", gone)
        assert [line for line in lines if line.startswith("data:")] == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_under_optimize_two_it_says_so_at_start() -> None:
    program = "from tilewright.api.cli.main import main; raise SystemExit(main(['targets']))"
    done = subprocess.run(
        [sys.executable, "-OO", "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "PYTHONOPTIMIZE=2" in done.stderr
