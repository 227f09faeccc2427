"""The bank: answers that ship with the package, for those who have not tuned anything yet.

It is one compressed file of JSON Lines, independent of the schema of databases: a head, then targets,
workloads and bests. `open_bank` unpacks it into a read-only database in the user's cache, once a version.
"""

import lzma
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.compiler_core.files.outputs import output
from tilewright.db.exchange.best_file import every_best, shipped_whole
from tilewright.db.exchange.bounded_json import parse_bounded
from tilewright.db.layers.remembered import cache_folder
from tilewright.db.records import Best, Key, TargetRow, Verification, WorkloadKind, WorkloadRow
from tilewright.db.storage.rows import best_columns, workload_columns
from tilewright.db.storage.schema import SCHEMA_VERSION, best, target, workload
from tilewright.db.storage.session import Database, open_database
from tilewright.measure.objectives import Objective
from tilewright.search_space.knobs import Config

BANK_FILE = Path(__file__).parent / "bank.jsonl.xz"
MOST_BANK_BYTES = 5_000_000
"""Of the file in the wheel."""
LARGEST_TEXT_BYTES = 512 << 20
LARGEST_HEAD_BYTES = 64 << 10
FORMAT = 2
_temporary: list[tempfile.TemporaryDirectory[str]] = []


@dataclass(frozen=True)
class BankHead:
    """Where a bank comes from: when it was made (a date), under which toolchain, and of what.

    `networks` names the networks, and `pairs` says on how many of the `targets` each has an answer, added up;
    `trials` is the budget of each.
    """

    made_on: str
    toolchain: str
    networks: tuple[str, ...]
    targets: tuple[str, ...]
    trials: int
    pairs: int

    def __str__(self) -> str:
        networks = f"{len(self.networks)} network{'' if len(self.networks) == 1 else 's'}"
        targets = f"{len(self.targets)} target{'' if len(self.targets) == 1 else 's'}"
        made = f"bank of {self.made_on}, toolchain {self.toolchain}"
        most = len(self.networks) * len(self.targets)
        on = (
            f"{networks} on {targets}"
            if self.pairs == most
            else f"{self.pairs} pairs of {networks} and {targets}"
        )
        return f"{made}: {on}, {self.trials} trials each"


@dataclass(frozen=True)
class Bank:
    """The content of the file."""

    head: BankHead
    targets: tuple[TargetRow, ...]
    workloads: tuple[WorkloadRow, ...]
    bests: tuple[Best, ...]


def bank_of(database: Database, head: BankHead, target_rows: Sequence[TargetRow]) -> Bank:
    """The answers of a database for some targets under the toolchain of the head, with what they refer to."""
    digests = {row.digest for row in target_rows}
    bests = tuple(
        each
        for each in every_best(database)
        if each.key.toolchain == head.toolchain and each.key.target_digest in digests
    )
    needed = {each.key.workload_digest for each in bests}
    with database.snapshot() as connection:
        rows = connection.execute(workload.select().order_by(workload.c.digest))
        workloads = tuple(
            WorkloadRow(row.digest, row.family_digest, WorkloadKind(row.kind), row.placement, row.body)
            for row in rows
            if row.digest in needed
        )
    return Bank(head, tuple(target_rows), workloads, bests)


def write_bank(bank: Bank, path: Path = BANK_FILE) -> int:
    """Writes the file; its bytes. Equal banks are equal files."""
    head = {"kind": "head", "format": FORMAT, **vars(bank.head)}
    lines: list[Any] = [{**head, "networks": list(bank.head.networks), "targets": list(bank.head.targets)}]
    lines += [{"kind": "target", **vars(row)} for row in bank.targets]
    lines += [{**vars(row), "of": str(row.kind), "kind": "workload"} for row in bank.workloads]
    lines += [{"kind": "best", **_best_to_json(each)} for each in bank.bests]
    text = "".join(canonical_json(line) + "\n" for line in lines)
    packed = lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
    with output(path) as stream:
        stream.write(packed)
    return len(packed)


