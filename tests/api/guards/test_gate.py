"""The gate: nothing of a body is read before key, scope, origin and size are known to be good."""

import asyncio
import contextlib
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.api.service import model_bytes, running_server, settings_for
from tilewright.api.app import create_app, routes_of
from tilewright.api.guards.auth import COOKIE, is_loopback, same_site
from tilewright.api.guards.limits import Buckets
from tilewright.api.guards.linger import read_out
from tilewright.api.serve import require_key_beyond_loopback
from tilewright.api.settings import Settings
from tilewright.compiler_core.errors import UsageError
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.storage.session import Database

PUBLIC = {"/healthz", "/readyz"}
HOST = (b"host", b"127.0.0.1:8757")


class Wire:
    """A request by ASGI messages, counting how much of its body was taken."""

    def __init__(self, body_bytes: int, start: bytes = b"") -> None:
        self.left = body_bytes
        self.start = start
        self.taken = 0
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        piece = min(self.left, 64 * 1024)
        self.left -= piece
        self.taken += piece
        body, self.start = self.start + bytes(piece - len(self.start)), b""
        return {"type": "http.request", "body": body, "more_body": self.left > 0}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    def ask(self, app: FastAPI, method: str, path: str, *headers: tuple[bytes, bytes]) -> "Wire":
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [HOST, *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8757),
            "scheme": "http",
            "http_version": "1.1",
            "root_path": "",
        }
        asyncio.run(app(scope, self.receive, self.send))
        return self


@pytest.fixture
def secret(database: Database) -> str:
    return ApiKeys(database).create("tenant", "test", [Scope.READ, Scope.SUBMIT])[1]


