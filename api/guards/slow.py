"""HTTP connections with limits on the time and size of their headers. Slow headers end the connection. At
most READ_BYTES are read off a socket at once, so a request that is refused by its headers costs no more of
its body than that.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

READ_BYTES = 32 * 1024
MOST_HEADER_BYTES = 64 * 1024


def protocol_with_deadline(header_s: float) -> type[HttpToolsProtocol]:
    """Uvicorn's protocol, closing a connection whose request headers take longer than `header_s`."""

    class DeadlineProtocol(HttpToolsProtocol, asyncio.BufferedProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _header_bytes = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._room = memoryview(bytearray(READ_BYTES))
            self._arm()

        def get_buffer(self, sizehint: int) -> memoryview:
            """The buffer that the event loop reads into."""
            return self._room

        def buffer_updated(self, nbytes: int) -> None:
            """So much was read."""
            self.data_received(bytes(self._room[:nbytes]))

        def data_received(self, data: bytes) -> None:
            if self._between_requests():
                if self._deadline is None:
                    self._arm()
                self._header_bytes += len(data)
            super().data_received(data)
            if not self._between_requests():
                self._disarm()
                if len(self.cycle.body) >= READ_BYTES // 2:
                    self.flow.pause_reading()  # until the application asks for more
            elif self._header_bytes > MOST_HEADER_BYTES:
                self._give_up()

        def on_headers_complete(self) -> None:
            """A request for `http://name/path` names its host a second time, and the gate refuses two."""
            authority = authority_of(self.url)
            if authority is not None and (b"host", authority) not in self.headers:
                self.headers.append((b"host", authority))
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._disarm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def _between_requests(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _arm(self) -> None:
            self._deadline = self.loop.call_later(header_s, self._give_up)

        def _disarm(self) -> None:
            self._header_bytes = 0
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _give_up(self) -> None:
            self._deadline = None
            if not self.transport.is_closing():
                self.transport.close()

    return DeadlineProtocol


def authority_of(url: bytes) -> bytes | None:
    """The host, and the port if there is one, of an absolute URI; None where there is only a path."""
    scheme, separator, rest = url.partition(b"://")
    return rest.partition(b"/")[0].partition(b"?")[0] if separator and b"/" not in scheme else None
