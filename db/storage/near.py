"""The likeness of two workloads: digests by which an index finds near ones.

A body's values are dealt into two halves by the hash of their paths. Two bodies that differ in one value
agree on the whole of one half, so that an index finds them in a database of any size.
"""

import json
import zlib
from collections.abc import Iterator
from typing import Any

from tilewright.compiler_core.digest import Json, digest_of
from tilewright.compiler_core.errors import RecordError


def parse_json(text: str, what: str) -> Any:
    """`text` as JSON; RecordError names `what` when it is no JSON or is nested too deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{what} is not usable JSON: {error}") from None


def half_digests(kind: str, body: str) -> tuple[str, str]:
    """Digests of the two halves of a workload's values."""
    halves: tuple[list[Json], list[Json]] = ([], [])
    for path, value in leaves(parse_json(body, "body of a workload")):
        halves[zlib.crc32(path.encode()) & 1].append([path, value])
    return digest_of([kind, 0, halves[0]]), digest_of([kind, 1, halves[1]])


def skeleton_digest(kind: str, body: str) -> str:
    """Digest of a body with its values blanked: equal for workloads that differ in nothing else."""
    return digest_of([kind, [path for path, _ in leaves(parse_json(body, "body of a workload"))]])


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and values, as in `domain[0].size`; an empty list or object is a value."""
    if isinstance(value, dict) and value:
        for name in sorted(value):
            yield from leaves(value[name], f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        yield path, value
