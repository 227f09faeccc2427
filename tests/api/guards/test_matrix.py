"""Every route, every role, whose thing: nobody sees or changes what is another tenant's."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.api.fake_work import FakeWork
from tests.api.service import model_bytes, running_server
from tests.db.samples import MODEL, filled, workload
from tilewright.api.app import routes_of
from tilewright.api.guards.access import Need
from tilewright.db.repository import Repository
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.storage.session import Database
from tilewright.tuner.jobs.runner import JobRunner, RunnerSettings

# How each route treats something of another tenant: it answers 404, shows only one's own, or has nothing of
# anybody's. A route that is not here fails the test: whoever adds one has to think about it.
OWNED = "404"
FILTERED = "filtered"
NOBODYS = "nobody's"
ROUTES = {
    "GET /healthz": NOBODYS,
    "GET /readyz": NOBODYS,
    "GET /openapi.json": NOBODYS,
    "GET /metrics": NOBODYS,
    "GET /v1/lookup": NOBODYS,
    "POST /v1/answers": NOBODYS,
    "GET /v1/exchange": NOBODYS,
    "POST /v1/exchange": NOBODYS,
    "GET /v1/targets": NOBODYS,
    "GET /v1/targets/{name}": NOBODYS,
    "GET /v1/workers": NOBODYS,
    "POST /v1/jobs": NOBODYS,
    "GET /v1/jobs": FILTERED,
    "GET /v1/runs": FILTERED,
    "GET /v1/records": FILTERED,
    "GET /v1/audit": FILTERED,
    "GET /v1/demand": NOBODYS,
    "GET /demand": NOBODYS,
    "GET /v1/jobs/{job_id}": OWNED,
    "POST /v1/jobs/{job_id}/cancel": OWNED,
    "GET /v1/jobs/{job_id}/events": OWNED,
    "GET /v1/jobs/{job_id}/result": OWNED,
    "GET /v1/jobs/{job_id}/report": OWNED,
    "GET /v1/jobs/{job_id}/drawings/{name}.svg": OWNED,
    "GET /v1/jobs/{job_id}/program": OWNED,
    "GET /v1/runs/{run_id}": OWNED,
    "GET /v1/records/{record_id}": OWNED,
    "GET /": FILTERED,
    "GET /submit": NOBODYS,
    "POST /submit": NOBODYS,
    "GET /jobs/{job_id}": OWNED,
    "GET /jobs/{job_id}/report": OWNED,
    "POST /jobs/{job_id}/cancel": OWNED,
    "GET /records": FILTERED,
    "GET /records/compare": OWNED,
    "GET /models": FILTERED,
    "GET /models/{digest}": OWNED,
    "GET /workers": NOBODYS,
    "POST /sign-in": NOBODYS,
    "POST /sign-out": NOBODYS,
    "GET /static/{name}": NOBODYS,
}
ROLES: dict[str, frozenset[Scope] | None] = {
    "nobody": None,
    "reader": frozenset({Scope.READ}),
    "submitter": frozenset({Scope.SUBMIT}),
    "admin": frozenset({Scope.ADMIN}),
    "everything": frozenset(Scope),
}
ERRORS = (400, 404, 405, 409, 415, 422)


class World:
    """Two tenants with a finished job each, and a run of the operator's."""

    def __init__(self, database: Database, http: httpx.Client) -> None:
        self.http = http
        self.keys = ApiKeys(database)
        self.secrets = {
            "alice": self.keys.create("alice", "all", Scope)[1],
            "bob": self.keys.create("bob", "all", Scope)[1],
            "carol": self.keys.create("carol", "plain", [Scope.READ, Scope.SUBMIT])[1],
        }
        self.jobs = {}
        runner = JobRunner(database, RunnerSettings("test"), FakeWork(database))
        for seed, tenant in enumerate(("alice", "bob")):
            spec = {"target": "ascend910", "seed": seed, "trials": 4}
            answer = http.post(
                "/v1/jobs",
                files={"model": (f"{tenant}s.onnx", model_bytes())},
                data={"spec": json.dumps(spec)},
                headers=self.key(tenant),
            )
            self.jobs[tenant] = answer.json()["id"]
            assert runner.step()
        self.operators_run = filled(Repository(database), [workload("operator's kernel")])
        runs = http.get("/v1/runs", headers=self.key("alice")).json()["runs"]
        self.run = next(run["id"] for run in runs if run["job"] == self.jobs["alice"])
        records = http.get("/v1/records", headers=self.key("alice"), params={"run": self.run}).json()
        self.record = records["records"][0]["id"]

    def key(self, tenant: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secrets[tenant]}"}

    def path(self, route: str) -> tuple[str, str]:
        """The route with alice's things in it."""
        method, path = route.split()
        filled_in = path.format(
            job_id=self.jobs["alice"],
            name="convergence" if "drawings" in path else "ascend910",
            run_id=self.run,
            record_id=self.record,
            digest=MODEL.digest,
        )
        if path == "/records/compare":
            filled_in += f"?a={self.record}&b={self.record}"
        if path.endswith("/events"):
            filled_in += "?follow=false"
        return method, filled_in


