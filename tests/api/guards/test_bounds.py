"""What one caller can cost the others: bytes of lists, memory of forms, texts slow to read, turns."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.api.service import model_bytes, running_server, settings_for
from tests.api.test_jobs_routes import submit
from tests.db.samples import filled, workload
from tilewright.api.app import LONGEST_FIELD_BYTES, MOST_FIELDS, create_app
from tilewright.compiler_core.files.bundle import MOST_FILES
from tilewright.compiler_core.target_model.file import LARGEST_FILE_BYTES
from tilewright.db.browse import Browse, Viewer, Wanted
from tilewright.db.repository import Repository
from tilewright.db.service.job_rows import About, JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.quotas import Quota, QuotaError
from tilewright.db.storage.session import Database
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.request import TuneRequest

LONG = 'name = "mine"\n' + "#" * (LARGEST_FILE_BYTES - 100)
A_LINE_BYTES = 2000
EVERYBODY = Viewer(None, operator=True)


def test_lists_carry_names_and_no_bodies(client: httpx.Client, database: Database) -> None:
    """500 jobs with long targets of their own were a page of 475 MB."""
    spec = request_to_json(TuneRequest(Path("net.onnx"), LONG))
    jobs = Jobs(database)
    for _ in range(40):
        jobs.submit("local", spec, about=About("net", "mine", "latency", 64))
    for path in ("/v1/jobs?limit=500", "/"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "mine" in answer.text
        assert len(answer.content) < 40 * A_LINE_BYTES
    (first, *_) = client.get("/v1/jobs").json()["jobs"]
    assert (first["model_name"], first["target"], first["objective"]) == ("net", "mine", "latency")
    assert client.get(first["links"]["self"]).json()["spec"]["target"] == LONG


def test_pages_of_records_end_where_they_grow_large(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [workload(f"kernel {number}") for number in range(7)]
    filled(Repository(database), rows)
    browse = Browse(database)
    everything, _ = browse.records(EVERYBODY, Wanted(), limit=500)
    monkeypatch.setattr("tilewright.db.browse.PAGE_BYTES", 1200)
    pages, cursor = [], None
    while True:
        page, cursor = browse.records(EVERYBODY, Wanted(), cursor, limit=500)
        pages.append(page)
        if cursor is None:
            break
    assert len(pages) > 2
    assert [row for page in pages for row in page] == everything
    monkeypatch.setattr("tilewright.db.browse.PAGE_BYTES", 1)
    assert len(browse.records(EVERYBODY, Wanted())[0]) == 1


def test_a_long_story_is_thinned_out(database: Database) -> None:
    """A report held every event of a search of a million trials."""
    jobs = Jobs(database)
    uid = jobs.submit("local", "{}")[0].uid
    assert jobs.outline(uid) == []
    lease = jobs.lease("runner", 3600.0)
    assert lease is not None
    for number in range(25):
        jobs.add_event(lease, "measured", f'{{"trials": {number}}}')
    assert jobs.outline(uid) == jobs.events(uid)
    numbers = [event.number for event in jobs.outline(uid, most=7)]
    assert (numbers[0], numbers[-1]) == (1, 25)
    assert len(numbers) <= 8


def test_an_error_in_a_list_is_short(database: Database) -> None:
    jobs = Jobs(database)
    jobs.submit("local", "{}")
    lease = jobs.lease("runner", 60.0)
    assert lease is not None
    jobs.finish(lease, JobState.FAILED, error="x" * 100_000)
    (line,) = jobs.list("local").jobs
    assert len(line.error) == 300


def test_a_form_of_many_fields_is_refused(client: httpx.Client) -> None:
    """Fields are kept in memory, and a body may be half a gigabyte."""
    files = {"model": ("m.onnx", model_bytes())}
    many = {f"field{number}": "x" for number in range(MOST_FIELDS + 1)}
    for fields in (many, {"spec": "x" * (LONGEST_FIELD_BYTES + 1)}):
        answer = client.post("/v1/jobs", files=files, data=fields)
        assert answer.status_code == 400, answer.text
    crowd = [("data", (f"{number}.bin", b"x")) for number in range(MOST_FILES + 2)]
    assert client.post("/v1/jobs", files=crowd, data={"spec": "{}"}).status_code == 400


@pytest.mark.parametrize(
    "spec",
    [
        {"target": "a." * 30_000 + "a = 1"},
        {"target": "a = " + "[" * 60_000},
        {"target": "a = 1" + "0" * 5_000},
        {"target": "[a]\n" * 16_000},
        {"target": LONG + "#" * 200},
        {"target": "ascend910", "seed": 10**4299},
        {"target": "ascend910", "inputs": {"x": [[[[[[[[[1]]]]]]]]]}},
    ],
    ids=["parts", "depth", "digits", "tables", "size", "seed", "nested"],
)
def test_texts_are_read_in_the_child_alone(
    client: httpx.Client, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that the child refuses is not parsed by the server: here that would be a bug, a 500."""
    for name in ("tuner.jobs.request.target_from_text", "api.sandbox.readers.JobSpec"):
        monkeypatch.setattr(f"tilewright.{name}", None)
    answer = submit(client, **spec)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]
    for text in ("[" * 200_000, '{"seed": 1' + "0" * 5_000 + "}", '"\\ud800"', "{", "\x00"):
        answer = client.post("/v1/jobs", files={"model": ("m", b"")}, data={"spec": text})
        assert answer.status_code == 422, answer.text


