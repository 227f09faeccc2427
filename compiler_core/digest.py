"""Content digests: one canonical JSON form, one hash, 64 hex characters everywhere.

The canonical form sorts object keys, has no spaces and refuses NaN, so equal values digest equally in
every process and on every machine.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = str | int | float | bool | Sequence["Json"] | Mapping[str, "Json"] | None


def canonical_json(value: Json) -> str:
    """`value` in its one canonical text form; ValueError on NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def digest_of(value: Json) -> str:
    """SHA-256 of the canonical form, 64 hex characters."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()