@pytest.fixture
def world(app: FastAPI, database: Database) -> Iterator[World]:
    with running_server(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield World(database, http)


def needs(app: FastAPI) -> dict[str, Need]:
    return {
        f"{method} {route.path}": Need((route.openapi_extra or {})["x-access"])
        for route in routes_of(app)
        for method in route.methods or ()
    }


def test_every_route_is_thought_of(app: FastAPI) -> None:
    assert set(needs(app)) == set(ROUTES)
    listed = {
        f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods
    }
    assert listed <= set(ROUTES)
    assert {route for route in ROUTES if " /v1/" in route} <= listed


def test_roles(app: FastAPI, world: World) -> None:
    declared = needs(app)
    for role, scopes in ROLES.items():
        headers = {}
        if scopes is not None:
            headers["Authorization"] = f"Bearer {world.keys.create('alice', role, scopes)[1]}"
        for route in ROUTES:
            method, path = world.path(route)
            status = world.http.request(method, path, headers=headers).status_code
            need = declared[route]
            if need is Need.PUBLIC:
                assert status in (200, 401), (role, route, status)
            elif scopes is None:
                assert status == 401, (role, route, status)
            elif Scope(need) in scopes:
                assert status < 400 or status in ERRORS, (role, route, status)
            else:
                assert status == 403, (role, route, status)


def test_other_tenants_things_are_not_there(world: World) -> None:
    for stranger in ("bob", "carol"):
        for route, treatment in ROUTES.items():
            method, path = world.path(route)
            if route.startswith("GET /models") and stranger == "bob":
                continue  # bob tuned the same network
            answer = world.http.request(method, path, headers=world.key(stranger))
            if treatment == OWNED:
                assert answer.status_code == 404, (stranger, route, answer.status_code)
            if treatment == FILTERED:
                for leak in (world.jobs["alice"], world.run, "alices"):
                    assert leak not in answer.text, (stranger, route, leak)
    mine = world.http.get(f"/v1/jobs/{world.jobs['alice']}", headers=world.key("alice")).json()
    assert mine["state"] == "succeeded"


def test_runs_without_a_job_are_the_operators(world: World) -> None:
    for secret, seen in ((world.secrets["bob"], True), (world.secrets["carol"], False)):
        headers = {"Authorization": f"Bearer {secret}"}
        runs = world.http.get("/v1/runs", headers=headers).json()["runs"]
        assert (world.operators_run in [run["id"] for run in runs]) is seen
        status = world.http.get(f"/v1/runs/{world.operators_run}", headers=headers).status_code
        assert status == (200 if seen else 404)


def test_deeds_are_written_down(world: World) -> None:
    entries = world.http.get("/v1/audit", headers=world.key("alice")).json()["entries"]
    assert [entry["action"] for entry in entries] == ["submit"]
    assert world.jobs["alice"] in entries[0]["subject"]
    assert not any(secret in json.dumps(entries) for secret in world.secrets.values())


def test_the_file_holds_no_secret(world: World, tmp_path: Path) -> None:
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("tuning.db*"))
    assert not any(secret.encode() in stored for secret in world.secrets.values())
