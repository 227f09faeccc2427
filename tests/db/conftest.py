"""A fresh database for each test: a SQLite file, or a database of the session's PostgreSQL server."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from tests.db.postgres import find_binaries, running_postgres
from tilewright.db.storage.schema import metadata
from tilewright.db.storage.session import Database, open_database

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("NO PostgreSQL FOUND: nothing was tested on it; install postgresql or the pgserver wheel")
    with running_postgres(binaries) as url:
        yield url


@pytest.fixture(scope="session")
def new_postgres_url(postgres_server: str) -> Callable[[], str]:
    """Makes an empty database and gives its URL."""

    def make() -> str:
        name = f"test_{next(_numbers)}"
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return postgres_server.replace("@/postgres?", f"@/{name}?")

    return make


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return str(tmp_path / "tuning.db")


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    database = open_database(sqlite_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def shared_postgres(new_postgres_url: Callable[[], str]) -> Iterator[Database]:
    database = open_database(new_postgres_url())
    yield database
    database.close()


@pytest.fixture
def postgres_database(shared_postgres: Database) -> Database:
    """Emptied rather than made anew: a hundred times faster."""
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    with shared_postgres.writing() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # no triggers
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
    return shared_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database's address, on each of the two kinds."""
    if request.param == "sqlite":
        return str(tmp_path / "tuning.db")
    make: Callable[[], str] = request.getfixturevalue("new_postgres_url")
    return make()
