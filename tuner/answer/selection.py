"""What the selector of a range of sizes answers at one size."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.workload import graph_digest
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.db.answering.selectors import Selectors
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.transfer import carried
from tilewright.tuner.network.session import Session


@dataclass(frozen=True)
class Interval:
    """Sizes `low` to `high` run what was tuned at `tuned_at`; regrets are fractions of the best latency."""

    low: int
    high: int
    tuned_at: int
    measured_regret: float
    predicted_regret: float


@dataclass(frozen=True)
class Selected:
    """What a selector answers at one size: the network's Config there, and the interval it comes from."""

    symbol: str
    interval: Interval
    config: Config


def selected(session: Session, model: str | Path, dims: Mapping[str, int] | None) -> Selected | None:
    """The answer of a range that holds the sizes of `session`, whichever dim was ranged; None without one."""
    for symbol in sorted(dims or {}):
        size = dict(dims or {})[symbol]
        others = {name: value for name, value in dict(dims or {}).items() if name != symbol}
        digest = graph_digest(import_model(Path(model), others).graph)
        row = Selectors(session.book.repository.database).select(session.book.key(digest), symbol, size)
        if row is None:
            continue
        tuned_at, *rest = row.config.items
        try:
            config = carried(Config(tuple(rest)), session)
        except ConfigError:
            continue
        regrets = (row.measured_regret or 0.0, row.predicted_regret or 0.0)
        return Selected(symbol, Interval(row.low, row.high, int(tuned_at[1]), *regrets), config)
    return None
