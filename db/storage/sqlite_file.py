"""A database in a SQLite file: how it is opened, whether it is still there, and whether it is whole.

A file that is deleted or replaced while it is open stays readable for the processes that have it open. Later
writes are lost with the process, and may damage the new file, whose log has the same name. So the file's
identity is looked at before and after every commit.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event

BEGIN = "tilewright_begin"
BUSY_TIMEOUT_S = 60.0
CHECKED_AT_OPEN_BYTES = 4 << 20
"""Files up to this size are checked whenever they are opened; it takes some 20 ms a MB."""

INCREMENTAL, PAGES_AT_ONCE = 2, 2000
Identity = tuple[int, int]


def identity_of(path: Path) -> Identity | None:
    """Which file there is at `path`; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def damage(connection: Connection) -> str | None:
    """The first thing that is wrong with the pages and rows of the file, or None."""
    said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    return None if said == "ok" else str(said)


def give_back(connection: Connection, whole: bool) -> None:
    """Makes the file smaller by the pages that hold nothing any more.

    A file of an earlier version cannot do so bit by bit: it is written anew if `whole`, else left as it is.
    """
    bit_by_bit = connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() == INCREMENTAL
    if bit_by_bit:
        while int(connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0):
            cursor = connection.connection.cursor()  # a row for each page, of no columns
            cursor.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")
            cursor.fetchall()
            cursor.close()
    elif whole:
        connection.exec_driver_sql("PRAGMA auto_vacuum = INCREMENTAL")
        connection.exec_driver_sql("VACUUM")
    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()


def sqlite_engine(path: Path, read_only: bool) -> Engine:
    """Connections to the file; every transaction begins by its execution options."""
    query = {"uri": "true", **_options(path)} if read_only else {}
    database = f"file:{quote(str(path))}" if read_only else str(path)
    engine = create_engine(
        URL.create("sqlite", database=database, query=query),
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the code below issues BEGIN itself
        cursor = connection.cursor()
        if not read_only:
            cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heard where the file is new
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA cell_size_check = ON")  # a damaged page is found when it is read
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        statement = connection.get_execution_options().get(BEGIN)
        if statement:
            connection.exec_driver_sql(statement)

    return engine


def _options(path: Path) -> dict[str, str]:
    """The options of a file that is opened for reading. On read-only media nobody writes, and no log can be
    made.
    """
    log = Path(f"{path}-wal")
    read_only_media = os.statvfs(path.resolve().parent).f_flag & os.ST_RDONLY
    if read_only_media and not (log.exists() and log.stat().st_size):
        return {"immutable": "1"}
    return {"mode": "ro"}
