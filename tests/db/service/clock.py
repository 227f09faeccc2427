"""A clock for the databases of tests: SQLite's own, moved as the test likes."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import event

from tilewright.db.storage.session import Database

EPOCH_DAYS, DAY_S = 2440587.5, 86_400.0


@dataclass
class Clock:
    """What `database_clock()` says: seconds since 1970, moved by whoever holds this."""

    now_s: float = field(default_factory=time.time)


def clocked(database: Database, clock: Clock) -> Database:
    """`database`, every later connection of which reads `clock`."""

    def julianday(_: object) -> float:
        return clock.now_s / DAY_S + EPOCH_DAYS

    def connect(connection: sqlite3.Connection, record: object) -> None:
        function: Callable[[object], float] = julianday
        connection.create_function("julianday", 1, function)

    database.close()
    event.listen(database.engine, "connect", connect)
    return database
