"""What every test can count on: reproducible Hypothesis, golden files, one BLAS thread."""

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import Connection
from threadpoolctl import threadpool_limits

from tilewright.db.storage import migrate
from tilewright.db.storage.schema import VERSION_TABLE

GOLDEN = Path(__file__).parent / "golden"

# "ci" draws the same examples on every machine; "fuzz" (`make fuzz`) draws new ones for as long as it takes.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("fuzz", max_examples=50_000, deadline=None, print_blob=True)
settings.load_profile("ci")

# The matrices here are small. Beside other work a second BLAS thread waits in a loop for a core, and a test
# of 2 s took 104 s. The variable is for processes that tests start, the limit for this one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Tests ask their own databases: what this user asks, and the bank, would answer beside them.
os.environ["TILEWRIGHT_LAYERS"] = "none"
# No test plans by what another one, or this user, has planned before.
os.environ["TILEWRIGHT_PLANS"] = "none"
import_module("numpy")
threadpool_limits(1, "blas")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew instead of comparing"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` holds when tests/golden/<name> reads exactly `text`; --update-golden writes it."""
    update = request.config.getoption("--update-golden")

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; run pytest --update-golden and review what it writes"
        assert path.read_text(encoding="utf-8") == text

    return check


@pytest.fixture(scope="session", autouse=True)
def _migrated_once() -> Iterator[None]:
    """An empty SQLite database gets, in one go, what the migrations left behind in the first one.

    They take a seventh of a second of processor time, and a thousand tests want a database of their own.
    """
    migrated, script = migrate.upgrade, list[str]()

    def upgrade(connection: Connection, name: str, to: str = "head") -> None:
        if to != "head" or connection.dialect.name != "sqlite" or _schema_of(connection):
            migrated(connection, name, to)
        elif script:
            for statement in script:
                connection.exec_driver_sql(statement)
        else:
            migrated(connection, name, to)
            (version,) = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").one()
            script.extend(_schema_of(connection))
            script.append(f"INSERT INTO {VERSION_TABLE} VALUES ('{version}')")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrate, "upgrade", upgrade)
        yield


def _schema_of(connection: Connection) -> list[str]:
    """The statements that make the tables, and then the indexes and triggers, of a SQLite database."""
    kinds = "CASE type WHEN 'table' THEN 0 ELSE 1 END"
    made = "FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    return list(connection.exec_driver_sql(f"SELECT sql {made} ORDER BY {kinds}, rowid").scalars())
