"""Models that keep their tensors in files beside them: sent along as further parts of the form."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest

from tests.api.fake_work import FakeReport, FakeWork
from tests.onnx_models import model, node, saved, value
from tilewright.api.client import Client
from tilewright.api.schemas.jobs import JobSpec
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.files.bundle import MAGIC, pack, unpack
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.db.storage.session import Database
from tilewright.tuner.jobs.runner import JobRunner, RunnerSettings
from tilewright.tuner.request import Hooks, TuneRequest

WEIGHTS = np.arange(4096, dtype=np.float32).reshape(64, 64)


def _kept_beside(folder: Path, location: str = "net.onnx_data") -> Path:
    made = model([node("MatMul", "x w", "y")], [value("x", [2, 64])], ["y"], {"w": WEIGHTS})
    onnx.external_data_helper.convert_model_to_external_data(made, location=location, size_threshold=0)
    if location == "net.onnx_data":
        (folder / location).write_bytes(WEIGHTS.tobytes())
        made.graph.initializer[0].ClearField("raw_data")
        made.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    return saved(made, folder, "net.onnx")


def _submitted(client: httpx.Client, path: Path, **data: bytes) -> httpx.Response:
    files: list[tuple[str, Any]] = [("model", (path.name, path.read_bytes()))]
    files += [("data", (name, content)) for name, content in data.items()]
    return client.post("/v1/jobs", files=files, data={"spec": json.dumps({"target": "ascend910"})})


class _Reading(FakeWork):
    """Fake work that reads its model first."""

    read: np.ndarray | None = None

    def run(self, request: TuneRequest, hooks: Hooks) -> FakeReport:
        graph = import_model(request.model).graph
        (self.read,) = (array for array in graph.constants.values() if array.size == WEIGHTS.size)
        return super().run(request, hooks)


def test_a_job_has_them_beside_its_model(client: httpx.Client, database: Database, tmp_path: Path) -> None:
    path = _kept_beside(tmp_path)
    answer = _submitted(client, path, **{"net.onnx_data": WEIGHTS.tobytes()})
    assert answer.status_code == 201, answer.text
    work = _Reading(database)
    runner = JobRunner(database, RunnerSettings("test"), work)
    while runner.step():
        pass
    job = client.get(answer.json()["links"]["self"]).json()
    assert job["state"] == "succeeded", job["error"]
    np.testing.assert_array_equal(work.read, WEIGHTS)


def test_the_client_sends_them_through_links_of_a_hub(client: httpx.Client, tmp_path: Path) -> None:
    path = _kept_beside(tmp_path)
    hub = tmp_path / "snapshots"
    hub.mkdir()
    for name in ("net.onnx", "net.onnx_data"):
        (tmp_path / name).rename(tmp_path / f"blob_{name}")
        (hub / name).symlink_to(tmp_path / f"blob_{name}")
    with Client(str(client.base_url)) as sender:
        assert sender.submit(hub / path.name, JobSpec(target="ascend910")).state == "queued"


def test_the_client_sends_nothing_from_elsewhere(client: httpx.Client, tmp_path: Path) -> None:
    path = _kept_beside(tmp_path, "../secret")
    (tmp_path.parent / "secret").write_bytes(WEIGHTS.tobytes())
    with Client(str(client.base_url)) as sender, pytest.raises(ModelError, match="leaves the model's folder"):
        sender.submit(path, JobSpec(target="ascend910"))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "needs those files in its folder"),
        (["other"], "needs those files in its folder"),
        (["net.onnx_data", "../x"], "'../x' is no name of a file beside the model"),
        (["net.onnx_data", "model.onnx"], "has the model's own name"),
    ],
)
def test_what_does_not_fit_is_one_line(
    client: httpx.Client, tmp_path: Path, names: list[str], reason: str
) -> None:
    answer = _submitted(client, _kept_beside(tmp_path), **dict.fromkeys(names, WEIGHTS.tobytes()))
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],
        lambda text: text.replace(b'"beside"', b'"besides"'),
        lambda text: text.replace(b'"data"', b'"a/.."'),
        lambda text: MAGIC,
    ],
)
def test_a_damaged_bundle_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    bundle = io.BytesIO()
    pack(io.BytesIO(b"model"), [("data", io.BytesIO(b"tensors"))], bundle)
    with pytest.raises(ModelError, match=r"bundle of the model|no name of a file"):
        unpack(io.BytesIO(damage(bundle.getvalue())), tmp_path / "model.onnx")
