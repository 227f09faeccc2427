"""Small pieces of SQL that several verbs share."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Table, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from tilewright.compiler_core.errors import RecordError
from tilewright.db.storage.rows import Columns
from tilewright.db.storage.schema import run, workload

Value = TypeVar("Value")
LARGEST_IN_LIST = 30_000  # SQLite takes 32,766 parameters in one statement, PostgreSQL 65,535


def insert_missing(
    connection: Connection, table: Table, rows: Iterable[Columns], key: str = "digest"
) -> None:
    """Inserts the rows whose `key` is not there yet; in key order, so that two writers cannot deadlock."""
    ordered = sorted(rows, key=lambda row: str(row[key]))
    if not ordered:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), ordered)
    else:
        connection.execute(postgresql.insert(table).on_conflict_do_nothing(), ordered)


def put(connection: Connection, table: Table, rows: Iterable[Columns]) -> None:
    """Inserts rows by digest, in order of digest; one that is there takes the new content when it differs."""
    ordered = sorted(rows, key=lambda row: str(row["digest"]))
    if not ordered:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    content = [name for name in ordered[0] if name != "digest"]
    different = or_(*(table.c[name] != statement.excluded[name] for name in content))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["digest"],
            set_={name: statement.excluded[name] for name in content},
            where=different,
        ),
        ordered,
    )


def workload_ids(connection: Connection, digests: Iterable[str]) -> dict[str, int]:
    """Row ids by digest; RecordError names the first digest that was never put."""
    wanted = sorted(set(digests))
    ids: dict[str, int] = {}
    for some in pieces(wanted):
        found = connection.execute(
            select(workload.c.digest, workload.c.id).where(workload.c.digest.in_(some))
        )
        ids.update((row.digest, row.id) for row in found)
    for digest in wanted:
        if digest not in ids:
            raise RecordError(f"workload {digest[:12]} is not in the database; put_workloads() comes first")
    return ids


def run_ids(connection: Connection, uids: Iterable[str]) -> dict[str, int]:
    """Row ids by uid; RecordError names the first run that was never started."""
    wanted = sorted(set(uids))
    ids: dict[str, int] = {}
    for some in pieces(wanted):
        ids.update(
            (row.uid, row.id)
            for row in connection.execute(select(run.c.uid, run.c.id).where(run.c.uid.in_(some)))
        )
    for uid in wanted:
        if uid not in ids:
            raise RecordError(f"run {uid!r} is not in the database; start_run() comes first")
    return ids


def pieces(values: Sequence[Value], columns: int = 1) -> Iterable[Sequence[Value]]:
    """`values`, each of so many columns, in parts that fit one statement: nearly always one."""
    most = LARGEST_IN_LIST // columns
    return (values[index : index + most] for index in range(0, len(values), most))


def lock_name(connection: Connection, name: str) -> None:
    """Until the transaction ends, nobody else holds `name`. On SQLite there is one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
