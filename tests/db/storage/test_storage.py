"""Both databases pass the suites."""

import pytest

from tests.conformance.service_suite import ServiceSuite
from tests.conformance.storage_suite import StorageSuite
from tilewright.db.storage.session import Database


class TestSqlite(StorageSuite, ServiceSuite):
    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        return sqlite_database


class TestPostgres(StorageSuite, ServiceSuite):
    @pytest.fixture
    def database(self, postgres_database: Database) -> Database:
        return postgres_database
