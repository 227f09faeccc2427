"""Merging files: the union of their entries by identity. Commutative, associative, idempotent."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import RecordError
from tilewright.db.exchange.entries import DESCRIPTIVE, NAMES, Entry, identity, to_object
from tilewright.db.exchange.lines import Bounds, Written, read_lines, write_lines


def union(parts: Sequence[Iterable[Entry]]) -> Iterator[Entry]:
    """The entries of all parts, each part sorted by identity, each entry once.

    Where parts describe a target or a model in other words, the smaller text in canonical form stays.
    RecordError when two parts contradict each other: such parts do not merge in any order.
    """
    merged = heapq.merge(*parts, key=identity)
    for here, same in groupby(merged, key=identity):
        texts = {canonical_json(to_object(entry)): entry for entry in same}
        first = min(texts)
        if len(texts) > 1 and not isinstance(texts[first], DESCRIPTIVE):
            name = NAMES[here[0]]
            where = " ".join(str(part) for part in here[1:] if part != "")
            raise RecordError(f"{name} {where}: two parts hold it with different content; one was altered")
        yield texts[first]


def contradictions(parts: Sequence[Iterable[Entry]]) -> Iterator[str]:
    """What keeps parts, each sorted by identity, from being merged, a line each: entries of one identity and
    other content, with the fields in which they differ.
    """
    for here, same in groupby(heapq.merge(*parts, key=identity), key=identity):
        found = {canonical_json(to_object(entry)): entry for entry in same}
        first = next(iter(found.values()))
        if len(found) > 1 and not isinstance(first, DESCRIPTIVE):
            kinds = [to_object(entry)["value"] for entry in found.values()]
            fields = sorted(
                name for name in kinds[0] if any(each.get(name) != kinds[0][name] for each in kinds)
            )
            where = " ".join(str(part) for part in here[1:] if part != "")
            yield f"{NAMES[here[0]]} {where}: {', '.join(fields)}"


def merge_files(inputs: Sequence[Path], output: Path, bounds: Bounds | None = None) -> Written:
    """Writes the union of files; equal unions are equal byte by byte, in any order of the inputs."""
    return write_lines(output, union([read_lines(path, bounds) for path in inputs]))
