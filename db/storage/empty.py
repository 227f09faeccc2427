"""A database without records, for those who need none: nothing is read from a file, and nothing is kept."""

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from tilewright.db.storage.schema import metadata
from tilewright.db.storage.session import Database


def empty_database() -> Database:
    """Empty tables in memory, which nobody can write to."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    metadata.create_all(engine)
    return Database(engine, "without records", read_only=True)
