"""Jobs over REST: submitted, listed, followed, cancelled, and what comes out of them."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.fake_work import FakeWork
from tests.api.service import model_bytes, running_runner
from tests.onnx_models import model as model_of
from tests.onnx_models import node, value
from tilewright.api.schemas.patterns import IN_WORDS
from tilewright.db.service.jobs import Jobs
from tilewright.db.storage.session import Database
from tilewright.tuner.jobs.request import read_request
from tilewright.tuner.jobs.runner import JobRunner, RunnerSettings


def submit(client: httpx.Client, model: bytes | None = None, key: str = "", **spec: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(
        "/v1/jobs",
        files={"model": ("net/../../small.onnx", model_bytes() if model is None else model)},
        data={"spec": json.dumps({"target": "ascend910", **spec})},
        headers=headers,
    )


def work_off(database: Database) -> None:
    runner = JobRunner(database, RunnerSettings("test"), FakeWork(database))
    while runner.step():
        pass


def events_of(client: httpx.Client, job: str, after: int = 0) -> list[tuple[int, str, Any]]:
    headers = {"Last-Event-ID": str(after)} if after else {}
    text = client.get(f"/v1/jobs/{job}/events", headers=headers, params={"follow": "false"}).text
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if "data" in fields:
            found.append((int(fields.get("id", 0)), fields["event"], json.loads(fields["data"])))
    return found


def test_a_job_may_end_within_a_regret(client: httpx.Client, database: Database) -> None:
    asked = submit(client, trials=10, regret=0.03)
    assert asked.status_code == 201, asked.text
    assert asked.json()["spec"]["regret"] == 0.03
    row = Jobs(database).get(asked.json()["id"])
    assert row is not None
    assert read_request(row.spec).enough == 0.03
    assert submit(client, regret=2).status_code == 422
    assert submit(client, level=3).json()["spec"]["regret"] is None


def test_a_job_from_upload_to_program(client: httpx.Client, database: Database) -> None:
    answer = submit(client, model_bytes(10), trials=10, seed=3, priority=2)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["model_name"], job["spec"]["priority"]) == ("queued", "small", 2)
    assert client.get(f"/v1/jobs/{job['id']}/result").status_code == 409
    work_off(database)
    done = client.get(job["links"]["self"]).json()
    assert (done["state"], done["attempts"]) == ("succeeded", 1)
    result = client.get(f"/v1/jobs/{job['id']}/result").json()
    assert result["trials"] == 10
    assert result["regret_estimate"] is None  # infinite, which JSON cannot hold
    report = client.get(f"/v1/jobs/{job['id']}/report").json()
    assert report["why_it_stopped"] == "the budget of trials is spent"
    assert set(report["drawings"]) == {"convergence", "kernels", "roofline", "timeline", "memory"}
    for path in report["drawings"].values():
        drawing = client.get(path)
        assert drawing.headers["content-type"] == "image/svg+xml"
        assert drawing.text.startswith("<svg")
        assert "<relu>" not in drawing.text
    assert client.get(f"/v1/jobs/{job['id']}/drawings/secrets.svg").status_code == 404
    assert client.get(f"/v1/jobs/{job['id']}/program").json() == {"version": 1}
    runs = client.get("/v1/runs", params={"job": job["id"]}).json()["runs"]
    assert [run["job"] for run in runs] == [job["id"]]
    records = client.get("/v1/records", params={"run": runs[0]["id"], "limit": 4}).json()
    assert len(records["records"]) == 4
    assert client.get(f"/v1/records/{records['records'][0]['id']}").json() == records["records"][0]
    assert client.get(f"/v1/runs/{runs[0]['id']}").json() == runs[0]


def test_a_job_is_found_by_its_beginning_among_all(client: httpx.Client, database: Database) -> None:
    """Only the newest page of jobs was looked through."""
    oldest = submit(client, trials=10).json()["id"]
    for _ in range(3):
        Jobs(database).submit("local", "{}")
    found = client.get("/v1/jobs", params={"id": oldest[:8], "limit": 1}).json()
    assert [job["id"] for job in found["jobs"]] == [oldest]
    assert found["next"] is None
    assert client.get("/v1/jobs", params={"id": oldest[:8], "state": "running"}).json()["jobs"] == []
    assert client.get("/v1/jobs", params={"id": "xyz"}).status_code == 422


def test_events_go_on_where_they_broke_off(client: httpx.Client, database: Database) -> None:
    job = submit(client, trials=12).json()["id"]
    assert events_of(client, job) == [(0, "state", {"state": "queued", "error": ""})]
    work_off(database)
    everything = events_of(client, job)
    assert [kind for _, kind, _ in everything] == ["phase", "measured", "measured", "measured", "state"]
    assert [number for number, _, _ in everything] == [1, 2, 3, 4, 0]
    assert events_of(client, job, after=3) == everything[3:]
    assert everything[-1][2]["state"] == "succeeded"


def test_a_job_may_ask_for_a_front(client: httpx.Client) -> None:
    answer = submit(client, model_bytes(9), objective="latency,peak_bytes")
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"]["objective"] == "latency,peak_bytes"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"target": "ascend"}, "presets are"),
        ({"target": "name = 3"}, "the target's text"),
        ({"target": "/etc/passwd"}, "no target is called"),
        ({"target": "../x.toml"}, "no target is called"),
        ({"level": 4}, "less than or equal to 3"),
        ({"trials": -1}, "greater than or equal to 0"),
        ({"objective": "speed"}, "'speed' is unknown; choose one of: latency; energy;"),
        ({"dims": {"sequence": 8}}, "it has none"),
        ({"device": "os:system"}, "Extra inputs"),
        ({"dims": {"batch": 9e99}}, "body.spec.dims.batch: not a size; give a whole number from 0 on, or a"),
        ({"dims": {"batch": -1}}, "body.spec.dims.batch: not a size"),
        ({"dims": {"batch": {"low": 1, "high": 9e99}}}, "body.spec.dims.batch.high: the number is too large"),
        ({"dims": {"batch": {"low": 1}}}, "body.spec.dims.batch.high: it has to be given"),
        ({"dims": [1]}, "body.spec.dims: not an object of names and values"),
        ({"target": 3}, "body.spec.target: not a text; give the name of a preset, or the text of"),
        ({"trials": 9e99}, "body.spec.trials: the number is too large"),
    ],
)
def test_a_bad_spec_is_one_line(client: httpx.Client, spec: dict[str, Any], says: str) -> None:
    answer = submit(client, model_bytes(9), **spec)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert says in problem["detail"]
    assert "\n" not in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_dims_are_checked_whether_or_not_the_model_was_read_before(client: httpx.Client) -> None:
    model = model_bytes(11, batch="batch")
    for _ in range(2):
        assert "batch=1" in submit(client, model).json()["detail"]
        assert "it has batch" in submit(client, model, dims={"batch": 2, "seq": 8}).json()["detail"]
        assert submit(client, model, dims={"batch": 2}).status_code == 201


def best_rows() -> bytes:
    """Keeps as many rows as there are of at most 5: it is imported only with its rows bound."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape at", "rows"),
        node("Concat", "rows most", "both", axis=0),
        node("ReduceMin", "both", "k", keepdims=1),
        node("TopK", "x k", "values places", axis=0),
    ]
    constants = {"at": np.array([0]), "most": np.array([5])}
    made = model_of(nodes, [value("x", ["rows", 4])], ["values"], constants)
    return bytes(made.SerializeToString())


