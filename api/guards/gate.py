"""The gate: pure ASGI, in front of everything. Key, scope, origin, rate and size are checked before any of
the body is read; the bytes of an admitted body are counted as they arrive.
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tilewright.api.guards.access import SMALL_BODY_BYTES, AccessTable, Need, RouteAccess
from tilewright.api.guards.auth import OPERATOR, Authenticator, Principal, is_loopback, same_site
from tilewright.api.guards.limits import Buckets, Places
from tilewright.api.guards.linger import has_body, lingering
from tilewright.api.guards.sign_in import sign_in_page
from tilewright.api.problems import RETRY_AFTER_S, Refusal
from tilewright.api.settings import Settings
from tilewright.api.threads import Threads
from tilewright.db.service.api_keys import Scope as KeyScope
from tilewright.db.storage.session import DatabaseDownError

SAFE = ("GET", "HEAD", "OPTIONS")
UPLOAD_PATIENCE_S = 5.0
CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Gate:
    """Answers requests that may not pass, and hands on the others with `state["principal"]` set."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        authenticator: Authenticator,
        table: AccessTable,
        threads: Threads,
    ) -> None:
        self._app = app
        self._settings = settings
        self._authenticator = authenticator
        self._table = table
        self._threads = threads
        self._rates = Buckets(settings.rate_per_s, settings.rate_burst, time.monotonic)
        self._uploads = Places(settings.max_uploads, settings.max_uploads_each, UPLOAD_PATIENCE_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = lingering(scope, receive, send)
        access = self._table.of(scope)
        limit = self._settings.max_upload_mb << 20 if access.upload else SMALL_BODY_BYTES
        refusal = await self._refuse(scope, headers, access, limit)
        if refusal is not None:
            await _turn_away(refusal, access, scope, receive, send)
            return
        counted = self._counted(receive, limit)
        if not access.upload:
            await self._app(scope, counted, send)
            return
        principal: Principal = scope["state"]["principal"]
        address = f"address {_address(scope)}"
        async with self._uploads.one(principal.tenant, principal.key, address) as place:
            if not place:
                refusal = Refusal(429, "too many uploads at once", _later(RETRY_AFTER_S))
                await _turn_away(refusal, access, scope, receive, send)
                return
            await self._app(scope, counted, send)

    async def _refuse(
        self, scope: Scope, headers: Mapping[str, str], access: RouteAccess, limit: int
    ) -> Refusal | None:
        refusal = self._refuse_host(Headers(scope=scope).getlist("host"))
        if refusal is None and access.need is not Need.PUBLIC:
            try:
                refusal = await self._refuse_caller(scope, headers, access)
            except DatabaseDownError:
                refusal = Refusal(503, headers={"Retry-After": str(RETRY_AFTER_S)})
        return refusal or _refuse_size(headers, limit)

    def _refuse_host(self, hosts: Sequence[str]) -> Refusal | None:
        """Against pages of other sites that had their own name resolve to our address."""
        if len(hosts) != 1:
            return Refusal(400, "a request names its host once, in the Host header")
        (host,) = hosts
        name = host.rpartition(":")[0] or host
        name = host if name.startswith("[") and not name.endswith("]") else name
        allowed = [each.strip() for each in self._settings.allowed_hosts.split(",") if each.strip()]
        known = name in allowed or (is_loopback(name) if self._authenticator.loopback else not allowed)
        return None if known else Refusal(400, "the Host header names another service; see allowed_hosts")

    async def _refuse_caller(
        self, scope: Scope, headers: Mapping[str, str], access: RouteAccess
    ) -> Refusal | None:
        principal = await self._principal(headers)
        if principal is None:
            tried = "authorization" in headers or "cookie" in headers
            if tried and (wait_s := self._authenticator.failures.take(_address(scope))):
                return Refusal(429, "too many wrong keys from this address", _later(wait_s))
            return Refusal(401, headers=CHALLENGE)
        scope.setdefault("state", {})["principal"] = principal
        if wait_s := self._rates.take(principal.key):
            return Refusal(429, "too many requests with this key", _later(wait_s))
        return _authorize(scope["method"], headers, access, principal)

    async def _principal(self, headers: Mapping[str, str]) -> Principal | None:
        authorization, cookie = headers.get("authorization", ""), headers.get("cookie", "")
        if not authorization and not cookie and self._authenticator.surely_open:
            return OPERATOR
        return await self._threads(self._authenticator.principal, authorization, cookie)

    def _counted(self, receive: Receive, limit: int) -> Receive:
        """`receive` with limits on bytes, on pauses, on the rate and on the time of the whole body.

        The rate counts time spent waiting for the sender, so that a busy server blames nobody for itself.
        """
        taken, waited_s = 0, 0.0
        finished = False
        until = time.monotonic() + self._settings.upload_total_s

        async def counted() -> Message:
            nonlocal taken, waited_s, finished
            if finished:
                return await receive()
            start = time.monotonic()
            try:
                async with asyncio.timeout(min(self._settings.upload_idle_s, until - start)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body came too slowly", {"Connection": "close"}) from None
            waited_s += time.monotonic() - start
            taken += len(message.get("body", b""))
            finished = not message.get("more_body", False)
            if not finished and self._trickles(taken, waited_s):
                raise HTTPException(408, "the body came too slowly", {"Connection": "close"})
            if taken > limit:
                detail = f"the body is larger than {limit} bytes"
                raise HTTPException(413, detail, {"Connection": "close"})
            return message

        return counted

    def _trickles(self, taken: int, waited_s: float) -> bool:
        counted_s = waited_s - self._settings.upload_idle_s
        return taken < self._settings.upload_least_kb_per_s * 1024 * counted_s


def _address(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else ""


async def _turn_away(
    refusal: Refusal, access: RouteAccess, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answers, and closes the connection where an unread body may follow.

    People with browsers and without a key are asked for one.
    """
    if refusal.status == 401 and access.page:
        answer: Response = sign_in_page(401)
    else:
        answer = refusal.answer(scope.get("state", {}).get("request_id", ""))
    if has_body(Headers(scope=scope)):
        answer.headers["Connection"] = "close"
    await answer(scope, receive, send)


def _authorize(
    method: str, headers: Mapping[str, str], access: RouteAccess, principal: Principal
) -> Refusal | None:
    if KeyScope(access.need) not in principal.scopes:
        return Refusal(403, f"this key has not the scope {access.need.value!r}")
    if method not in SAFE and not same_site(headers, principal.by_cookie):
        return Refusal(403, "the request comes from a page of another site")
    return None


def _refuse_size(headers: Mapping[str, str], limit: int) -> Refusal | None:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        return Refusal(400, "Content-Length is not a number")
    if int(length) > limit:
        return Refusal(413, f"the body is larger than {limit} bytes")
    return None


def _later(wait_s: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(wait_s)))}
