"""The verbs that talk to a server, and the client under them."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.service import model_bytes, whole_service
from tilewright.api.cli.main import main
from tilewright.api.client import Client, ServiceError
from tilewright.api.schemas.jobs import JobSpec
from tilewright.compiler_core.errors import UsageError
from tilewright.db.storage.session import Database
from tilewright.measure.host import file


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Database]]:
    with whole_service(tmp_path_factory.mktemp("client"), pause_s=0.02) as service:
        yield service


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(model_bytes(batch="batch"))
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str, exit_code: int = 0) -> str:
    assert main(arguments) == exit_code
    captured = capsys.readouterr()
    return captured.out if exit_code == 0 else captured.err


def test_the_verbs(
    served: tuple[str, Database],
    model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TILEWRIGHT_SERVER", served[0])
    job = said(
        capsys, "submit", str(model), "--target", "ascend910", "--trials", "8", "--dim", "batch=2"
    ).strip()
    story = said(capsys, "watch", job)
    assert "measured" in story
    assert "state=succeeded" in story.splitlines()[-1]
    events = json.loads(said(capsys, "watch", job[:8], "--json", "-"))["events"]
    assert [event["number"] for event in events if event["number"]] == [1, 2, 3]
    assert job in said(capsys, "jobs")
    assert json.loads(said(capsys, "jobs", "--json", "-"))["jobs"][0]["id"] == job
    dims = ("--dim", "batch=2")
    asked = ("submit", str(model), "--target", "ascend910", "--json", "-")
    text = said(capsys, *asked, "--trials", "9999", *dims)
    running = json.loads(text)["id"]
    text = said(capsys, *asked, "--dim", "batch=0..64")
    assert json.loads(text)["spec"]["dims"] == {"batch": {"low": 0, "high": 64}}
    assert running in said(capsys, "cancel", running)
    assert "state=cancelled" in said(capsys, "watch", running)


def test_a_job_for_a_cpu_says_what_it_waits_for(
    served: tuple[str, Database],
    model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TILEWRIGHT_SERVER", served[0])
    monkeypatch.setattr(file, "ensure_host", lambda: "ascend310")
    assert main(["submit", str(model), "--target", "host", "--trials", "1", "--dim", "batch=2"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.split()) == 1
    assert "tune runner --host" in captured.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["submit", "nowhere.onnx", "--target", "ascend910"], "No such file"),
        (["submit", "MODEL", "--target", "ascend"], "presets are"),
        (["submit", "MODEL", "--target", "missing.toml"], "No such file"),
        (["submit", "MODEL", "--target", "ascend910", "--dim", "batch"], "NAME=VALUE"),
        (["submit", "MODEL", "--target", "ascend910", "--objective", "speed"], "objective"),
        (["watch", "0123"], "there is no job"),
        (["cancel", "0123"], "there is no job"),
        (["jobs", "--state", "asleep"], "422"),
        (["jobs", "--server", "gopher://x"], "gopher"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    served: tuple[str, Database],
    model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.setenv("TILEWRIGHT_SERVER", served[0])
    asked = [str(model) if argument == "MODEL" else argument for argument in arguments]
    line = said(capsys, *asked, exit_code=2)
    assert says in line
    assert line.count("\n") == 1


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not answer" in said(capsys, "jobs", "--server", "http://127.0.0.1:1", exit_code=1)


def test_keys_come_and_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = ["--db", str(tmp_path / "tuning.db")]
    secret = said(capsys, "keys", "create", "laptop", "--tenant", "alice", *database).strip()
    assert secret.startswith("tw_")
    listed = said(capsys, "keys", "list", *database)
    assert "read,submit" in listed
    assert secret not in listed
    (row,) = json.loads(said(capsys, "keys", "list", "--json", "-", *database))["keys"]
    said(capsys, "keys", "revoke", str(row["id"]), *database)
    assert "revoked" in said(capsys, "keys", "list", *database)
    assert "unknown" in said(capsys, "keys", "create", "x", "--scope", "root", *database, exit_code=2)
    assert "no API key 99" in said(capsys, "keys", "revoke", "99", *database, exit_code=2)


def test_serving_a_network_without_a_key_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(capsys, "serve", "--host", "0.0.0.0", "--db", str(tmp_path / "tuning.db"), exit_code=2)
    assert "tune keys create" in line
    assert line.count("\n") == 1


def test_an_address_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = said(capsys, "serve", "--port", port, "--db", str(tmp_path / "tuning.db"), exit_code=2)
    assert "Address already in use" in line
    assert line.count("\n") == 1


def test_a_watch_survives_a_broken_stream(served: tuple[str, Database], model: Path) -> None:
    """Every connection breaks after a few hundred bytes; every event still arrives once."""

    class Breaking(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = super().handle_request(request)
            if not request.url.path.endswith("/events"):
                return answer

            def broken() -> Iterator[bytes]:
                left = 600
                for piece in answer.stream:  # type: ignore[union-attr]  # a synchronous transport
                    yield piece[:left]
                    left -= len(piece)
                    if left <= 0:
                        raise httpx.ReadError("cut")

            return httpx.Response(answer.status_code, headers=answer.headers, content=broken())

    with Client(served[0], transport=Breaking()) as client:
        job = client.submit(model, JobSpec(target="ascend910", dims={"batch": 2}, trials=24))
        numbers = [event.number for event in client.watch(job.id) if event.number]
    assert numbers == list(range(1, 8))


def test_errors_keep_their_kind(served: tuple[str, Database]) -> None:
    with Client(served[0]) as client:
        with pytest.raises(UsageError, match="404"):
            client.job("0" * 32)
        assert not client.lookup("ascend910", model="0" * 64).hit

    def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, text="no database")

    with (
        Client("http://nowhere", transport=httpx.MockTransport(broken)) as client,
        pytest.raises(ServiceError, match="503"),
    ):
        client.jobs()