def test_a_model_is_read_with_its_dims_bound(client: httpx.Client) -> None:
    model = best_rows()
    refused = submit(client, model).json()
    assert "give a size for 'rows'" in refused["detail"]
    assert [fault["where"] for fault in refused["errors"]] == ["body.spec.dims.rows"]
    ranged = submit(client, model_bytes("width", batch="batch"), dims={"batch": {"low": 1, "high": 4}})
    assert [fault["where"] for fault in ranged.json()["errors"]] == ["body.spec.dims.width"]
    for rows in (3, 0, {"low": 1, "high": 40}):
        answer = submit(client, model, dims={"rows": rows})
        assert answer.status_code == 201, answer.text
        assert answer.json()["spec"]["dims"] == {"rows": rows}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"dims": {"batch": {"low": 4, "high": 1}}}, "is empty"),
        ({"dims": {"batch": {"low": 1}}}, "batch.high: it has to be given"),
        ({"dims": {"batch": {"low": -1, "high": 3}}}, "greater than or equal to 0"),
        ({"dims": {"batch": {"low": 1, "high": 3}, "seq": {"low": 1, "high": 3}}}, "one dim can be ranged"),
        ({"dims": {"seq": {"low": 1, "high": 3}}}, "no dim 'seq' to range; it has batch"),
        ({"dims": {"batch": {"low": 1, "high": 3}}, "objective": "latency,energy"}, "takes one objective"),
        ({"dims": {"batch": {"low": 1, "high": 3}}, "level": 0}, "needs measurements"),
    ],
)
def test_a_bad_range_is_one_line(client: httpx.Client, spec: dict[str, Any], says: str) -> None:
    answer = submit(client, model_bytes(13, batch="batch"), **spec)
    assert answer.status_code == 422, answer.text
    assert says in answer.text


