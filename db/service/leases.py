"""Leases on rows: the right to write about a row, by a token and the database's own clock. Each time a row is
leased its token grows, and a holder of an older token writes nothing more about it: the check of a lease and
the writes that it guards are one transaction. A table whose rows are leased has the columns `uid`,
`lease_token`, `lease_until_s` and `lease_s`.

A clock may be set back. A lease that ends further ahead than it was long was given before that, and has
expired: nobody waits for the clock to catch up.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from tilewright.compiler_core.errors import RecordError
from tilewright.db.storage.columns import database_clock

Guard: TypeAlias = Callable[[Connection], None]
"""Asked first in every transaction that writes; raises where nothing may be written any more."""


CLOCK_SLACK_S = 1.0
"""A clock that is set back by less than this takes no lease away."""
UNKNOWN_LEASE_S = 60.0
"""The length of a lease that an earlier version gave."""


class LeaseLostError(RecordError):
    """Another holder has the row now, or its work ended: stop working on it and write nothing more."""


def latest(table: Table, uid: str, token: int) -> ColumnElement[bool]:
    """Whether nobody has leased the row since this token was given."""
    return (table.c.uid == uid) & (table.c.lease_token == token)


def running(table: Table) -> ColumnElement[bool]:
    """Whether the row's lease has not run out, nor the clock been set back since it was given."""
    length = func.coalesce(table.c.lease_s, UNKNOWN_LEASE_S)
    furthest = database_clock() + length + CLOCK_SLACK_S
    return (table.c.lease_until_s > database_clock()) & (table.c.lease_until_s <= furthest)


def granted(table: Table, duration_s: float) -> dict[str, Any]:
    """The columns of a row that is leased from now on; every earlier token is fenced out."""
    return {"lease_token": table.c.lease_token + 1, **_from_now(duration_s)}


def prolong(
    connection: Connection, table: Table, still: ColumnElement[bool], duration_s: float, lost: LeaseLostError
) -> None:
    """Let the one row that is `still` held be so for `duration_s` from now; raises `lost` where none is."""
    changed = connection.execute(update(table).where(still).values(_from_now(duration_s)))
    if changed.rowcount != 1:
        raise lost


def _from_now(duration_s: float) -> dict[str, Any]:
    return {"lease_until_s": database_clock() + duration_s, "lease_s": duration_s}


def guard_of(table: Table, still: ColumnElement[bool], lost: LeaseLostError) -> Guard:
    """The check that writers make inside their own transaction; raises `lost`."""

    def still_held(connection: Connection) -> None:
        if connection.execute(select(table.c.uid).where(still).with_for_update()).first() is None:
            raise lost

    return still_held


def both(one: Guard, other: Guard) -> Guard:
    """Asks one guard, then the other."""

    def ask(connection: Connection) -> None:
        one(connection)
        other(connection)

    return ask
