"""Opening a database, and the three kinds of transaction everything else in this package is made of."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Executable, Row, create_engine, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tilewright.compiler_core.errors import RecordError
from tilewright.db.storage.schema import SCHEMA_VERSION, VERSION_TABLE
from tilewright.db.storage.sqlite_file import (
    BEGIN,
    BUSY_TIMEOUT_S,
    CHECKED_AT_OPEN_BYTES,
    Identity,
    damage,
    give_back,
    identity_of,
    sqlite_engine,
)

_MIGRATION_LOCK = 0x7469_6C65  # one number all processes agree on, for pg_advisory_xact_lock


class Database:
    """An open database. Safe to share between threads; after a fork, the child opens its own connections.

    ask       no transaction: every statement sees the newest commit; one kept-open connection a thread
    snapshot  one consistent view over many statements, never blocked and never blocking
    writing all or nothing; on SQLite it takes the write lock at its start, so that it cannot fail half-way
    because of another writer in between. Committed is durable: a kill or a power cut keep it.

    A failure of the database is a RecordError of one line. A SQLite file that was deleted or replaced counts
    as a database that does not answer, until it is back.
    """

    def __init__(self, engine: Engine, name: str, read_only: bool) -> None:
        self.engine = engine
        self.name = name
        self.read_only = read_only
        self._local = threading.local()
        self._kept: list[Connection] = []
        self._lock = threading.Lock()
        self._file: tuple[Path, Identity | None] | None = None
        if self.on_sqlite:
            self._readers = engine.execution_options()
            self._snapshots = engine.execution_options(**{BEGIN: "BEGIN"})
            self._writers = engine.execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
        else:
            self._readers = engine.execution_options(isolation_level="AUTOCOMMIT")
            self._snapshots = engine.execution_options(isolation_level="REPEATABLE READ")
            self._writers = engine.execution_options()

    @property
    def on_sqlite(self) -> bool:
        """Whether this is a file of ours rather than a PostgreSQL server."""
        return self.engine.dialect.name == "sqlite"

    def ask(self, question: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows that answer one statement, asked on this thread's kept-open connection.

        Where the server went away since the last question, it is asked once more on a new connection.
        """
        self.require_file()
        try:
            return self._reader().execute(question, values).all()
        except SQLAlchemyError as error:
            self._drop_reader()
            if not (isinstance(error, DBAPIError) and error.connection_invalidated):
                raise record_error(error, self.name) from error
        try:
            return self._reader().execute(question, values).all()
        except SQLAlchemyError as error:
            self._drop_reader()
            raise record_error(error, self.name) from error

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One consistent view."""
        self.require_file()
        with one_line_errors(self.name), self._snapshots.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction; rolled back when the block raises."""
        if self.read_only:
            raise RecordError(f"database {self.name} was opened read-only; open it for writing")
        self.require_file()
        with one_line_errors(self.name), self._writers.begin() as connection:
            yield connection
            self.require_file()
        self.require_file()

    def remember_file(self, path: Path) -> None:
        """From now on the file at `path` has to be the one that is there now."""
        whole = path.absolute()
        self._file = whole, identity_of(whole)

    def require_file(self) -> None:
        """DatabaseDownError where the file that was opened for writing is not at its path any more."""
        if self._file is None or identity_of(self._file[0]) == self._file[1]:
            return
        raise DatabaseDownError(
            f"database {self.name}: the file was deleted or replaced while it was open;"
            " put it back, or start again"
        )

    def give_back(self, whole: bool = False) -> int:
        """Makes a SQLite file smaller after much was deleted; by how many bytes. `whole` may take long.

        PostgreSQL sees to that by itself.
        """
        if not self.on_sqlite:
            return 0
        before = Path(self.name).stat().st_size
        self.require_file()
        with one_line_errors(self.name), self._readers.connect() as connection:
            give_back(connection, whole)
        return before - Path(self.name).stat().st_size

    def require_sound(self) -> None:
        """RecordError where pages or rows of a SQLite file are damaged; takes some 20 ms a MB."""
        if self.on_sqlite:
            with one_line_errors(self.name), self.engine.connect() as connection:
                found = damage(connection)
            if found is not None:
                raise RecordError(
                    f"database {self.name} is damaged ({' '.join(found.split())[:200]});"
                    " restore it from a backup"
                )

    def close(self) -> None:
        """Closes every connection. The Database opens new ones when it is used again."""
        with self._lock:
            kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()
        self._local = threading.local()
        self.engine.dispose()

    def _reader(self) -> Connection:
        kept: tuple[int, Connection] | None = getattr(self._local, "reader", None)
        if kept is not None and kept[0] == os.getpid():
            return kept[1]
        if kept is not None:  # forked: the sockets and locks belong to the parent
            self.engine.dispose(close=False)
            self._kept = []
        connection = self._readers.connect()
        self._local.reader = os.getpid(), connection
        with self._lock:
            self._kept.append(connection)
        return connection

    def _drop_reader(self) -> None:
        kept: tuple[int, Connection] | None = getattr(self._local, "reader", None)
        if kept is None:
            return
        del self._local.reader
        with self._lock:
            self._kept = [each for each in self._kept if each is not kept[1]]
        kept[1].invalidate()
        kept[1].close()


