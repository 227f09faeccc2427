"""The JSON Lines file: a header, entries sorted by identity, and an end that says how many there were.

    {"format":"tilewright-records","schema":1}
    {"digest":"...","kind":"target","value":{...}}
    ...
    {"digest":"...","kind":"end","value":{"entries":12}}

The digest of the end is that of all entries' digests in order: a file that lost a line says so, and two files
of equal content are equal byte by byte.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.files.outputs import output
from tilewright.db.exchange.bounded_json import parse_bounded
from tilewright.db.exchange.entries import (
    Entry,
    Identity,
    RunFinish,
    StoredRun,
    StoredSignature,
    StoredTrial,
    from_object,
    identity,
    to_object,
)
from tilewright.db.records import ModelRow, TargetRow, WorkloadRow

FORMAT = "tilewright-records"
FORMAT_SCHEMA = 1


@dataclass(frozen=True)
class Bounds:
    """Limits on reading a file."""

    file_bytes: int = 4 << 30
    line_bytes: int = 16 << 20


@dataclass(frozen=True)
class Written:
    """The outcome of an export: how many entries, and the digest of all of them."""

    entries: int
    digest: str


def write_lines(path: Path, entries: Iterable[Entry]) -> Written:
    """Writes entries, which must come sorted by identity; the file appears whole or not at all."""
    total = hashlib.sha256()
    count = 0
    with output(path) as stream:
        stream.write(canonical_json({"format": FORMAT, "schema": FORMAT_SCHEMA}).encode() + b"\n")
        for entry in entries:
            line = to_object(entry)
            total.update(bytes.fromhex(line["digest"]))
            stream.write(canonical_json(line).encode() + b"\n")
            count += 1
        stream.write(canonical_json(_end(count, total.hexdigest())).encode() + b"\n")
    return Written(count, total.hexdigest())


def read_lines(path: Path, bounds: Bounds | None = None) -> Iterator[Entry]:
    """The entries of a file, one by one; RecordError names file, line and reason at the first bad one.

    Entries yielded before count only when the iteration ends well.
    """
    try:
        with path.open("rb") as stream:
            yield from _entries(stream, path.name, bounds or Bounds())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None


def read_header(path: Path) -> None:
    """RecordError where a file cannot be read, or is none of records at its first line."""
    next(read_lines(path), None)


def _entries(stream: IO[bytes], name: str, bounds: Bounds) -> Iterator[Entry]:
    lines = _BoundedLines(stream, bounds)
    try:
        _check_header(next(lines, None))
        so_far = _SoFar()
        for line in lines:
            parsed = _object(line)
            if parsed.get("kind") == "end":
                if parsed != _end(so_far.entries, so_far.total.hexdigest()):
                    raise ValueError("end does not belong to the lines before it; some were lost or changed")
                if next(lines, None) is not None:
                    raise ValueError("file goes on after its end")
                return
            entry = from_object(parsed)
            so_far.take(entry, parsed["digest"])
            yield entry
        raise ValueError("file stops before its end; it was cut off")
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{name}, line {lines.number}: {error}; nothing was taken") from None


class _BoundedLines:
    """Iterates over lines; `number` is that of the line that was last asked for, from 1."""

    def __init__(self, stream: IO[bytes], bounds: Bounds) -> None:
        self.number = 0
        self._stream = stream
        self._bounds = bounds
        self._taken = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.number += 1
        line = self._stream.readline(self._bounds.line_bytes + 1)
        if not line:
            raise StopIteration
        self._taken += len(line)
        if self._taken > self._bounds.file_bytes:
            raise ValueError(f"file is larger than {self._bounds.file_bytes} bytes; export it in parts")
        if len(line) > self._bounds.line_bytes:
            raise ValueError(f"line is longer than {self._bounds.line_bytes} bytes")
        if not line.endswith(b"\n"):
            raise ValueError("line is cut off")
        return line


def _object(line: bytes) -> dict[str, Any]:
    parsed = parse_bounded(line.decode("utf-8"))
    if not isinstance(parsed, dict):
        raise ValueError("line is not a JSON object")
    return parsed


def _check_header(line: bytes | None) -> None:
    if line is None:
        raise ValueError("file is empty")
    header = _object(line)
    if header.get("format") != FORMAT:
        raise ValueError(f"not a file of {FORMAT}")
    if header.get("schema") != FORMAT_SCHEMA or isinstance(header.get("schema"), bool):
        raise ValueError(
            f"schema {str(header.get('schema'))[:20]} is not {FORMAT_SCHEMA}; "
            "read the file with the version that wrote it"
        )
    if len(header) != 2:
        raise ValueError("header has parts that are not known")


def _end(entries: int, total: str) -> dict[str, Any]:
    return {"kind": "end", "value": {"entries": entries}, "digest": total}


class _SoFar:
    """The state of a reader: entries come sorted, each once, and after those that they refer to."""

    def __init__(self) -> None:
        self.entries = 0
        self.total = hashlib.sha256()
        self._last: Identity | None = None
        self._known: set[str] = set()

    def take(self, entry: Entry, digest: str) -> None:
        """Counts an entry in; ValueError names the reason where it may not stand here."""
        self._check(entry)
        self.entries += 1
        self.total.update(bytes.fromhex(digest))

    def _check(self, entry: Entry) -> None:
        here = identity(entry)
        if self._last is not None and here == self._last:
            raise ValueError("entry occurs twice")
        if self._last is not None and here < self._last:
            raise ValueError("entry is out of order; merge files with the verb, not by hand")
        self._last = here
        match entry:
            case TargetRow() | ModelRow() | WorkloadRow():
                self._known.add(f"{here[0]} {entry.digest}")
            case StoredRun(asked=asked):
                self._needs(f"0 {asked.target_digest}", "target")
                if asked.model_digest is not None:
                    self._needs(f"1 {asked.model_digest}", "model")
                self._known.add(f"3 {asked.uid}")
            case StoredTrial(trial=trial):
                self._needs(f"2 {trial.workload_digest}", "workload")
                self._needs(f"3 {trial.run}", "run")
            case RunFinish() | StoredSignature():
                self._needs(f"3 {entry.run}", "run")

    def _needs(self, what: str, kind: str) -> None:
        if what not in self._known:
            raise ValueError(f"{kind} {what[2:14]} is spoken of but not in the file")
