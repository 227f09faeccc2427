"""Alembic, run inside a transaction that the caller owns: half a migration never stays behind."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tilewright.compiler_core.errors import RecordError
from tilewright.db.storage.schema import VERSION_TABLE, metadata


def alembic_config() -> Config:
    """The place of the migrations; no ini file is used."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    return config


def ours(name: str | None, kind: str, parents: object) -> bool:
    """Optuna and others may keep tables in the same database; they are none of our business."""
    return kind != "table" or name in metadata.tables


def revisions() -> list[str]:
    """Every schema version that ever landed, oldest first."""
    walked = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return [script.revision for script in walked][::-1]


def upgrade(connection: Connection, name: str, to: str = "head") -> None:
    """Brings the schema to revision `to`. RecordError when the database is newer than this program."""
    known = revisions()
    if connection.dialect.has_table(connection, VERSION_TABLE):
        stored = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
        if stored is not None and stored not in known:
            raise RecordError(
                f"database {name} has schema {stored}, newer than {known[-1]} which this version knows; "
                "install the newer tilewright"
            )
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise RecordError(f"database {name}: a row of {broken[0]} points nowhere; restore a backup")
