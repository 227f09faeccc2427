"""Requests that the schema allows get answers that it describes: schemathesis over every operation.

schemathesis is imported inside the tests, for it takes longer to load than all other tests to collect.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.fake_work import FakeWork
from tests.api.service import model_bytes, running_runner, running_server, settings_for
from tilewright.api.app import create_app
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.storage.session import Database, open_database

if TYPE_CHECKING:
    from schemathesis import Case
    from schemathesis.specs.openapi.schemas import OpenApiSchema

SHORT, LONG = 5, 1_000
Served = tuple["OpenApiSchema", str, dict[str, str]]
# What these ask for by name may not be there: a request that fits the schema may then be refused as 422.
NAMING = ("/v1/jobs", "/v1/lookup", "/v1/exchange")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import schemathesis

    schemathesis.openapi.format("binary", st.sampled_from([model_bytes(), model_bytes()[:-1], b""]))
    path = tmp_path_factory.mktemp("schema") / "tuning.db"
    database: Database = open_database(path)
    app = create_app(settings_for(path, rate_per_s=1e6, rate_burst=10**6, failures_per_minute=1e6), database)
    secret = ApiKeys(database).create("tenant", "schemathesis", Scope)[1]
    with running_runner(database, FakeWork(database)), running_server(app) as url:
        yield schemathesis.openapi.from_dict(app.openapi()), url, {"Authorization": f"Bearer {secret}"}
    database.close()


def check(served: Served, examples: int) -> None:
    from schemathesis.core.result import Ok
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema, url, key = served
    tried = 0
    answers: Counter[int] = Counter()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def holds(case: "Case[Any]") -> None:
            if case.path.endswith("/events"):
                case.query = {**(case.query or {}), "follow": "false"}  # the other kind never ends
            excluded: list[Any] = [positive_data_acceptance] if case.path in NAMING else []
            answer = case.call_and_validate(base_url=url, timeout=30, headers=key, excluded_checks=excluded)
            answers[answer.status_code] += 1

        holds()
        tried += 1
    assert tried > 15
    assert answers[200] > tried, answers


def test_every_operation_answers_as_described(served: Served) -> None:
    check(served, SHORT)


@pytest.mark.campaign
def test_every_operation_answers_as_described_for_long(served: Served) -> None:
    check(served, LONG)


def test_the_description_is_complete(served: Served) -> None:
    schema, _, _ = served
    for path, methods in schema.raw_schema["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation.get("description") or operation.get("summary"), where
            statuses = set(operation["responses"])
            if operation["x-access"] != "public":
                assert {"400", "401", "403", "429", "503"} <= statuses, where
            for status, answer in operation["responses"].items():
                if status >= "400":
                    body = answer["content"]["application/problem+json"]
                    assert body["example"]["status"] == int(status), where
            if "{job_id}" in path:
                assert "404" in statuses, where
    assert {"400", "401", "404", "413", "415", "422", "429"} <= {
        status
        for methods in schema.raw_schema["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
    }
