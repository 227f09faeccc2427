"""Both databases pass the one suite."""

import pytest

from db.session import Database
from tests.conformance.storage_suite import StorageSuite


class TestSqlite(StorageSuite):
    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        return sqlite_database


class TestPostgres(StorageSuite):
    @pytest.fixture
    def database(self, postgres_database: Database) -> Database:
        return postgres_database
