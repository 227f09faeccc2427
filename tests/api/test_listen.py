"""The socket that the service listens on."""

import socket

import pytest

from tilewright.api.serve import listen
from tilewright.api.settings import Settings
from tilewright.compiler_core.errors import UsageError


def test_answers_leave_at_once() -> None:
    with listen(Settings(port=0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_said_so() -> None:
    with listen(Settings(port=0)) as listener, pytest.raises(UsageError, match="choose another --port"):
        listen(Settings(port=listener.getsockname()[1]))
