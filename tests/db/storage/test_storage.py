"""Both databases pass the one suite."""

import pytest

from tests.conformance.storage_suite import StorageSuite
from tilewright.db.storage.session import Database


class TestSqlite(StorageSuite):
    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        return sqlite_database


class TestPostgres(StorageSuite):
    @pytest.fixture
    def database(self, postgres_database: Database) -> Database:
        return postgres_database
