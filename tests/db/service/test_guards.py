"""Two guards asked as one: both are asked, in order, and the first that raises ends it."""

import pytest
from sqlalchemy import Connection

from tilewright.db.service.leases import LeaseLostError, both
from tilewright.db.storage.session import Database


def test_both_guards_are_asked(sqlite_database: Database) -> None:
    asked: list[str] = []

    def passes(connection: Connection) -> None:
        asked.append("passes")

    def refuses(connection: Connection) -> None:
        asked.append("refuses")
        raise LeaseLostError("another holder has it")

    with sqlite_database.engine.connect() as connection:
        both(passes, passes)(connection)
        for pair in ((passes, refuses), (refuses, passes)):
            with pytest.raises(LeaseLostError):
                both(*pair)(connection)
    assert asked == ["passes", "passes", "passes", "refuses", "refuses"]
