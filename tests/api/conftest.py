"""Services for the tests of the API."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.api.service import model_bytes, running_server, settings_for
from tilewright.api.app import create_app
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import Database, open_database


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the small model in it, which was read before and is not read again."""
    path = tmp_path_factory.mktemp("template") / "tuning.db"
    opened = open_database(path)
    Uploads(opened).put_model(io.BytesIO(model_bytes()), [])
    opened.close()
    return path


@pytest.fixture
def database(tmp_path: Path, template: Path) -> Iterator[Database]:
    shutil.copy(template, tmp_path / "tuning.db")
    opened = open_database(tmp_path / "tuning.db")
    yield opened
    opened.close()


@pytest.fixture
def app(database: Database, tmp_path: Path) -> FastAPI:
    return create_app(settings_for(tmp_path / "tuning.db"), database)


@pytest.fixture
def client(app: FastAPI) -> Iterator[httpx.Client]:
    """Everybody on loopback, as long as no key exists."""
    with running_server(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as opened:
        yield opened
