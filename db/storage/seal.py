"""A short digest of a row's content, kept in the row, so that a value that changed in the file is found.

SQLite's checks see broken pages, not a changed byte inside a value. This is no signature: whoever can write
the file can write a seal too.
"""

import json
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from typing import Any

from tilewright.compiler_core.errors import RecordError

SEAL = "seal"
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


def check_seal(seal: int | None, content: Mapping[str, Any], table: str) -> None:
    """RecordError where `content` is not what was sealed; rows of earlier versions have no seal."""
    if seal is not None and seal != seal_of(content):
        raise RecordError(
            f"a row of table {table} is not as it was written (its checksum differs); it is damaged, "
            "restore it from a backup"
        )


def _told(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return repr(float(value)) if isinstance(value, int | float) else str(value)
