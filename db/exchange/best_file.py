"""The answers alone, as one small file to ship with a compiler: opened read-only, without a server."""

import os
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from compiler_core.errors import RecordError
from db.schema import best, target, workload
from db.session import Database, open_database

_ROWS_AT_A_TIME = 5_000


def export_best(
    database: Database, path: Path, target_digest: str | None = None, toolchain: str | None = None
) -> int:
    """Writes every best (of one target, of one toolchain, where given) to a new SQLite file; how many.

    The file takes the place of `path` when it is complete. Open it with open_database(path, read_only=True).
    """
    wanted = select(best)
    if target_digest is not None:
        wanted = wanted.where(best.c.target_digest == target_digest)
    if toolchain is not None:
        wanted = wanted.where(best.c.toolchain == toolchain)
    keys = wanted.subquery()
    try:
        with tempfile.TemporaryDirectory(prefix=path.name + ".", dir=path.parent) as directory:
            made = Path(directory) / "best.db"
            answers = open_database(made)
            try:
                with database.snapshot() as source, answers.writing() as destination:
                    _copy(
                        source,
                        destination,
                        target,
                        select(target).where(target.c.digest.in_(select(keys.c.target_digest))),
                    )
                    _copy(
                        source,
                        destination,
                        workload,
                        select(workload).where(workload.c.digest.in_(select(keys.c.workload_digest))),
                    )
                    count = _copy(source, destination, best, wanted)
                with answers.engine.connect() as connection:
                    # One file, which readers need not write beside.
                    connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
                    connection.exec_driver_sql("VACUUM")
            finally:
                answers.close()
            os.replace(made, path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written: {error.strerror}") from None
    return count


def _copy(source: Connection, destination: Connection, table: Any, question: Any) -> int:
    count = 0
    rows = source.execute(question.execution_options(yield_per=_ROWS_AT_A_TIME))
    for some in rows.mappings().partitions():
        destination.execute(insert(table), [dict(row) for row in some])
        count += len(some)
    return count