def every_route(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in routes_of(app):
        path = (
            route.path.replace("{job_id}", "a" * 32).replace("{record_id}", "1").replace("{digest}", "a" * 64)
        )
        path = path.replace("{name}", "x").replace("{run_id}", "x")
        for method in route.methods or ():
            yield method, path


def test_without_a_key_no_route_reads_a_body(app: FastAPI, secret: str) -> None:
    asked = list(every_route(app))
    assert len(asked) > 25
    for method, path in asked:
        for key in ((), ((b"authorization", b"Bearer tw_wrong"),), ((b"authorization", b"Basic eDp5"),)):
            wire = Wire(512 << 20).ask(app, method, path, *key)
            if path in PUBLIC:
                assert wire.status in (200, 413), path
            elif path == "/sign-in":
                assert wire.status in (401, 413, 429), path
            else:
                assert wire.status in (401, 429), (method, path, wire.status)
            assert wire.taken <= 64 * 1024, (method, path, wire.taken)


def test_half_a_gigabyte_without_a_key_is_not_read_off_the_wire(
    app: FastAPI, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted where bytes leave the socket, headers included; the sender goes on sending regardless."""
    read: Counter[int] = Counter()
    honest = HttpToolsProtocol.data_received

    def counted(self: HttpToolsProtocol, data: bytes) -> None:
        assert self.client is not None
        read[self.client[1]] += len(data)
        honest(self, data)

    monkeypatch.setattr(HttpToolsProtocol, "data_received", counted)
    with running_server(app) as url:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        for method, path in every_route(app):
            with closing(socket.create_connection(address, timeout=10)) as connection:
                head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {512 << 20}\r\n\r\n"
                connection.sendall(head.encode())
                sent = 0
                with contextlib.suppress(ConnectionError):
                    while sent < 512 << 20:
                        sent += connection.send(bytes(1 << 20))
                status = int(connection.recv(4096).split()[1])
                assert status == (413 if path in PUBLIC or path == "/sign-in" else 401), (method, path)
                assert sent < 64 << 20, "the sender was told nothing"
                assert read[connection.getsockname()[1]] <= 64 * 1024, (method, path)


def test_a_refusal_has_a_number(client: httpx.Client, secret: str) -> None:
    for answer in (client.get("/v1/jobs"), client.get("/v1/jobs", headers={"Host": "evil.example"})):
        assert answer.status_code in (400, 401)
        assert answer.json()["request_id"] == answer.headers["x-request-id"] != ""


def test_unknown_paths_need_a_key_too(app: FastAPI, secret: str) -> None:
    assert Wire(0).ask(app, "GET", "/v2/whatever").status == 401
    good = (b"authorization", f"Bearer {secret}".encode())
    assert Wire(0).ask(app, "GET", "/v2/whatever", good).status == 404
    assert Wire(0).ask(app, "PUT", "/v1/jobs", good).status == 405


def test_a_large_body_is_refused_by_its_announcement_or_when_it_comes(
    database: Database, tmp_path: Path, secret: str
) -> None:
    app = create_app(settings_for(tmp_path / "tuning.db", max_upload_mb=1), database)
    good = (b"authorization", f"Bearer {secret}".encode())
    form = (b"content-type", b"multipart/form-data; boundary=x")
    announced = Wire(4 << 20).ask(app, "POST", "/v1/jobs", good, form, (b"content-length", b"4194304"))
    assert (announced.status, announced.taken) == (413, 0)
    start = b'--x\r\nContent-Disposition: form-data; name="model"; filename="m"\r\n\r\n'
    silent = Wire(4 << 20, start).ask(app, "POST", "/v1/jobs", good, form)
    assert silent.status == 413
    assert silent.taken <= (1 << 20) + 64 * 1024
    small = Wire(1 << 20).ask(app, "POST", f"/v1/jobs/{'a' * 32}/cancel", good)
    assert small.status in (404, 413)
    assert small.taken <= 128 * 1024


def test_a_small_body_is_read_out_before_the_connection_closes(app: FastAPI, secret: str) -> None:
    """Or the reset of a connection with unread bytes takes the answer away from the client."""
    for length, taken in ((1000, 1000), (32 << 10, 32 << 10), ((32 << 10) + 1, 0), (1 << 20, 0)):
        wire = Wire(length).ask(app, "POST", "/v1/jobs", (b"content-length", str(length).encode()))
        assert (wire.status, wire.taken) == (401, taken)
        parts = [message for message in wire.sent if message["type"] == "http.response.body"]
        assert parts[0]["body"], "the answer does not wait for the body"
        assert not parts[-1].get("more_body", False)
        assert (b"connection", b"close") in wire.sent[0]["headers"]


def test_the_rest_of_a_small_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tilewright.api.guards.linger.MOST_S", 0.01)

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    asyncio.run(read_out(never))


def test_scopes_are_not_implied(app: FastAPI, database: Database) -> None:
    for scope, path, method, status in (
        (Scope.SUBMIT, "/v1/jobs", "GET", 403),
        (Scope.READ, "/v1/jobs", "GET", 200),
        (Scope.READ, "/v1/jobs", "POST", 403),
        (Scope.READ, "/metrics", "GET", 403),
        (Scope.ADMIN, "/metrics", "GET", 200),
        (Scope.ADMIN, "/v1/jobs", "GET", 403),
    ):
        key = (b"authorization", f"Bearer {ApiKeys(database).create('t', 'k', [scope])[1]}".encode())
        assert Wire(0).ask(app, method, path, key).status == status, (scope, path)


def test_a_revoked_key_is_wrong_at_once(app: FastAPI, database: Database) -> None:
    keys = ApiKeys(database)
    key, secret = keys.create("tenant", "test", [Scope.READ])
    header = (b"authorization", f"Bearer {secret}".encode())
    assert Wire(0).ask(app, "GET", "/v1/jobs", header).status == 200
    keys.revoke(key.id)
    assert Wire(0).ask(app, "GET", "/v1/jobs", header).status == 401
    assert Wire(0).ask(app, "GET", "/v1/jobs").status == 401  # the service does not open again


def test_other_sites_cannot_use_a_browser_against_us(app: FastAPI, client: httpx.Client) -> None:
    path = f"/v1/jobs/{'a' * 32}/cancel"
    for header in (
        (b"sec-fetch-site", b"cross-site"),
        (b"sec-fetch-site", b"same-site"),
        (b"origin", b"http://evil.example"),
        (b"origin", b"null"),
    ):
        assert Wire(0).ask(app, "POST", path, header).status == 403, header
    assert Wire(0).ask(app, "POST", path, (b"origin", b"http://127.0.0.1:8757")).status == 404
    rebound = client.get("/v1/jobs", headers={"Host": "evil.example"})
    assert rebound.status_code == 400
    assert not same_site({"host": "x"}, by_browser=True)


def test_a_cookie_signs_in_and_does_not_travel(app: FastAPI, client: httpx.Client, secret: str) -> None:
    page = client.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 401
    assert 'name="key"' in page.text
    assert client.post("/sign-in", data={"key": "tw_wrong"}).status_code == 401
    answer = client.post("/sign-in", data={"key": secret})
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200
    # A browser that says nothing of where a request comes from gets nothing changed with its cookie.
    assert client.post(f"/v1/jobs/{'a' * 32}/cancel").status_code == 403
    same = {"Sec-Fetch-Site": "same-origin"}
    assert client.post(f"/v1/jobs/{'a' * 32}/cancel", headers=same).status_code == 404
    assert COOKIE in client.cookies
    client.post("/sign-out", headers=same)
    client.cookies.clear()
    assert client.get("/").status_code == 401


def test_a_key_may_ask_so_often(database: Database, tmp_path: Path, secret: str) -> None:
    app = create_app(settings_for(tmp_path / "tuning.db", rate_per_s=0.1, rate_burst=3), database)
    good = (b"authorization", f"Bearer {secret}".encode())
    answers = [Wire(0).ask(app, "GET", "/v1/jobs", good) for _ in range(4)]
    assert [wire.status for wire in answers] == [200, 200, 200, 429]
    headers = dict(answers[-1].sent[0]["headers"])
    assert int(headers[b"retry-after"]) >= 9


def test_buckets_fill_with_time() -> None:
    now = [0.0]
    buckets = Buckets(2.0, 3.0, lambda: now[0])
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a") == 0.5
    assert buckets.take("b") == 0.0
    now[0] = 0.5
    assert buckets.take("a") == 0.0
    now[0] = 100.0
    assert [buckets.take("a") for _ in range(4)][:3] == [0.0, 0.0, 0.0]


def test_headers_that_trickle_are_not_waited_for(app: FastAPI) -> None:
    with running_server(app, header_s=0.3) as url:
        port = int(url.rpartition(":")[2])
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        for connection in slow:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-")
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        for connection in slow:
            with closing(connection):
                connection.settimeout(10)
                assert connection.recv(1) == b""


def test_a_body_that_trickles_is_not_waited_for(database: Database, tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path / "tuning.db", upload_idle_s=0.3), database)
    with (
        running_server(app) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as slow,
    ):
        slow.settimeout(10)
        slow.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_uploads_have_a_number_of_places(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tilewright.api.guards.gate.UPLOAD_PATIENCE_S", 0.1)
    app = create_app(settings_for(tmp_path / "tuning.db", max_uploads=1), database)
    with running_server(app) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as holder:
            holder.sendall(
                b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
            files = {"model": ("m.onnx", model_bytes())}
            for _ in range(100):
                answer = httpx.post(
                    f"{url}/v1/jobs", files=files, data={"spec": "{}"}, trust_env=False, timeout=20
                )
                if answer.status_code == 429:
                    break
                time.sleep(0.02)
            assert answer.status_code == 429
            assert "retry-after" in answer.headers


def test_beyond_loopback_a_key_has_to_exist(database: Database) -> None:
    with pytest.raises(UsageError, match="tune keys create"):
        require_key_beyond_loopback(Settings(host="0.0.0.0"), database)
    require_key_beyond_loopback(Settings(host="127.0.0.1"), database)
    ApiKeys(database).create("tenant", "first", [Scope.READ])
    require_key_beyond_loopback(Settings(host="0.0.0.0"), database)
    assert [is_loopback(host) for host in ("::1", "[::1]", "127.9.9.9", "localhost", "0.0.0.0", "a.b")] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]


def test_answers_carry_what_makes_browsers_careful(client: httpx.Client) -> None:
    for path in ("/", "/v1/jobs", "/v1/nothing", "/healthz"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


def test_a_bug_tells_nothing(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret of the inside")

    monkeypatch.setattr(app.state.service.jobs, "list", broken)
    wire = Wire(0).ask(app, "GET", "/v1/jobs")
    assert wire.status == 500
    body = json.loads(wire.sent[1]["body"])
    assert "secret" not in json.dumps(body)
    assert body["request_id"]
