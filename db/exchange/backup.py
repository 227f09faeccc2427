"""Backup and restore: all of a database, keys and jobs included, in one SQLite file of the same schema.

One form for both kinds of database, so that a backup of a server can be opened on a laptop, and the other
way round.
"""

from pathlib import Path

from sqlalchemy import Connection, Table, func, insert, select, text

from tilewright.compiler_core.errors import RecordError
from tilewright.db.exchange.best_file import shipped_whole
from tilewright.db.storage.schema import metadata
from tilewright.db.storage.session import Database, open_database

_ROWS_AT_A_TIME = 5_000


def backup(database: Database, path: Path) -> int:
    """Writes the database as it is at one moment, without stopping anybody; how many rows.

    The file holds digests of keys: only its owner may read it.
    """
    with shipped_whole(path, private=True) as copy:
        return _copy_all(database, copy)


def restore(path: Path, database: Database) -> int:
    """Fills an empty database from a backup, whole or not at all; how many rows. RecordError if not empty."""
    source = open_database(path, read_only=True)
    try:
        return _copy_all(source, database)
    finally:
        source.close()


def _copy_all(source: Database, destination: Database) -> int:
    count = 0
    with source.snapshot() as reading, destination.writing() as writing:
        for table in metadata.sorted_tables:
            if writing.execute(select(func.count()).select_from(table)).scalar_one():
                raise RecordError(
                    f"database {destination.name}: table {table.name} is not empty; restore into a new one"
                )
        for table in metadata.sorted_tables:
            rows = reading.execute(select(table).execution_options(yield_per=_ROWS_AT_A_TIME))
            for some in rows.mappings().partitions():
                writing.execute(insert(table), [dict(row) for row in some])
                count += len(some)
            _count_on(writing, table)
    return count


def _count_on(connection: Connection, table: Table) -> None:
    """Lets PostgreSQL number new rows after the ones copied; SQLite does so by itself."""
    if connection.dialect.name == "postgresql" and "id" in table.c:
        connection.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "
                f"(SELECT coalesce(max(id), 0) + 1 FROM {table.name}), false)"
            )
        )
