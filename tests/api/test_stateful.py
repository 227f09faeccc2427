"""The REST API against a model of it: whatever two tenants and a runner do, in whatever order."""

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.api.service import model_bytes, running_server, settings_for
from tilewright.api.app import create_app
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.service.job_rows import JobLease, JobState
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.leases import LeaseLostError
from tilewright.db.storage.session import Database, open_database

TENANTS = ("ann", "ben")
NUMBERS = itertools.count()


@dataclass
class KnownJob:
    """What the model knows of a job."""

    uid: str
    tenant: str
    asked: tuple[int, int]
    state: JobState = JobState.QUEUED
    cancel_requested: bool = False


@dataclass
class World:
    """A server that all examples share, each with tenants of its own."""

    client: httpx.Client
    database: Database
    jobs: Jobs = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.database)


class Api(RuleBasedStateMachine):
    """Each rule is a request, or a step of a runner; each checks its answer against the model."""

    world: World
    made = Bundle("made")
    held = Bundle("held")

    @initialize()
    def begin(self) -> None:
        example = next(NUMBERS)
        keys = ApiKeys(self.world.database)
        self.names = {tenant: f"{tenant} {example}" for tenant in TENANTS}
        self.keys = {
            tenant: {"Authorization": f"Bearer {keys.create(name, 'key', list(Scope))[1]}"}
            for tenant, name in self.names.items()
        }
        self.known: dict[str, KnownJob] = {}
        self.once: dict[tuple[str, str], str] = {}

    def ask(self, tenant: str, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {**self.keys[tenant], **given.pop("headers", {})}
        answer = self.world.client.request(method, path, headers=headers, **given)
        assert answer.status_code < 500, answer.text
        return answer

    def of(self, tenant: str) -> list[KnownJob]:
        return [job for job in self.known.values() if job.tenant == tenant][::-1]

    @rule(
        target=made,
        tenant=st.sampled_from(TENANTS),
        key=st.sampled_from(["", "a", "b"]),
        seed=st.integers(0, 1),
        priority=st.integers(-1, 1),
    )
    def submit(self, tenant: str, key: str, seed: int, priority: int) -> str:
        answer = self.ask(
            tenant,
            "POST",
            "/v1/jobs",
            files={"model": ("small.onnx", model_bytes())},
            data={"spec": json.dumps({"target": "ascend910", "seed": seed, "priority": priority})},
            headers={"Idempotency-Key": key} if key else {},
        )
        before = self.known.get(self.once.get((tenant, key), "")) if key else None
        if before is None:
            assert answer.status_code == 201, answer.text
            uid = str(answer.json()["id"])
            assert uid not in self.known
            self.known[uid] = KnownJob(uid, tenant, (seed, priority))
            self.once[tenant, key] = uid
            return uid
        if before.asked == (seed, priority):
            assert (answer.status_code, answer.json()["id"]) == (200, before.uid)
        else:
            assert answer.status_code == 422
        return before.uid

    @rule(uid=made, tenant=st.sampled_from(TENANTS))
    def look(self, uid: str, tenant: str) -> None:
        job, answer = self.known[uid], self.ask(tenant, "GET", f"/v1/jobs/{uid}")
        if job.tenant != tenant:
            assert answer.status_code == 404
            return
        said = answer.json()
        assert (said["state"], said["cancel_requested"]) == (job.state, job.cancel_requested)
        assert (said["spec"]["seed"], said["spec"]["priority"]) == job.asked

    @rule(uid=made, tenant=st.sampled_from(TENANTS))
    def cancel(self, uid: str, tenant: str) -> None:
        job, answer = self.known[uid], self.ask(tenant, "POST", f"/v1/jobs/{uid}/cancel")
        if job.tenant != tenant:
            assert answer.status_code == 404
            return
        if job.state is JobState.QUEUED:
            job.state = JobState.CANCELLED
        elif job.state is JobState.RUNNING:
            job.cancel_requested = True
        assert answer.json()["state"] == job.state

    @rule(target=held)
    def lease(self) -> JobLease | None:
        lease = self.world.jobs.lease("runner", 3600.0)
        waiting = [job for job in self.known.values() if job.state is JobState.QUEUED]
        if lease is None:
            assert not waiting
            return None
        job = self.known[lease.job.uid]
        assert job.state is JobState.QUEUED
        mine = [each for each in waiting if each.tenant == job.tenant]
        assert job.asked[1] == max(each.asked[1] for each in mine), "a less urgent job came first"
        job.state = JobState.RUNNING
        return lease

    @rule(lease=held, outcome=st.sampled_from([JobState.SUCCEEDED, JobState.FAILED]))
    def finish(self, lease: JobLease | None, outcome: JobState) -> None:
        if lease is None:
            return
        job = self.known[lease.job.uid]
        if job.state is not JobState.RUNNING:
            with pytest.raises(LeaseLostError):
                self.world.jobs.finish(lease, outcome)
            return
        self.world.jobs.finish(lease, outcome, '{"speedup": 1}' if outcome is JobState.SUCCEEDED else None)
        job.state = outcome

    @rule(uid=made, tenant=st.sampled_from(TENANTS))
    def result(self, uid: str, tenant: str) -> None:
        job, answer = self.known[uid], self.ask(tenant, "GET", f"/v1/jobs/{uid}/result")
        wanted = 200 if job.state is JobState.SUCCEEDED else 409
        assert answer.status_code == (wanted if job.tenant == tenant else 404)

    @rule(uid=made, tenant=st.sampled_from(TENANTS))
    def story(self, uid: str, tenant: str) -> None:
        job = self.known[uid]
        answer = self.ask(tenant, "GET", f"/v1/jobs/{uid}/events", params={"follow": "false"})
        if job.tenant != tenant:
            assert answer.status_code == 404
        else:
            assert f'"state": "{job.state}"' in answer.text or f'"state":"{job.state}"' in answer.text

    @rule(tenant=st.sampled_from(TENANTS), state=st.sampled_from([None, *JobState]), limit=st.integers(1, 3))
    def page_through(self, tenant: str, state: JobState | None, limit: int) -> None:
        seen: list[str] = []
        cursor = None
        while True:
            given = {"state": state, "cursor": cursor, "limit": limit}
            page = self.ask(
                tenant, "GET", "/v1/jobs", params={name: value for name, value in given.items() if value}
            ).json()
            seen += [job["id"] for job in page["jobs"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == [job.uid for job in self.of(tenant) if state in (None, job.state)]

    @invariant()
    def nobody_without_a_key(self) -> None:
        assert self.world.client.get("/v1/jobs").status_code == 401

    def teardown(self) -> None:
        for job in getattr(self, "known", {}).values():
            if job.state is JobState.QUEUED:
                self.world.jobs.cancel(job.uid)


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Iterator[World]:
    shutil.copy(template, tmp_path / "tuning.db")
    database = open_database(tmp_path / "tuning.db")
    ApiKeys(database).create("nobody", "so that a key is needed", [Scope.READ])
    many = settings_for(tmp_path / "tuning.db", rate_per_s=1e6, rate_burst=10**6, failures_per_minute=0.0)
    with (
        running_server(create_app(many, database)) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        yield World(client, database)
    database.close()


def test_the_api_does_what_the_model_says(world: World) -> None:
    machine = type("Machine", (Api,), {"world": world})
    few = settings(max_examples=5, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(machine, settings=few)
