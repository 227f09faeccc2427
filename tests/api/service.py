"""A service for a test: an application over a fresh database, and a real server when one is needed."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from fastapi import FastAPI
from onnx import TensorProto, helper

from tests.api.fake_work import FakeWork
from tilewright.api.app import create_app
from tilewright.api.serve import Server
from tilewright.api.settings import Settings
from tilewright.db.storage.session import Database, open_database
from tilewright.tuner.jobs.runner import JobRunner, JobWork, RunnerSettings


def model_bytes(width: str | int = 8, batch: str | int = 2) -> bytes:
    """A small model; another width is another model. One with a name is a size still to be given."""
    shape: list[str | int | None] = [batch, width]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, ir_version=10, opset_imports=opset)
    return bytes(onnx.ModelProto.SerializeToString(model))


def settings_for(database: Path, **given: Any) -> Settings:
    return Settings(database=str(database), lease_s=2.0, **given)


@contextmanager
def running_server(app: FastAPI, header_s: float = 5.0, proxies: str = "") -> Iterator[str]:
    """The URL of a real server on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(app, Settings(header_s=header_s, shutdown_s=2.0, proxies=proxies))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        app.state.service.closing = True
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def running_runner(
    database: Database, work: JobWork, name: str = "runner", lease_s: float = 2.0
) -> Iterator[JobRunner]:
    """A runner on a thread."""
    runner = JobRunner(database, RunnerSettings(name, lease_s, lease_s / 4, 0.05), work)
    thread = threading.Thread(target=runner.serve, daemon=True)
    thread.start()
    try:
        yield runner
    finally:
        runner.stop()
        thread.join(20)


@contextmanager
def whole_service(directory: Path, pause_s: float = 0.0, **given: Any) -> Iterator[tuple[str, Database]]:
    """Server and runner over one database, as `tune serve` has them."""
    database = open_database(directory / "tuning.db")
    app = create_app(settings_for(directory / "tuning.db", **given), database)
    with running_runner(database, FakeWork(database, pause_s)), running_server(app) as url:
        yield url, database
    database.close()
