"""`tune diff` of what is no run: the answers of two databases, the numbers of two targets."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler_core.target_model.file import load_target, target_text
from tilewright.db.answering.titles import titles_of
from tilewright.db.exchange.best_file import every_best
from tilewright.db.exchange.export import entries_of
from tilewright.db.exchange.union import contradictions
from tilewright.db.layers.opening import place_of
from tilewright.db.records import Best
from tilewright.db.repository import Repository

WORDS = {"name", "description", "assumed"}
"""Keys of a target's file that change no number."""


@dataclass(frozen=True)
class AnswerDifference:
    """One key in both databases or in one, its number in its objective's unit (None: no answer there)."""

    name: str
    workload_digest: str
    target: str
    toolchain: str
    objective: str
    first: float | None
    second: float | None
    same_config: bool

    @property
    def verdict(self) -> str:
        """The change from the first to the second: new, gone, faster, slower, or other Config."""
        if self.first is None or self.second is None:
            return "new" if self.first is None else "gone"
        if self.first == self.second:
            return "other Config"
        return "faster" if self.second < self.first else "slower"

    @property
    def ratio(self) -> float | None:
        """The second over the first."""
        return self.second / self.first if self.first and self.second else None


@dataclass(frozen=True)
class DatabaseDiff:
    """The answers of two databases: how many are the same; those that are not, furthest apart first."""

    databases: tuple[str, str]
    answers: tuple[int, int]
    same: int
    rows: tuple[AnswerDifference, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as one JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class TargetDiff:
    """Two targets: keys of their files that differ (None: not given), and their peaks in MAC/us."""

    targets: tuple[str, str]
    digests: tuple[str, str]
    peaks: Mapping[str, tuple[float | None, float | None]]
    keys: Mapping[str, tuple[Any, Any]]

    def to_json(self) -> dict[str, Any]:
        """The fields as one JSON object."""
        return asdict(self)


def diff_databases(first: str | Path, second: str | Path) -> DatabaseDiff:
    """Compare the answers of two databases, or layers by name, key by key; RecordError where one cannot be
    read.
    """
    opened = [place_of(str(each)) for each in (first, second)]
    try:
        bests = [{each.key: each for each in every_best(database)} for database in opened]
        keys = dict.fromkeys((*bests[0], *bests[1]))
        names: dict[str, str] = {}
        targets: dict[str, str] = {}
        for database in opened:
            targets |= {row.digest: row.name for row in Repository(database).targets()}
            names |= titles_of(database, {key.workload_digest for key in keys})
        rows = []
        for key in keys:
            mine, others = bests[0].get(key), bests[1].get(key)
            one, other = _number(mine), _number(others)
            same = mine is not None and others is not None and mine.config.digest == others.config.digest
            if not same or one != other:
                named = names.get(key.workload_digest, "")
                target = targets.get(key.target_digest, key.target_digest[:12])
                about = (named, key.workload_digest, target, key.toolchain, str(key.objective))
                rows.append(AnswerDifference(*about, one, other, same))
        counts = (len(bests[0]), len(bests[1]))
        ranked = tuple(sorted(rows, key=_rank))
        return DatabaseDiff((str(first), str(second)), counts, len(keys) - len(rows), ranked)
    finally:
        for database in opened:
            database.close()


def conflicts(first: str, second: str) -> list[str]:
    """Records that keep two databases, or layers by name, from being merged, a line each."""
    opened = [place_of(each) for each in (first, second)]
    try:
        return list(contradictions([entries_of(database) for database in opened]))
    finally:
        for database in opened:
            database.close()


def diff_targets(first: str | Path, second: str | Path) -> TargetDiff:
    """Compare two targets key by key; TargetError names a mistake in a file."""
    chips = [load_target(each) for each in (first, second)]
    keys = [dict(_leaves(tomllib.loads(target_text(each)))) for each in (first, second)]
    differing = {
        key: (keys[0].get(key), keys[1].get(key))
        for key in dict.fromkeys((*keys[0], *keys[1]))
        if keys[0].get(key) != keys[1].get(key) and key not in WORDS
    }
    stored = [dict.fromkeys(stored for stored, _ in chip.dtypes) for chip in chips]
    peaks: dict[str, tuple[float | None, float | None]] = {}
    for dtype in dict.fromkeys((*stored[0], *stored[1])):
        one, other = (
            chip.peak_macs_per_cycle(dtype) * chip.cycles_per_us if dtype in has else None
            for chip, has in zip(chips, stored, strict=True)
        )
        peaks[str(dtype)] = (one, other)
    return TargetDiff((chips[0].name, chips[1].name), (chips[0].digest, chips[1].digest), peaks, differing)


def _leaves(table: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of a TOML file and their values; a list of plain values is one."""
    if isinstance(table, dict):
        for name, value in table.items():
            yield from _leaves(value, f"{path}.{name}" if path else name)
    elif isinstance(table, list) and table and isinstance(table[0], dict):
        for place, value in enumerate(table):
            yield from _leaves(value, f"{path}[{place}]")
    else:
        yield path, table


def _number(best: Best | None) -> float | None:
    return None if best is None else best.key.objective.of(best.as_measured)


def _rank(row: AnswerDifference) -> tuple[bool, float, str, str]:
    ratio = row.ratio
    apart = 0.0 if ratio is None else max(ratio, 1.0 / ratio)
    return ratio is None, -apart, row.workload_digest, row.objective
