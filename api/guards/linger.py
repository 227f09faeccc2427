"""Answers that come before the body of a request was read, on connections that then close.

    answer with Connection: close -> read the body out, within bounds -> end of the answer and the connection

A connection that closes with unread bytes is reset, and the client may lose an answer that it has not read
yet (RFC 9112, section 9.6). So the last, empty part of such an answer waits until the body was read out,
where the body is announced as a small one. A large one is not worth its bytes.
"""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

MOST_BYTES = 32 << 10
MOST_S = 2.0


def has_body(headers: Headers) -> bool:
    """Whether a request says that a body follows."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def lingering(scope: Scope, receive: Receive, send: Send) -> Send:
    """`send`, which reads the body out before it ends an answer that closes the connection."""
    announced = Headers(scope=scope).get("content-length", "")
    if not (announced.isascii() and announced.isdigit() and 0 < int(announced) <= MOST_BYTES):
        return send
    closes = False

    async def sent(message: Message) -> None:
        nonlocal closes
        if message["type"] == "http.response.start":
            closes = Headers(raw=message.get("headers", [])).get("connection", "").lower() == "close"
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (closes and last):
            await send(message)
            return
        await send({**message, "more_body": True})
        await read_out(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return sent


async def read_out(receive: Receive) -> None:
    """Reads what is left of a body, at most MOST_BYTES and for MOST_S."""
    taken = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(MOST_S):
            while taken <= MOST_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