def read_bank(path: Path = BANK_FILE) -> Bank:
    """Inverse of `write_bank`; RecordError, one line, where the file is no bank."""
    try:
        lines = list(_lines(path))
        head, rest = _head_of(lines[0]), lines[1:]
        by_kind: dict[str, list[dict[str, Any]]] = {"target": [], "workload": [], "best": []}
        for line in rest:
            by_kind[line.pop("kind")].append(line)
        return Bank(
            head,
            tuple(TargetRow(**line) for line in by_kind["target"]),
            tuple(WorkloadRow(kind=WorkloadKind(line.pop("of")), **line) for line in by_kind["workload"]),
            tuple(_best_of_json(line) for line in by_kind["best"]),
        )
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


_UNREADABLE = (OSError, lzma.LZMAError, ValueError, KeyError, TypeError, IndexError, AttributeError)


def _unreadable(path: Path, error: BaseException) -> RecordError:
    line = " ".join(str(error).split())[:200]
    return RecordError(f"bank {path.name} cannot be read ({line}); install the package again")


def _head_of(line: dict[str, Any]) -> BankHead:
    if line.pop("kind") != "head" or line.pop("format") != FORMAT:
        raise ValueError("its head is of another format")
    line |= {name: tuple(line[name]) for name in ("networks", "targets")}
    return BankHead(**line)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    unpacker = lzma.LZMADecompressor()
    text = unpacker.decompress(path.read_bytes(), LARGEST_TEXT_BYTES)
    if not unpacker.eof:
        raise ValueError("it is cut off")
    yield from (parse_bounded(line) for line in text.decode().splitlines())


def _best_to_json(each: Best) -> dict[str, Any]:
    config = [list(item) for item in each.config.items]
    key = {**vars(each.key), "objective": str(each.key.objective)}
    return {**vars(each), **key, "key": None, "config": config, "verification": str(each.verification)}


def _best_of_json(line: dict[str, Any]) -> Best:
    names = ("workload_digest", "target_digest", "toolchain", "objective")
    digest, target_digest, toolchain, objective = (line.pop(name) for name in names)
    line["key"] = Key(digest, target_digest, toolchain, Objective(objective))
    line["config"] = Config(tuple((name, value) for name, value in line["config"]))
    return Best(**{**line, "verification": Verification(line["verification"])})


def open_bank(path: Path = BANK_FILE) -> Database | None:
    """The bank as a read-only database; None where none was shipped."""
    if not path.is_file():
        return None
    return _opened(f"bank-{SCHEMA_VERSION}-{sha256(path.read_bytes()).hexdigest()[:16]}.db", path)


def open_empty() -> Database:
    """A read-only database without records, where there is none of the user's yet."""
    return _opened(f"empty-{SCHEMA_VERSION}.db", None)


def _opened(name: str, packed: Path | None) -> Database:
    """A database of the user's cache, made when it is not there or damaged."""

    def bank() -> Bank:
        return read_bank(packed) if packed else Bank(BankHead("", "", (), (), 0, 0), (), (), ())

    unpacked = cache_folder() / name
    if unpacked.is_file():
        try:
            return open_database(unpacked, read_only=True)
        except RecordError:
            unpacked.unlink(missing_ok=True)
    try:
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        _unpack(bank(), unpacked)
    except (OSError, UsageError):
        unpacked = _folder_of_this_process() / name
        if not unpacked.is_file():
            _unpack(bank(), unpacked)
    return open_database(unpacked, read_only=True)


@cache
def bank_head(path: Path = BANK_FILE) -> BankHead | None:
    """The origin of the bank; None if none was shipped."""
    if not path.is_file():
        return None
    try:
        start = lzma.LZMADecompressor().decompress(path.read_bytes(), LARGEST_HEAD_BYTES)
        return _head_of(parse_bounded(start.split(b"\n", 1)[0].decode()))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


@cache
def _folder_of_this_process() -> Path:
    """Where no cache can be written: gone with the process."""
    folder = tempfile.TemporaryDirectory(prefix="tilewright-bank-")
    _temporary.append(folder)
    return Path(folder.name)


def _unpack(bank: Bank, path: Path) -> None:
    with shipped_whole(path) as database, database.writing() as connection:
        for table, rows in (
            (target, [dict(vars(row)) for row in bank.targets]),
            (workload, [workload_columns(row) for row in bank.workloads]),
            (best, [best_columns(each) for each in bank.bests]),
        ):
            if rows:
                connection.execute(insert(table), rows)
