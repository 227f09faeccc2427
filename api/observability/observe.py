"""Around every request: an id, a line in the log, the time it took, headers that make browsers careful."""

import logging
import secrets
import time
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tilewright.api.guards.auth import Principal
from tilewright.api.observability import metrics
from tilewright.api.problems import problem

log = logging.getLogger("tilewright.access")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Iterable[tuple[str, str]] = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
    ("Cache-Control", "no-store"),
)


class Observe:
    """The outermost layer. A bug below it becomes a 500 with the request's id and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in HEADERS:
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, marked)
        except Exception:  # whatever breaks, the client gets an answer and the log the trace
            log.exception("request failed by a bug", extra={"request": request_id})
            if status == 0:
                refusal = problem(500, "internal error; see the log under this request_id", request_id)
                await refusal(scope, receive, marked)
        finally:
            _note(scope, status, time.perf_counter() - start)


def _note(scope: Scope, status: int, took_s: float) -> None:
    route = getattr(scope.get("route"), "path", "none")
    metrics.REQUESTS.labels(scope["method"], route, str(status)).observe(took_s)
    principal = scope["state"].get("principal")
    log.info(
        "%s %s %d",
        scope["method"],
        scope["path"],
        status,
        extra={
            "request": scope["state"]["request_id"],
            "ms": round(took_s * 1e3, 1),
            "tenant": principal.tenant if isinstance(principal, Principal) else "",
            "address": scope["client"][0] if scope.get("client") else "",
        },
    )