@pytest.mark.parametrize(
    "model", [b"", b"\x89PNG\r\n", b"\x08\x07" + b"\xff" * 100], ids=["empty", "png", "noise"]
)
def test_what_is_no_model_is_refused_and_not_kept(
    client: httpx.Client, database: Database, model: bytes
) -> None:
    answer = submit(client, model)
    assert answer.status_code == 422
    assert "/tmp" not in answer.text
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_a_target_of_ones_own_is_text(client: httpx.Client, database: Database) -> None:
    text = client.get("/v1/targets/gemmini16").json()["toml"]
    answer = submit(client, target=text.replace('name = "gemmini16"', 'name = "mine"'))
    assert answer.status_code == 201, answer.text
    work_off(database)
    assert client.get(answer.json()["links"]["self"]).json()["state"] == "succeeded"


def test_one_job_a_key_however_often_it_is_sent(client: httpx.Client) -> None:
    def send(number: int) -> tuple[int, str]:
        answer = submit(client, key=f"key-{number % 5}", seed=number % 5)
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(4) as threads:  # as many as one address may send without a wait
        answers = list(threads.map(send, range(60)))
    assert {status for status, _ in answers} == {200, 201}
    assert [status for status, _ in answers].count(201) == 5
    assert len({job for _, job in answers}) == 5
    assert len(client.get("/v1/jobs").json()["jobs"]) == 5
    other = submit(client, key="key-1", seed=99)
    assert other.status_code == 422
    assert "another request" in other.json()["detail"]


def test_pages_of_jobs_hold_each_job_once(client: httpx.Client) -> None:
    made = [submit(client, seed=number).json()["id"] for number in range(7)]
    client.post(f"/v1/jobs/{made[0]}/cancel")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        given: dict[str, str | int] = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/jobs", params=given).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
    assert seen == made[::-1]
    states = client.get("/v1/jobs", params={"state": "cancelled"}).json()["jobs"]
    assert [job["id"] for job in states] == made[:1]


def test_the_urgent_job_runs_first(client: httpx.Client, database: Database) -> None:
    jobs = [submit(client, priority=priority).json()["id"] for priority in (0, 5, -5, 5)]
    work_off(database)
    runs = client.get("/v1/runs").json()["runs"]
    assert [run["job"] for run in runs][::-1] == [jobs[1], jobs[3], jobs[0], jobs[2]]


def test_a_running_job_is_cancelled_after_its_batch(client: httpx.Client, database: Database) -> None:
    job = submit(client, trials=1000).json()["id"]
    with running_runner(database, FakeWork(database, pause_s=0.05)):
        while client.get(f"/v1/jobs/{job}").json()["state"] == "queued":
            pass
        assert client.post(f"/v1/jobs/{job}/cancel").json()["cancel_requested"]
        text = client.get(f"/v1/jobs/{job}/events").text  # ends with the job
    assert '"state": "cancelled"' in text
    assert client.get(f"/v1/jobs/{job}/result").json()["trials"] < 1000
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"


