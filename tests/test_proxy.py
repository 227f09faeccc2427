"""The reverse proxy of deploy/, started in front of the service: what it takes, and what comes through."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.service import model_bytes, running_server, settings_for
from tests.e2e.processes import free_port
from tilewright.api.app import create_app
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.service.audit import Audit
from tilewright.db.storage.session import Database, open_database

NGINX, OPENSSL = shutil.which("nginx") or "/usr/sbin/nginx", shutil.which("openssl")
CONFIGURATION = Path(__file__).parents[1] / "deploy" / "proxy" / "nginx.conf"
NAME, ELSEWHERE = "tilewright.example", "127.0.0.2"
OWN_LINE_FOR_HTTP2 = (1, 25, 1)
"""The version of nginx that has `http2 on`; before, it was a word of `listen`."""
pytestmark = pytest.mark.skipif(
    not Path(NGINX).exists() or OPENSSL is None, reason="NO nginx FOUND: the proxy of deploy/ was not tried"
)


@dataclass
class Front:
    """The proxy's port, a client that trusts its certificate, the service's database, a user's key."""

    port: int
    client: httpx.Client
    trust: ssl.SSLContext
    database: Database
    key: str

    def line(self, server_name: str = NAME) -> ssl.SSLSocket:
        """A connection of its own."""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return self.trust.wrap_socket(opened, server_hostname=server_name)

    def said(self, request: str, server_name: str = NAME) -> str:
        """The first line of the answer to a request sent as it stands."""
        with closing(self.line(server_name)) as line:
            with suppress(OSError):  # it may have answered and gone before all was sent
                line.sendall(request.encode())
            return line.recv(4096).decode().partition("\r\n")[0]


