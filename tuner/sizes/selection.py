"""The answer of a range's selector at one size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from tilewright.compiler_core.digest import Json, canonical_json, digest_of
from tilewright.compiler_core.errors import ConfigError, ModelError
from tilewright.compiler_core.ir.canonical import canonical_form
from tilewright.compiler_core.ir.workload import graph_digest, number_network
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.db.layers.layer import AnswerContext, Layer
from tilewright.db.layers.selectors import SelectorRow, Selectors
from tilewright.db.records import WorkloadKind, WorkloadRow
from tilewright.search_space.knobs import Config
from tilewright.tuner.network.book import NETWORK_SPACE
from tilewright.tuner.network.opened import Opened
from tilewright.tuner.sizes.transfer import carried
from tilewright.tuner.subject import Subject

TUNED_AT, PLANNED = "tuned_at", "planned"


@dataclass(frozen=True)
class Interval:
    """Sizes `low` to `high` run the Config tuned at `tuned_at`, or `planned` there without a search. Regrets
    are fractions of the best latency: seen at sizes of the interval beside other measurements there, and
    predicted against a search at any size of it; None where the Config does not run at every size seen.
    """

    low: int
    high: int
    tuned_at: int
    measured_regret: float | None
    predicted_regret: float | None
    planned: bool = False

    @property
    def origin(self) -> str:
        """The source of its Config in words: tuned at 108."""
        return f"{'planned' if self.planned else 'tuned'} at {self.tuned_at}"

    def __str__(self) -> str:
        behind = "regret unknown"
        if self.measured_regret is not None:
            behind = f"at most {self.measured_regret:.1%} slower than the best seen there"
            if (self.predicted_regret or 0.0) > self.measured_regret:
                behind += f", perhaps {self.predicted_regret:.1%} slower than a search of its own would find"
        return f"{self.low}..{self.high}: as {self.origin}, {behind}"


@dataclass(frozen=True)
class Selected:
    """A selector's answer at one size: the network's Config there, and the interval it comes from. `digest`
    is the selector's key, `split` counts the groups that no tile fits at this size, so that they run in
    parts, and `layer` names the layer that knew it.
    """

    symbol: str
    interval: Interval
    config: Config
    digest: str
    split: int = 0
    layer: str = ""

    def __str__(self) -> str:
        parts = f"; {self.split} kernels in parts, which fit no more" if self.split else ""
        return f"{self.symbol} {self.interval}{parts}"


def ranged_row(
    model: Path, symbol: str, others: Mapping[str, int], inputs: Mapping[str, Given] | None = None
) -> WorkloadRow:
    """The key of a network's selectors: its digest with `symbol` open and all other dims bound.

    Without its symbol the network may be none that can be imported (its count of ops depends on it); then it
    is known by the bytes of its file. ModelError where there is no file.
    """
    try:
        graph = import_model(model, others, inputs).graph
    except ModelError:
        try:
            file = sha256(model.read_bytes()).hexdigest()
        except OSError as error:
            raise ModelError(f"cannot read {model}: {error.strerror}") from None
        known = {"file": file, "symbol": symbol, "dims": dict(others), **_given(inputs or {})}
        digest = digest_of(known)
        return WorkloadRow(digest, digest, WorkloadKind.GRAPH, "[]", canonical_json(known))
    digest = graph_digest(graph)
    body = canonical_json({"symbolic": canonical_form(graph, number_network(graph), graph.outputs)})
    return WorkloadRow(digest, digest, WorkloadKind.GRAPH, "[]", body)


def _given(inputs: Mapping[str, Given]) -> dict[str, Json]:
    """The inputs that have values, where there are any."""
    values = {name: np.asarray(value).tolist() for name, value in inputs.items()}
    return {"inputs": values} if values else {}


def selected(opened: Opened, subject: Subject) -> Selected | None:
    """The answer of a range that holds the sizes of `opened`, whichever dim was ranged; None without one.

    The interval that holds the size answers; where the network has other ops at this size than there, the
    nearest one that has the same.
    """
    for layer in opened.records.sources.layers:
        found = _selected(opened, subject, layer)
        if found is not None:
            return found
    return None


def _selected(opened: Opened, subject: Subject, layer: Layer) -> Selected | None:
    """The same of one layer."""
    context = AnswerContext(opened.target.digest, opened.records.toolchain, opened.objective)
    ranged = layer.symbols(context)
    for symbol, size in sorted(subject.dims.items()):
        if ranged is not None and symbol not in ranged:
            continue
        digest = _ranged_digest(subject, symbol)
        rows = layer.intervals(digest, symbol, context)
        if not any(row.low <= size <= row.high for row in rows):
            continue
        for row in sorted(rows, key=lambda row: (_distance(row, size), row.low)):
            try:
                found = carried(row.config, opened)
            except ConfigError:
                continue
            return Selected(symbol, interval_of(row), found.config, digest, found.split, layer.name)
    return None


def beyond_ranges(opened: Opened, subject: Subject) -> str:
    """Why no tuned range of the network holds its sizes, in one line; empty where none was tuned."""
    selectors, key = Selectors(opened.records.repository.database), opened.records.key
    ranged = selectors.symbols(key(opened.network.task.digest))
    for symbol, size in sorted(subject.dims.items()):
        if symbol in ranged and (rows := selectors.intervals(key(_ranged_digest(subject, symbol)), symbol)):
            return not_held(symbol, size, rows)
    return ""


def _ranged_digest(subject: Subject, symbol: str) -> str:
    """The digest of the network with one of its bound dims open."""
    others = {name: value for name, value in subject.dims.items() if name != symbol}
    return ranged_row(Path(subject.model), symbol, others, subject.inputs).digest


def not_held(symbol: str, size: int, rows: Sequence[SelectorRow]) -> str:
    """Why the selector of a dim, whose intervals are `rows`, has no answer at `size`, in one line."""
    if not rows:
        return f"no range of {symbol} was tuned; tune one first"
    ranges: list[tuple[int, int]] = []
    for row in rows:
        if ranges and ranges[-1][1] + 1 == row.low:
            ranges[-1] = ranges[-1][0], row.high
        else:
            ranges.append((row.low, row.high))
    named = ", ".join(f"{low}..{high}" for low, high in ranges)
    if any(low <= size <= high for low, high in ranges):
        return f"{symbol} = {size} is inside {named}, but nothing tuned there runs at it; tune it by itself"
    tuned = f"the tuned range{'s' if len(ranges) > 1 else ''} {named}"
    return f"{symbol} = {size} is outside {tuned}; tune it by itself or a wider range"


def selector_row(interval: Interval, config: Config) -> SelectorRow:
    """An interval and its portable Config as the database keeps them."""
    origin = ((TUNED_AT, interval.tuned_at), (PLANNED, interval.planned))
    return SelectorRow(
        interval.low,
        interval.high,
        Config((*origin, *config.items)),
        NETWORK_SPACE,
        interval.measured_regret,
        interval.predicted_regret,
    )


def portable_of(row: SelectorRow) -> Config:
    """The portable Config of an interval; the other inverse of `selector_row`."""
    return Config(tuple(item for item in row.config.items if item[0] not in (TUNED_AT, PLANNED)))


def interval_of(row: SelectorRow) -> Interval:
    """An interval as the database keeps it; inverse of `selector_row`."""
    origin = dict(row.config.items)
    return Interval(
        row.low,
        row.high,
        int(origin[TUNED_AT]),
        row.measured_regret,
        row.predicted_regret,
        bool(origin.get(PLANNED, False)),
    )


def _distance(row: SelectorRow, size: int) -> int:
    return max(row.low - size, size - row.high, 0)