def open_database(url: str | Path, read_only: bool = False) -> Database:
    """The database at `url`, created or brought to the current schema first.

    `url` is a path, `sqlite:///path` or `postgresql://user@host/name`. Read-only never creates nor upgrades.
    RecordError in one line when it cannot be opened, is not ours, or comes from a newer tilewright.
    """
    database = _connected(url, read_only)
    try:
        with one_line_errors(database.name):
            _bring_up_to_date(database)
        if database.on_sqlite:
            _look_at_file(database)
    except BaseException:
        database.close()
        raise
    return database


def open_existing(url: str | Path) -> Database:
    """The database at `url` for writing, as `open_database`; RecordError where there is none yet."""
    open_database(url, read_only=True).close()
    return open_database(url)


def _look_at_file(database: Database) -> None:
    path = Path(database.name)
    if path.stat().st_size <= CHECKED_AT_OPEN_BYTES:
        database.require_sound()
    if not database.read_only:
        database.remember_file(path)


def upgrade_database(url: str | Path) -> tuple[str | None, str]:
    """Brings an existing database to the schema of today; the version it had (None when empty), and has."""
    database = _connected(url, read_only=False)
    try:
        with one_line_errors(database.name):
            before = _stored_version(database)
            _bring_up_to_date(database)
    finally:
        database.close()
    return before, SCHEMA_VERSION


def _connected(url: str | Path, read_only: bool) -> Database:
    where = _parse(url)
    name = where.render_as_string(hide_password=True)
    if where.get_backend_name() == "sqlite":
        path = Path(where.database or "")
        if "\0" in str(path):
            raise RecordError("the path of the database holds a NUL; choose another path")
        if not where.database or where.database == ":memory:":
            raise RecordError("a database in memory would be lost; give a file, as in sqlite:///tuning.db")
        if read_only and identity_of(path) is None:
            raise RecordError(f"database {path}: there is no such file")
        if path.is_dir():
            raise RecordError(
                f"database {str(path)!r} is a folder; give a file in it, as in {path / 'tuning.db'}"
            )
        if path.exists() and not path.is_file():
            raise RecordError(f"database {str(path)!r} is no regular file; give the path of a database file")
        name = str(path)
        engine = sqlite_engine(path, read_only)
    elif where.get_backend_name() == "postgresql":
        engine = create_engine(where.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    else:
        raise RecordError(f"database {name}: use a file path, sqlite:///path or postgresql://...")
    return Database(engine, name, read_only)


def _parse(url: str | Path) -> URL:
    if isinstance(url, Path) or "://" not in url:
        return URL.create("sqlite", database=str(url))
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise RecordError("the database URL cannot be read; use sqlite:///path or postgresql://...") from None


def _bring_up_to_date(database: Database) -> None:
    version = _stored_version(database)
    if version == SCHEMA_VERSION:
        return
    if database.read_only:
        raise RecordError(
            f"database {database.name} has schema {version or 'of something else'}, this version reads "
            f"{SCHEMA_VERSION}; upgrade it with `tune db upgrade` where it can be written"
        )
    from tilewright.db.storage.migrate import upgrade  # alembic is slow to import and seldom needed

    with database.engine.connect() as connection:
        if database.on_sqlite:
            # Rebuilding a table drops it first; references are checked before the commit instead.
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.rollback()
            connection = connection.execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
        with connection.begin():
            if not database.on_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            upgrade(connection, database.name)
        if database.on_sqlite:
            connection.invalidate()  # the next one has foreign_keys on again


def _stored_version(database: Database) -> str | None:
    """The schema version in the database, or None when it is empty; RecordError when it is not ours."""
    with database.engine.connect() as connection:
        names = set(inspect(connection).get_table_names())
        if VERSION_TABLE in names:
            found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
            return None if found is None else str(found)
    if names and database.on_sqlite:
        raise RecordError(f"database {database.name} belongs to some other program; choose another path")
    return None


@contextmanager
def one_line_errors(name: str) -> Iterator[None]:
    """Turns any error of SQLAlchemy into one RecordError that names the database."""
    try:
        yield
    except (SQLAlchemyError, NoSuchModuleError) as error:
        raise record_error(error, name) from error


class DatabaseDownError(RecordError):
    """The database could not be reached or broke off; the same question may be answered later."""


def record_error(error: SQLAlchemyError, name: str) -> RecordError:
    """`error` in one line, with a remedy where one is known."""
    cause = str(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)
    line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(cause.split()))
    line = line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]}..."
    advice = next((text for sign, text in _ADVICE if sign in line), "")
    later = isinstance(error, (OperationalError, InterfaceError, PoolTimeout)) and _DAMAGED not in line
    kind = DatabaseDownError if later else RecordError
    return kind(f"database {name}: {line}{advice}")


MOST_SHOWN = 400
_DAMAGED = "Could not decode to UTF-8"
_ADVICE = (
    (_DAMAGED, "; the file is damaged, restore it from a backup"),
    ("unable to open", "; check that the directory exists and is writable"),
    ("readonly", "; check the permissions of the file and its directory"),
    ("not a database", "; choose another path"),
    ("disk is full", "; nothing of this transaction was kept, free some space and repeat"),
    ("database is locked", f"; another process held the write lock for over {BUSY_TIMEOUT_S:.0f} s"),
    ("malformed", "; restore it from a backup"),
)
