"""One key starves nobody: places by key and address, given to the modest first; a lowest rate."""

import asyncio
import socket
import time
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.api.service import model_bytes, running_server, settings_for
from tests.api.test_jobs_routes import submit
from tilewright.api.app import create_app
from tilewright.api.guards.limits import Places
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.storage.session import Database

PATIENCE_S = 30.0
AT_ONCE = 0.0


def test_no_name_holds_more_than_its_share() -> None:
    async def check() -> None:
        places = Places(count=6, each=2, patience_s=AT_ONCE)
        async with AsyncExitStack() as held:

            async def take(*names: str) -> bool:
                return await held.enter_async_context(places.one(*names))

            assert [await take("a", "key 1", "here") for _ in range(3)] == [True, True, False]
            assert not await take("a", "key 2", "here"), "another key at the same address"
            assert [await take("a", "key 2", "there") for _ in range(3)] == [True, True, False]
            assert [await take("b", "key 3", f"host {each}") for each in range(3)] == [True, True, False]
            assert not await take("c", "key 4", "elsewhere"), "all places are taken"
        async with places.one("c", "key 4", "elsewhere") as place:
            assert place

    asyncio.run(check())


def test_a_place_goes_to_the_modest_first() -> None:
    async def check() -> None:
        places, order = Places(count=2, each=2, patience_s=PATIENCE_S), []
        let_go = asyncio.Event()

        async def one(tenant: str, number: int) -> None:
            async with places.one(tenant, f"key {tenant}{number}") as place:
                assert place
                order.append(tenant)
                await let_go.wait() if len(order) <= 2 else await asyncio.sleep(0)

        crowd = [asyncio.create_task(one("crowd", number)) for number in range(8)]
        await asyncio.sleep(0)
        modest = asyncio.create_task(one("modest", 0))
        await asyncio.sleep(0)
        let_go.set()
        await asyncio.gather(*crowd, modest)
        assert "modest" in order[:4], order

    asyncio.run(check())


def test_who_gives_up_waiting_takes_no_place_along() -> None:
    async def check() -> None:
        places = Places(count=1, each=1, patience_s=PATIENCE_S)

        async def wait() -> None:
            async with places.one("b", "key b"):
                raise AssertionError("it was cancelled before")

        async with places.one("a", "key a"):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with places.one("c", "key c") as place:
            assert place

    asyncio.run(check())


def opened(url: str, head: bytes, exits: ExitStack) -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60)
    exits.enter_context(closing(wire))
    wire.sendall(head)
    return wire


def test_sixteen_trickling_uploads_of_one_key(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They took every place, and everybody else was told to come back."""
    monkeypatch.setattr("tilewright.api.guards.gate.UPLOAD_PATIENCE_S", 20.0)
    keys = ApiKeys(database)
    secrets = {name: keys.create(name, "key", [Scope.READ, Scope.SUBMIT])[1] for name in ("crowd", "modest")}
    app = create_app(settings_for(tmp_path / "tuning.db"), database)
    with running_server(app, proxies="127.0.0.1") as url, ExitStack() as exits:
        for number in range(16):
            head = (
                f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secrets['crowd']}\r\n"
                f"X-Forwarded-For: 10.0.0.{number}\r\nContent-Length: 100000\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
            opened(url, head.encode(), exits)
        headers = {"Authorization": f"Bearer {secrets['modest']}", "X-Forwarded-For": "10.0.1.1"}
        with httpx.Client(base_url=url, trust_env=False, headers=headers, timeout=60) as client:
            assert submit(client).status_code == 201


def test_a_body_has_a_lowest_rate(database: Database, tmp_path: Path) -> None:
    few = settings_for(tmp_path / "tuning.db", upload_idle_s=0.5, upload_least_kb_per_s=100.0)
    app = create_app(few, database)
    with running_server(app) as url, ExitStack() as exits:
        head = (
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        wire = opened(url, head, exits)
        wire.settimeout(0.05)
        answer = b""
        until = time.monotonic() + 30
        while not answer and time.monotonic() < until:
            wire.sendall(b"-")  # never a pause as long as the one that is allowed
            try:
                answer = wire.recv(4096)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")


def test_event_streams_of_one_key(database: Database, tmp_path: Path) -> None:
    keys = ApiKeys(database)
    secrets = [keys.create(name, "key", [Scope.READ, Scope.SUBMIT])[1] for name in ("crowd", "modest")]
    few = settings_for(tmp_path / "tuning.db", max_streams=8, max_streams_each=2)
    app = create_app(few, database)
    with running_server(app, proxies="127.0.0.1") as url, ExitStack() as exits:
        crowd, modest = (
            exits.enter_context(
                httpx.Client(
                    base_url=url,
                    trust_env=False,
                    timeout=60,
                    headers={"Authorization": f"Bearer {secret}", "X-Forwarded-For": f"10.0.0.{number}"},
                )
            )
            for number, secret in enumerate(secrets)
        )

        def stream(client: httpx.Client) -> int:
            path = f"/v1/jobs/{submit(client, model_bytes()).json()['id']}/events"
            return exits.enter_context(client.stream("GET", path)).status_code

        assert [stream(crowd) for _ in range(4)] == [200, 200, 429, 429]
        assert stream(modest) == 200


def test_only_proxies_say_whose_requests_they_pass_on(database: Database, tmp_path: Path) -> None:
    """Anybody on this machine could choose the address that the log and the limits see."""
    secret = ApiKeys(database).create("tenant", "test", list(Scope))[1]
    for proxies, seen in (("", "127.0.0.1"), ("127.0.0.1", "10.1.2.3")):
        app = create_app(settings_for(tmp_path / "tuning.db"), database)
        headers = {"Authorization": f"Bearer {secret}", "X-Forwarded-For": "10.1.2.3"}
        with (
            running_server(app, proxies=proxies) as url,
            httpx.Client(base_url=url, trust_env=False, headers=headers, timeout=60) as client,
        ):
            assert submit(client, seed=len(proxies)).status_code == 201
            assert client.get("/v1/audit").json()["entries"][0]["address"] == seen
