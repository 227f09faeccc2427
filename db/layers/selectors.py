"""Dynamic shapes: which Config answers for which sizes of a symbolic dim."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from sqlalchemy import bindparam, delete, insert, select

from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import Key
from tilewright.db.service.leases import Guard
from tilewright.db.storage.schema import selector
from tilewright.db.storage.seal import check_seal, sealed
from tilewright.db.storage.session import Database
from tilewright.search_space.knobs import Config


@dataclass(frozen=True)
class SelectorRow:
    """The Config for sizes `low` to `high`, both included, and how much slower it may be than a tuned one.

    Regrets are fractions (0.02 = 2 %): measured at the sizes tried, predicted over the others.
    """

    low: int
    high: int
    config: Config
    space_digest: str
    measured_regret: float | None = None
    predicted_regret: float | None = None


_of_key = (
    selector.c.workload_digest == bindparam("workload"),
    selector.c.target_digest == bindparam("target"),
    selector.c.toolchain == bindparam("of_toolchain"),
    selector.c.objective == bindparam("of_objective"),
    selector.c.symbol == bindparam("of_symbol"),
)
_intervals = select(selector).where(*_of_key).order_by(selector.c.low)
_symbols = select(selector.c.symbol).where(*_of_key[1:-1]).distinct()


class Selectors:
    """Verbs on selectors; the promises on threads, transactions and errors are those of Repository."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def publish(self, key: Key, symbol: str, rows: Sequence[SelectorRow], guard: Guard | None = None) -> None:
        """Replaces the answers of a symbolic workload for the sizes in `rows`.

        What answers for other sizes stays. `guard` is asked first, in the same transaction. RecordError when
        two intervals overlap, or the lease is lost.
        """
        ordered = sorted(rows, key=lambda row: row.low)
        for row, following in pairwise(ordered):
            if row.high >= following.low:
                raise RecordError(
                    f"selector of {symbol}: {row.low}..{row.high} overlaps {following.low}..{following.high}"
                )
        with self.database.writing() as connection:
            if guard is not None:
                guard(connection)
            if not ordered:
                return
            kept = _outside(map(_row, connection.execute(_intervals, _values(key, symbol))), ordered)
            connection.execute(delete(selector).where(*_of_key), _values(key, symbol))
            connection.execute(insert(selector), [_columns(key, symbol, row) for row in (*kept, *ordered)])

    def intervals(self, key: Key, symbol: str) -> tuple[SelectorRow, ...]:
        """The intervals of a symbolic workload in ascending order; none where it has no selector."""
        return tuple(map(_row, self.database.ask(_intervals, _values(key, symbol))))

    def symbols(self, key: Key) -> frozenset[str]:
        """The dims that any workload has a selector over; target, toolchain and objective as in `key`."""
        values = _values(key, "")
        return frozenset(row.symbol for row in self.database.ask(_symbols, values))


def _row(row: Any) -> SelectorRow:
    check_seal(row, selector)
    return SelectorRow(
        row.low,
        row.high,
        Config.from_json(row.config),
        row.space_digest,
        row.measured_regret,
        row.predicted_regret,
    )


def _outside(rows: Iterable[SelectorRow], new: Sequence[SelectorRow]) -> list[SelectorRow]:
    """The parts of `rows` whose sizes are in none of `new`."""
    parts = list(rows)
    for taken in new:
        parts = [
            part
            for row in parts
            for part in (
                replace(row, high=min(row.high, taken.low - 1)),
                replace(row, low=max(row.low, taken.high + 1)),
            )
            if part.low <= part.high
        ]
    return parts


def _values(key: Key, symbol: str) -> dict[str, Any]:
    return {
        "workload": key.workload_digest,
        "target": key.target_digest,
        "of_toolchain": key.toolchain,
        "of_objective": key.objective,
        "of_symbol": symbol,
    }


def _columns(key: Key, symbol: str, row: SelectorRow) -> dict[str, Any]:
    content = {
        "workload_digest": key.workload_digest,
        "target_digest": key.target_digest,
        "toolchain": key.toolchain,
        "objective": key.objective,
        "symbol": symbol,
        "low": row.low,
        "high": row.high,
        "config": row.config.to_json(),
        "space_digest": row.space_digest,
        "measured_regret": row.measured_regret,
        "predicted_regret": row.predicted_regret,
    }
    return sealed(content)