def test_quotas_are_for_each_tenant(database: Database) -> None:
    jobs, quota = Jobs(database), Quota(jobs=2, trials=100, stored_bytes=10, priority=5)

    def ask(tenant: str, trials: int = 10, priority: int = 0) -> None:
        jobs.submit(tenant, "{}", about=About(trials=trials), priority=priority, quota=quota)

    with pytest.raises(QuotaError, match="priority 6"):
        ask("greedy", priority=6)
    ask("greedy", trials=60)
    with pytest.raises(QuotaError, match="41 trials on top of the 60"):
        ask("greedy", trials=41)
    ask("greedy", trials=40)
    with pytest.raises(QuotaError, match="2 jobs"):
        ask("greedy", trials=0)
    ask("modest")
    lease = jobs.lease("runner", 60.0)
    assert lease is not None
    jobs.finish(lease, JobState.SUCCEEDED)
    ask("greedy", trials=0)


def test_over_the_quota_is_too_much_for_now(database: Database, tmp_path: Path) -> None:
    few = settings_for(tmp_path / "tuning.db", quota_jobs=1, quota_models_mb=0)
    app: FastAPI = create_app(few, database)
    with running_server(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        assert submit(client, key="first").status_code == 201
        assert submit(client, key="first").status_code == 200
        for model in (None, model_bytes(24)):
            answer = submit(client, model, seed=1)
            assert answer.status_code == 429, answer.text
            assert int(answer.headers["retry-after"]) > 0
            assert "tenant" in answer.json()["detail"]


def test_tenants_take_turns(database: Database) -> None:
    """However many jobs somebody has, and however urgent they are."""
    jobs = Jobs(database)
    for tenant, priority in [("a", 3), ("a", 3), ("a", 0), ("b", 9), ("c", 1), ("c", 1)]:
        jobs.submit(tenant, "{}", priority=priority)
    order = []
    while (lease := jobs.lease("runner", 60.0)) is not None:
        order.append((lease.job.tenant, lease.job.priority))
        jobs.finish(lease, JobState.SUCCEEDED)
    assert order == [("a", 3), ("b", 9), ("c", 1), ("a", 3), ("c", 1), ("a", 0)]


def test_who_runs_least_comes_first(database: Database) -> None:
    jobs = Jobs(database)
    for _ in range(3):
        jobs.submit("long", "{}")
        jobs.submit("short", "{}")
    held = [jobs.lease("runner", 60.0) for _ in range(4)]
    assert [lease.job.tenant for lease in held if lease] == ["long", "short", "long", "short"]
    assert held[3] is not None
    jobs.finish(held[3], JobState.SUCCEEDED)
    following = jobs.lease("runner", 60.0)
    assert following is not None
    assert following.job.tenant == "short"
