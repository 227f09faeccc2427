"""Every schema version that ever landed comes up to date with its rows unharmed, on both databases."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from tests.db.samples import TARGET, TOOLCHAIN, filled, key_of, workload
from tilewright.compiler_core.errors import RecordError
from tilewright.db.exchange.export import export_records
from tilewright.db.repository import Repository
from tilewright.db.storage import migrate
from tilewright.db.storage.migrate import ours, revisions, upgrade
from tilewright.db.storage.schema import SCHEMA_VERSION, VERSION_TABLE, metadata
from tilewright.db.storage.session import Database, open_database

ROW = workload()
EARLIER = revisions()[:-1]


@contextmanager
def at_revision(url: str, revision: str) -> Iterator[Connection]:
    """A database of an earlier schema, as the program of that time made it."""
    engine = create_engine(url if "://" in url else f"sqlite:///{url}")
    with engine.begin() as connection:
        upgrade(connection, "earlier", revision)
        yield connection
    engine.dispose()


FILLED = ("target", "model", "workload", "run", "effort", "trial")
FIRST_SCHEMA_ROWS = """
INSERT INTO target VALUES (:t, 'ascend910', '');
INSERT INTO model VALUES (:z, 'resnet50');
INSERT INTO workload (digest, family_digest, skeleton_digest, kind, placement, body)
    VALUES (:w, :f, :z, 'kernel', :placement, :body);
INSERT INTO run (uid, model_digest, target_digest, toolchain, objective, seed, device, tuner_version,
                 trials_budget, settings, versions, started_at_s, finished_at_s, stop_reason,
                 regret_estimate, imported)
    VALUES ('run-1', :z, :t, :toolchain, 'latency', 7, 'simulated', '0.1.0', 64, '{}', '{}', 1.5, 2.5,
            'budget', 0.01, :no);
INSERT INTO effort (run_id, workload_id, trials_budget)
    SELECT run.id, workload.id, 64 FROM run, workload
"""
FIRST_SCHEMA_TRIAL = """
INSERT INTO trial (run_id, purpose, number, attempt, workload_id, space_digest, config_digest, config,
                   status, reason, latency_us, samples_us, peak_bytes, bound_us, seed, worker,
                   verification, imported, created_at_s)
    SELECT run.id, 'confirmation', 0, :attempt, workload.id, :z, :z, :config, 'ok', '', :latency, '[]',
           1024, 1.0, 3, 'worker-1', 'value-exact', :no, 2.0 FROM run, workload
"""


def fill_first_schema(connection: Connection) -> None:
    """Rows in every table of revision 0001, in the SQL of its time."""
    values: dict[str, Any] = {
        "w": bytes.fromhex(ROW.digest),
        "f": bytes.fromhex(ROW.family_digest),
        "t": bytes.fromhex(TARGET.digest),
        "z": bytes(32),
        "body": ROW.body,
        "placement": ROW.placement,
        "toolchain": TOOLCHAIN,
        "no": False,
        "config": '{"tile":16}',
    }
    for statement in FIRST_SCHEMA_ROWS.split(";"):
        connection.execute(text(statement), values)
    for attempt in range(3):
        latency = {"attempt": attempt, "latency": 10.1 + attempt / 3.0}
        connection.execute(text(FIRST_SCHEMA_TRIAL), values | latency)


def columns_of(connection: Connection) -> dict[str, list[str]]:
    """What a schema stores, but for what it stores to find things faster."""
    looked_at = inspect(connection)
    return {
        table: [
            column["name"] for column in looked_at.get_columns(table) if column["name"] != "skeleton_digest"
        ]
        for table in FILLED
    }


def rows_of(connection: Connection, columns: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: sorted(
            tuple(row) for row in connection.execute(text(f"SELECT {', '.join(names)} FROM {table}"))
        )
        for table, names in columns.items()
    }


def test_the_newest_revision_is_the_one_the_program_reads() -> None:
    assert revisions()[-1] == SCHEMA_VERSION


def test_models_and_migrations_agree(url: str) -> None:
    database = open_database(url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": ours, "version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []
    database.close()


@pytest.mark.parametrize("revision", EARLIER)
def test_rows_survive_from_every_revision(revision: str, url: str) -> None:
    with at_revision(url, revision) as connection:
        fill_first_schema(connection)
        columns = columns_of(connection)
        before = rows_of(connection, columns)
    database = open_database(url)
    with database.snapshot() as connection:
        assert rows_of(connection, columns) == before
    repository = Repository(database)
    assert repository.publish_best(key_of(ROW)) is None, "nothing shows that it beat its default"
    assert len(repository.to_verify(TARGET.digest, TOOLCHAIN)) == 1
    with pytest.raises(RecordError, match="append-only"), database.writing() as connection:
        connection.execute(text("DELETE FROM trial"))
    filled(repository, [ROW])
    database.close()


@pytest.mark.parametrize("revision", EARLIER)
def test_killed_half_way_it_recovers(revision: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_revision(url, revision) as connection:
        fill_first_schema(connection)
    honest = migrate.upgrade

    def stumbling(connection: Connection, name: str) -> None:
        honest(connection, name)
        raise RecordError("the power went out")

    monkeypatch.setattr(migrate, "upgrade", stumbling)
    with pytest.raises(RecordError, match="power"):
        open_database(url)
    monkeypatch.undo()
    engine = create_engine(url if "://" in url else f"sqlite:///{url}")
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == revision
    engine.dispose()
    database = open_database(url)
    assert Repository(database).run("run-1").stop_reason == "budget"
    database.close()


def test_upgrading_keeps_what_is_exported(sqlite_database: Database, tmp_path: Path) -> None:
    filled(Repository(sqlite_database), [ROW])
    before = export_records(sqlite_database, tmp_path / "before.jsonl")
    sqlite_database.close()
    again = open_database(sqlite_database.name)
    assert export_records(again, tmp_path / "after.jsonl") == before
    again.close()


def test_a_newer_database_is_refused(url: str) -> None:
    database = open_database(url)
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    database.close()
    with pytest.raises(RecordError, match="newer"):
        open_database(url)


def test_tables_of_others_are_left_alone(url: str) -> None:
    open_database(url).close()
    engine = create_engine(url if "://" in url else f"sqlite:///{url}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE studies (study_id INTEGER)"))
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('v3.0.0.d')"))
    engine.dispose()
    database = open_database(url)
    with database.snapshot() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "v3.0.0.d"
    database.close()


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE studies (id INTEGER)")
    connection.close()
    with pytest.raises(RecordError, match="some other program"):
        open_database(path)
    with pytest.raises(RecordError, match="some other program"):
        open_database(path, read_only=True)
