"""A typed client of the service, over REST and nothing else.

with Client("http://127.0.0.1:8757") as client:
    job = client.submit(Path("model.onnx"), JobSpec(target="ascend910"))
    for event in client.watch(job.id):
        print(event.kind, event.body)
    print(client.result(job.id)["speedup"])
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx

from tilewright.api.schemas.jobs import Job, JobPage, JobSpec
from tilewright.api.schemas.records import Lookup, Taken
from tilewright.compiler_core.errors import ModelError, TilewrightError, UsageError
from tilewright.compiler_core.files.outputs import output

BYTES = "application/octet-stream"
TIMEOUT_S = 60.0
RECONNECT_S = 1.0
RECONNECTS = 60
LARGEST_RECORDS = 4 << 30


class ServiceError(TilewrightError):
    """The service is not there, or failed."""


@dataclass(frozen=True)
class Heard:
    """One event of a job's stream; `number` is 0 for those that are not part of its story."""

    number: int
    kind: str
    body: Any


class Client:
    """One server. A refused request (4xx) raises UsageError, any other failure ServiceError."""

    def __init__(
        self, server: str, key: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._http = httpx.Client(
                base_url=server, headers=headers, timeout=TIMEOUT_S, transport=transport, trust_env=False
            )
        except httpx.InvalidURL as error:
            raise UsageError(f"--server {server!r}: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(self, model: Path, spec: JobSpec, idempotency_key: str | None = None) -> Job:
        """Queues a job; the model and the files that it keeps its tensors in are streamed from disk."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        with ExitStack() as stack:
            files = [("model", (model.name, _opened(stack, model), BYTES))]
            files += [("data", (name, _opened(stack, path), BYTES)) for name, path in _beside(model).items()]
            form = {"spec": spec.model_dump_json()}
            answer = self._ask("POST", "/v1/jobs", files=files, data=form, headers=headers)
        return Job.model_validate(answer.json())

    def jobs(
        self,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        beginning: str | None = None,
    ) -> JobPage:
        """A page of your jobs; with `beginning`, of those whose id begins so."""
        asked = {"state": state, "cursor": cursor, "limit": limit, "id": beginning}
        given = {name: value for name, value in asked.items() if value is not None}
        return JobPage.model_validate(self._ask("GET", "/v1/jobs", params=given).json())

    def job(self, job_id: str) -> Job:
        """One job."""
        return Job.model_validate(self._ask("GET", f"/v1/jobs/{job_id}").json())

    def cancel(self, job_id: str) -> Job:
        """Asks for a job's end."""
        return Job.model_validate(self._ask("POST", f"/v1/jobs/{job_id}/cancel").json())

    def result(self, job_id: str) -> dict[str, Any]:
        """The object that `tune run --json` prints."""
        answer: dict[str, Any] = self._ask("GET", f"/v1/jobs/{job_id}/result").json()
        return answer

    def lookup(
        self,
        target: str,
        *,
        workload: str | None = None,
        model: str | None = None,
        dim: str | None = None,
        objective: str = "latency",
        toolchain: str | None = None,
        frozen: bool = False,
    ) -> Lookup:
        """The best record of a kernel or a network, or the answer of a range at a size, as `dim="seq=77"`.

        If `frozen`, exactly what the lock of the service holds; UsageError where it holds no answer.
        """
        asked = {"target": target, "workload": workload, "model": model, "dim": dim}
        asked |= {"objective": objective, "toolchain": toolchain, "frozen": "true" if frozen else None}
        given = {name: value for name, value in asked.items() if value is not None}
        return Lookup.model_validate(self._ask("GET", "/v1/lookup", params=given).json())

    def pull(self, path: Path) -> None:
        """All records of the server, as JSON Lines into the file at `path`."""
        try:
            with self._http.stream("GET", "/v1/exchange") as answer, output(path) as file:
                if answer.is_error:
                    answer.read()
                    _raise(answer)
                taken = 0
                for part in answer.iter_bytes():
                    taken += len(part)
                    if taken > LARGEST_RECORDS:
                        raise ServiceError(f"{self._http.base_url} sends more than {LARGEST_RECORDS} bytes")
                    file.write(part)
        except httpx.UnsupportedProtocol as error:
            raise UsageError(f"server {str(self._http.base_url)!r}: {error}") from None
        except httpx.TransportError as error:
            raise ServiceError(f"{self._http.base_url} does not answer: {error}") from None

    def push(self, path: Path) -> Taken:
        """Records from a file of JSON Lines into the server's database."""
        with path.open("rb") as file:
            sent = {"records": (path.name, file, BYTES)}
            return Taken.model_validate(self._ask("POST", "/v1/exchange", files=sent).json())

    def watch(self, job_id: str, after: int = 0) -> Iterator[Heard]:
        """A job's events until it ends, across broken connections."""
        failures = 0
        while True:
            try:
                for event in self._stream(job_id, after):
                    failures = 0
                    after = max(after, event.number)
                    yield event
                    if event.kind == "state" and event.body["state"] not in ("queued", "running"):
                        return
            except (httpx.TransportError, ServiceError) as error:
                failures += 1
                if failures > RECONNECTS:
                    raise ServiceError(f"the stream of job {job_id} breaks off: {error}") from None
            time.sleep(RECONNECT_S)

    def _stream(self, job_id: str, after: int) -> Iterator[Heard]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": str(after)} if after else {})}
        with self._http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
            if answer.is_error:
                answer.read()
                _raise(answer)
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(":")
                if line and name:
                    fields[name] = value.removeprefix(" ")
                elif not line and "data" in fields:
                    kind = fields.get("event", "message")
                    yield Heard(int(fields.get("id", 0)), kind, json.loads(fields["data"]))
                    fields = {}

    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **given)
        except httpx.UnsupportedProtocol as error:
            raise UsageError(f"--server {str(self._http.base_url)!r}: {error}") from None
        except httpx.TransportError as error:
            raise ServiceError(f"{self._http.base_url} does not answer: {error}") from None
        if answer.is_error:
            _raise(answer)
        return answer


def _opened(stack: ExitStack, path: Path) -> BinaryIO:
    try:
        return stack.enter_context(path.open("rb"))
    except OSError as error:
        raise UsageError(f"model {str(path)!r}: {error.strerror}") from None


def _beside(model: Path) -> Mapping[str, Path]:
    """The files of a model's tensors; none for a file that is no model, on which the server decides."""
    from tilewright.compiler_core.onnx_import.model_files.beside import files_beside
    from tilewright.compiler_core.onnx_import.model_files.load import load_model

    try:
        load_model(model)
    except ModelError:
        return {}
    return files_beside(model)


def _raise(answer: httpx.Response) -> None:
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200]
    line = f"the server says {answer.status_code}: {detail}"
    raise UsageError(line) if answer.is_client_error else ServiceError(line)
