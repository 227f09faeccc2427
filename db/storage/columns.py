"""Column types and SQL functions that read alike on SQLite and PostgreSQL."""

from typing import Any

from sqlalchemy import BigInteger, Double, Integer, LargeBinary, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Identity = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only for INTEGER keys


class Digest(TypeDecorator[str]):
    """64 hex characters outside, 32 bytes in the file: half the size of every index."""

    impl = LargeBinary(32)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> bytes | None:
        """Hex to bytes."""
        return None if value is None else bytes.fromhex(value)

    def process_result_value(self, value: bytes | None, dialect: object) -> str | None:
        """Bytes to hex."""
        return None if value is None else value.hex()


class database_clock(FunctionElement[float]):  # noqa: N801 - reads as a SQL function
    """Seconds since 1970 by the clock of the database, so that machines need not agree on the time."""

    type = Double()
    inherit_cache = True


@compiles(database_clock, "sqlite")
def _sqlite_clock(element: database_clock, compiler: SQLCompiler, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_clock, "postgresql")
def _postgresql_clock(element: database_clock, compiler: SQLCompiler, **options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