def configuration(folder: Path, port: int, service: int) -> str:
    """That of deploy/ with the places of this machine, and shorter patience."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    found = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    version = tuple(map(int, re.findall(r"\d+", found)[:3]))
    if version < OWN_LINE_FOR_HTTP2:
        text = text.replace("listen 8443 ssl;\n        http2 on;", "listen 8443 ssl http2;")
    for old, new in (
        (" /tmp/", f" {folder}/"),  # first: the folder may lie in /tmp itself
        ("listen 8443", f"listen 127.0.0.1:{port}"),
        ("http://api:8757", f"http://127.0.0.1:{service}"),
        ("/run/secrets/tls_certificate", f"{folder}/certificate"),
        ("/run/secrets/tls_key", f"{folder}/key"),
        ("/scratch", f"{folder}/bodies"),
        ("/dev/stderr", f"{folder}/log"),
        ("worker_processes auto", "worker_processes 1"),
        ("header_timeout 10s", "header_timeout 1s"),
        ("body_timeout 10s", "body_timeout 1s"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    ours = "user root;\n" if os.geteuid() == 0 else ""  # its workers read a folder that is nobody else's
    return f"daemon off;\n{ours}{text}"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("proxy")
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},DNS:other.example"]
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run([str(OPENSSL), "req", "-x509", *made, *names, *files], check=True, capture_output=True)
    settings = settings_for(folder / "tuning.db", allowed_hosts=f"{NAME},localhost", proxies="127.0.0.1")
    database = open_database(folder / "tuning.db")
    key = ApiKeys(database).create("tenant", "test", [Scope.READ, Scope.SUBMIT])[1]
    with ExitStack() as stack:
        stack.callback(database.close)
        url = stack.enter_context(running_server(create_app(settings, database), proxies="127.0.0.1"))
        port = free_port()
        (folder / "nginx.conf").write_text(configuration(folder, port, int(urlsplit(url).port or 0)))
        command = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "log")]
        checked = subprocess.run([*command, "-t"], check=False, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        child = subprocess.Popen(command)
        stack.callback(child.wait)
        stack.callback(child.terminate)
        trust = ssl.create_default_context(cafile=str(folder / "certificate"))
        client = stack.enter_context(
            httpx.Client(
                base_url=f"https://127.0.0.1:{port}",
                transport=httpx.HTTPTransport(verify=trust, local_address=ELSEWHERE),
                headers={"Host": NAME, "Authorization": f"Bearer {key}"},
                trust_env=False,
                timeout=30,
            )
        )
        wait_for(port)
        yield Front(port, client, trust, database, key)


def wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < until, "nginx does not listen"
            time.sleep(0.02)


def asked(front: Front, method: str, path: str, **given: object) -> httpx.Response:
    return front.client.request(method, path, extensions={"sni_hostname": NAME}, **given)  # type: ignore[arg-type]


def test_what_it_passes_on_is_answered(front: Front) -> None:
    answer = asked(front, "GET", "/healthz")
    assert answer.status_code == 200
    assert "max-age" in answer.headers["Strict-Transport-Security"]
    assert asked(front, "GET", "/v1/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 401
    files = {"model": ("model.onnx", model_bytes())}
    sent = asked(front, "POST", "/v1/jobs", files=files, data={"spec": '{"target": "ascend910"}'})
    assert sent.status_code == 201, sent.text
    events = asked(front, "GET", f"/v1/jobs/{sent.json()['id']}/events?follow=false")
    assert (events.status_code, "event: " in events.text) == (200, True)


def test_events_come_while_they_happen(front: Front) -> None:
    """Nothing is held back until a stream ends."""
    files = {"model": ("model.onnx", model_bytes())}
    sent = asked(front, "POST", "/v1/jobs", files=files, data={"spec": '{"target": "ascend910"}'})
    path = f"/v1/jobs/{sent.json()['id']}/events"
    request = front.client.build_request("GET", path, extensions={"sni_hostname": NAME})
    with closing(front.client.send(request, stream=True)) as stream:
        assert any(b"event: " in piece for piece in stream.iter_bytes())


@pytest.mark.parametrize(
    ("request_line", "headers", "answered"),
    [
        ("GET / HTTP/1.1", "Host: other.example", "421"),
        ("GET / HTTP/1.1", "Host: 127.0.0.1", "421"),
        ("GET / HTTP/1.0", "", "421"),
        ("GET / HTTP/1.1", f"Host: {NAME}\r\nHost: other.example", "400"),
        ("GET https://other.example/ HTTP/1.1", f"Host: {NAME}", "421"),
        ("GET / HTTP/1.1", f"Host: {NAME}\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", "400"),
        ("GET / HTTP/1.1", f"Host: {NAME}\r\nTransfer-Encoding: xchunked", "501"),
        ("GET / HTTP/1.1", f"Host: {NAME}\r\nContent-Length: -1", "400"),
        ("POST /v1/jobs HTTP/1.1", f"Host: {NAME}\r\nContent-Length: 600000000", "413"),
        ("GET / HTTP/1.1", f"Host: {NAME}\r\nX: {'x' * 17_000}", "400"),
        (f"GET /{'x' * 17_000} HTTP/1.1", f"Host: {NAME}", "414"),
    ],
)
def test_other_names_and_broken_requests_end_at_the_proxy(
    front: Front, request_line: str, headers: str, answered: str
) -> None:
    assert answered in front.said(f"{request_line}\r\n{headers}\r\n\r\n").split()


def test_other_names_of_tls_end_at_the_proxy(front: Front) -> None:
    request = "GET /healthz HTTP/1.1\r\nHost: other.example\r\n\r\n"
    assert "421" in front.said(request, server_name="other.example")


def test_plain_http_is_no_way_in(front: Front) -> None:
    with closing(socket.create_connection(("127.0.0.1", front.port), timeout=20)) as line:
        line.sendall(f"GET /healthz HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        assert b" 400 " in line.recv(200)


def test_who_says_that_he_is_another_is_himself(front: Front) -> None:
    """The audit log has the client's address, whatever the client's headers say."""
    lies = {"X-Forwarded-For": "10.9.8.7", "Forwarded": "for=10.9.8.7", "X-Real-IP": "10.9.8.7"}
    files = {"model": ("model.onnx", model_bytes(16))}
    spec = {"spec": '{"target": "ascend910"}'}
    assert asked(front, "POST", "/v1/jobs", files=files, data=spec, headers=lies).status_code == 201
    assert {entry.address for entry in Audit(front.database).list()} == {ELSEWHERE}


def test_slow_headers_and_stopped_bodies_are_cut_off(front: Front) -> None:
    begun = [
        f"POST /v1/jobs HTTP/1.1\r\nHost: {NAME}\r\nX-Slow: ",
        f"POST /v1/jobs HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 1000\r\n\r\nfew",
    ]
    with ExitStack() as stack:
        lines = [stack.enter_context(closing(front.line())) for _ in begun * 8]
        for line, text in zip(lines, begun * 8, strict=True):
            line.sendall(text.encode())
        assert asked(front, "GET", "/healthz").status_code == 200
        for line in lines:
            assert (line.recv(4096) or b" 408 ").split()[1:2] in ([b"408"], [])


def test_trickling_bodies_do_not_reach_the_service(front: Front) -> None:
    """They wait at the proxy, more of them than the service has places for uploads."""
    start = f"POST /v1/jobs HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {front.key}\r\n"
    with ExitStack() as stack:
        lines = [stack.enter_context(closing(front.line())) for _ in range(40)]
        for line in lines:
            line.sendall(f"{start}Content-Length: 100000\r\n\r\n".encode())
        for _ in range(3):
            for line in lines:
                line.sendall(b"x")
            time.sleep(0.1)
        files = {"model": ("model.onnx", model_bytes())}
        sent = asked(front, "POST", "/v1/jobs", files=files, data={"spec": '{"target": "ascend910"}'})
        assert sent.status_code == 201