def test_lookup_answers_and_misses(client: httpx.Client, database: Database) -> None:
    from tests.db import samples
    from tilewright.compiler_core.toolchain import TOOLCHAIN
    from tilewright.db.records import Key, NewRun, TargetRow
    from tilewright.db.repository import Repository
    from tilewright.measure.objectives import Objective

    target = client.get("/v1/targets/ascend910").json()["digest"]
    repository = Repository(database)
    row = samples.workload()
    repository.put_target(TargetRow(target, "ascend910", ""))
    repository.put_model(samples.MODEL)
    repository.put_workloads([row])
    run = repository.start_run(NewRun(target, TOOLCHAIN, Objective.LATENCY, 0, samples.MODEL.digest)).uid
    repository.commit_trials(samples.confirmations(run, 0, row))
    repository.publish_best(Key(row.digest, target, TOOLCHAIN))
    hit = client.get("/v1/lookup", params={"workload": row.digest, "target": "ascend910"}).json()
    assert (hit["hit"], hit["best"]["latency_us"]) == (True, 11.0)
    assert client.get("/v1/lookup", params={"workload": row.digest, "target": target}).json() == hit
    assert client.get("/v1/lookup", params={"workload": row.digest[:8], "target": target}).json() == hit
    other = {"workload": row.digest, "target": "ascend910", "toolchain": "board-1"}
    assert not client.get("/v1/lookup", params=other).json()["hit"]
    none = client.get("/v1/lookup", params={"workload": "0123456789", "target": target}).json()
    assert "begins with 0123456789" in none["reason"]
    miss = client.get(
        "/v1/lookup", params={"workload": row.digest, "target": "ascend910", "objective": "energy"}
    ).json()
    assert not miss["hit"]
    assert "objective" in miss["reason"]
    assert client.get("/v1/lookup", params={"target": "ascend910"}).status_code == 422
    assert client.get("/v1/lookup", params={"workload": row.digest, "target": "no"}).status_code == 422


def test_lookup_answers_a_size_inside_a_range(client: httpx.Client, database: Database) -> None:
    from tests.db import samples
    from tilewright.compiler_core.toolchain import TOOLCHAIN
    from tilewright.db.layers.selectors import Selectors
    from tilewright.db.records import Key, TargetRow
    from tilewright.db.repository import Repository
    from tilewright.search_space.knobs import Config
    from tilewright.tuner.sizes.selection import Interval, selector_row

    target = client.get("/v1/targets/ascend910").json()["digest"]
    repository, row = Repository(database), samples.workload()
    repository.put_target(TargetRow(target, "ascend910", ""))
    repository.put_workloads([row])
    interval = Interval(65, 108, 108, 0.01, 0.03)
    Selectors(database).publish(
        Key(row.digest, target, TOOLCHAIN), "seq", [selector_row(interval, Config((("groups", "0 1"),)))]
    )
    asked = {"model": row.digest[:12], "target": "ascend910", "dim": "seq=77"}
    found = client.get("/v1/lookup", params=asked).json()
    assert found["hit"]
    assert found["best"] is None
    assert found["range"].pop("config")["groups"] == "0 1"
    assert found["range"] == {"dim": "seq", **asdict(interval)}
    for dim, why in (("seq=109", "outside the tuned range 65..108"), ("rows=77", "no range of rows")):
        missed = client.get("/v1/lookup", params={**asked, "dim": dim}).json()
        assert not missed["hit"]
        assert why in missed["reason"]
    assert client.get("/v1/lookup", params={**asked, "dim": "seq"}).status_code == 422


def test_a_text_of_the_wrong_form_is_refused_in_words(client: httpx.Client) -> None:
    refused = client.get("/v1/lookup", params={"target": "ascend910", "model": "zz"})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("query.model: 'zz' is not a digest; give its 64 digits")
    refused = client.post("/v1/jobs/no-such-job/cancel")
    assert refused.status_code == 422
    assert "'no-such-job' is not the id of a job" in refused.json()["detail"]
    paths = client.get("/openapi.json").json()["paths"]
    schemas = [
        each["schema"]
        for path in paths.values()
        for verb in path.values()
        for each in verb.get("parameters", ())
    ]
    patterns = {
        one["pattern"] for each in schemas for one in (each, *each.get("anyOf", ())) if "pattern" in one
    }
    assert len(patterns) > 5
    assert patterns <= set(IN_WORDS)
