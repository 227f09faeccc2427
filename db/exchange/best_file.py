"""The answers alone, as one small file to ship with a compiler: opened read-only, without a server."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, or_, select

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.files.outputs import output
from tilewright.db.records import Best
from tilewright.db.storage.rows import to_best
from tilewright.db.storage.schema import best, selector, target, workload
from tilewright.db.storage.session import Database, one_line_errors, open_database

_ROWS_AT_A_TIME = 5_000


def export_best(
    database: Database, path: Path, target_digest: str | None = None, toolchain: str | None = None
) -> int:
    """Writes every best (of one target, of one toolchain, where given) to a new SQLite file; how many. The
    answers of tuned ranges go with them.

    The file takes the place of `path` when it is complete. Open it with open_database(path, read_only=True).
    """
    wanted = select(best)
    if target_digest is not None:
        wanted = wanted.where(best.c.target_digest == target_digest)
    if toolchain is not None:
        wanted = wanted.where(best.c.toolchain == toolchain)
    ranges = select(selector)
    if target_digest is not None:
        ranges = ranges.where(selector.c.target_digest == target_digest)
    if toolchain is not None:
        ranges = ranges.where(selector.c.toolchain == toolchain)
    answered, ranged = wanted.subquery(), ranges.subquery()
    targets = select(target).where(_named_by(target.c.digest, answered, ranged, "target_digest"))
    workloads = select(workload).where(_named_by(workload.c.digest, answered, ranged, "workload_digest"))
    with shipped_whole(path) as answers, database.snapshot() as source, answers.writing() as destination:
        _copy(source, destination, target, targets)
        _copy(source, destination, workload, workloads)
        _copy(source, destination, selector, ranges)
        return _copy(source, destination, best, wanted)


def every_best(database: Database) -> list[Best]:
    """All answers of a database, in order of their keys."""
    keys = (best.c.workload_digest, best.c.target_digest, best.c.toolchain, best.c.objective)
    return [to_best(row) for row in database.ask(select(best).order_by(*keys))]


@contextmanager
def shipped_whole(path: Path, private: bool = False) -> Iterator[Database]:
    """A new database to fill; it replaces `path` when the block ends well. The result is one compact file
    without companions, so that it opens in a folder that is read-only.
    """
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        raise UsageError(
            f"{log} holds changes of the database that is there; open that once, or name another file"
        )
    work = tempfile.TemporaryDirectory(prefix="tilewright-")
    with output(path, private=private) as stream, work as directory:
        filled = open_database(Path(directory) / "filled.db")
        try:
            yield filled
            compact = Path(directory) / "compact.db"
            with one_line_errors(str(path)), filled.engine.connect() as connection:
                connection.exec_driver_sql("VACUUM INTO ?", (str(compact),))
        finally:
            filled.close()
        with compact.open("rb") as whole:
            shutil.copyfileobj(whole, stream, 1 << 20)


def _named_by(digest: Any, answered: Any, ranged: Any, column: str) -> Any:
    """Whether a digest is that of an answer or of a range."""
    return or_(digest.in_(select(answered.c[column])), digest.in_(select(ranged.c[column])))


def _copy(source: Connection, destination: Connection, table: Any, question: Any) -> int:
    count = 0
    rows = source.execute(question.execution_options(yield_per=_ROWS_AT_A_TIME))
    for some in rows.mappings().partitions():
        destination.execute(insert(table), [dict(row) for row in some])
        count += len(some)
    return count
