"""`tune serve`: the API, and a runner beside it as a process of its own."""

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from types import FrameType

import uvicorn
from fastapi import FastAPI

from tilewright.api.app import create_app
from tilewright.api.guards.auth import is_loopback
from tilewright.api.guards.slow import protocol_with_deadline
from tilewright.api.observability.logs import write_json_lines
from tilewright.api.sandbox.confine import hide_memory
from tilewright.api.service import Service
from tilewright.api.settings import PREFIX, Settings
from tilewright.compiler_core.errors import UsageError
from tilewright.db.service.api_keys import ApiKeys
from tilewright.db.storage.session import Database, open_database

log = logging.getLogger("tilewright.serve")
RESTART_S = 1.0


def serve(settings: Settings, runner: bool = True) -> int:
    """Serves until SIGINT or SIGTERM. UsageError when this would serve a network without keys, or when the
    address is in use.
    """
    hide_memory()
    database = open_database(settings.database)
    try:
        database.require_sound()
        require_key_beyond_loopback(settings, database)
        with listen(settings) as listener:
            write_json_lines(settings.log_level)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, _passed_on)
            app = create_app(settings, database)
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            print(f"Tilewright is at http://{host}:{listener.getsockname()[1]}", flush=True)
            with supervised_runner(settings) if runner else nullcontext():
                Server(app, settings).run([listener])
    finally:
        database.close()
    return 0


class Server(uvicorn.Server):
    """Ends open event streams when it is stopped."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._service: Service = app.state.service
        config = uvicorn.Config(
            app,
            loop="asyncio",  # uvloop is a tenth faster, but takes up to 256 KB off a socket at once
            http=protocol_with_deadline(settings.header_s),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=settings.proxies,
            timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
        )
        super().__init__(config)
        # Routes, schemas and tables live until the end. Looked at again by every full collection, they would
        # stop all answers for tens of milliseconds.
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        self._service.closing = True
        super().handle_exit(sig, frame)


def _passed_on(number: int, frame: FrameType | None) -> None:
    """Uvicorn ends in good order on a signal, then raises it again, which would skip our own good order."""


def listen(settings: Settings) -> socket.socket:
    """The socket to serve on. UsageError where it is taken, or not ours to have."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose another --port"
        ) from None
    # Connections inherit it. asyncio would set it where a socket names its protocol, which these do not;
    # without it the second part of an answer waits 40 ms for the client to acknowledge the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def require_key_beyond_loopback(settings: Settings, database: Database) -> None:
    """UsageError where the address is reachable from other machines and no key exists."""
    if not is_loopback(settings.host) and not ApiKeys(database).any_valid():
        raise UsageError(
            f"listening on {settings.host} needs an API key, and there is none; "
            "make one with `tune keys create`, or listen on 127.0.0.1"
        )


@contextmanager
def supervised_runner(settings: Settings) -> Iterator[None]:
    """A runner process for as long as the block lasts, restarted when it dies."""
    over = threading.Event()
    current: list[subprocess.Popen[bytes]] = []

    def supervise() -> None:
        while not over.is_set():
            child = subprocess.Popen(
                [sys.executable, "-m", "tilewright.api.runner_child"],
                stdin=subprocess.PIPE,  # closes with this process, however that ends
                env=runner_environment(settings),
                start_new_session=True,  # an interrupt from the keyboard is ours to pass on
            )
            current[:] = [child]
            if child.wait() != 0 and not over.is_set():
                log.warning("the runner ended with code %s; starting another", child.returncode)
            over.wait(RESTART_S)

    thread = threading.Thread(target=supervise, name="runner supervisor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        until = time.monotonic() + settings.shutdown_s
        while thread.is_alive():  # a child may have been started in this very moment
            for child in current:
                child.terminate() if time.monotonic() < until else child.kill()
            thread.join(0.2)


def runner_environment(settings: Settings) -> Mapping[str, str]:
    """This process's environment with every setting in it, so that a child reads the same ones."""
    given = {PREFIX + name.upper(): str(value) for name, value in asdict(settings).items()}
    return {**os.environ, **given}
