"""A short digest of a row's content, kept in the row, so that a value that changed in the file is found.

SQLite's checks see broken pages, not a changed byte inside a value. This is no signature: whoever can write
the file can write a seal too.
"""

import json
from collections.abc import Mapping
from enum import Enum
from functools import cache
from hashlib import blake2b
from typing import Any

from sqlalchemy import Row, Table

from tilewright.compiler_core.errors import RecordError

SEAL = "seal"
UNSEALED = "unsealed"  # in a table's `info`: names of columns that the seal leaves out
BYTES = 8  # one integer column


def seal_of(content: Mapping[str, Any]) -> int:
    """A signed integer of 64 bits over columns by name, whatever their order.

    Empty columns don't count, so a column that is added later leaves the seals of older rows as they are.
    Numbers count by their value as floats, as a database may give an integer back as one.
    """
    told = sorted((name, _told(value)) for name, value in content.items() if value is not None)
    text = json.dumps(told, separators=(",", ":")).encode()
    return int.from_bytes(blake2b(text, digest_size=BYTES).digest(), "big", signed=True)


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """The columns of a row with the seal over them."""
    return {**content, SEAL: seal_of(content)}


def check_seal(row: Row[Any], table: Table, key: Mapping[str, Any] | None = None) -> None:
    """RecordError where a row of `table` is not what was sealed; rows of earlier versions have no seal.

    `key` has the columns that were not read, because the question named them.
    """
    if row.seal is None:
        return
    known = key or {}
    content = {name: known[name] if name in known else getattr(row, name) for name in _sealed_names(table)}
    if row.seal != seal_of(content):
        raise RecordError(
            f"a row of table {table.name} is not as it was written (its checksum differs); it is damaged, "
            "restore it from a backup"
        )


@cache
def _sealed_names(table: Table) -> tuple[str, ...]:
    """All columns but the seal, and those that the schema leaves out of it."""
    left_out = (SEAL, *table.info.get(UNSEALED, ()))
    return tuple(column.name for column in table.c if column.name not in left_out)


def _told(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return repr(float(value)) if isinstance(value, int | float) else str(value)
