"""Ranges of a dim: a few sizes are tuned, and a selector says which of them answers for every other size.

Every tuned Config is carried to every tuned size, and to the size between each two, and measured there. A
selector's measured regret is the worst over the tuned sizes of its interval; the predicted one is the worst
over the sizes between, where the best that was carried is taken to be as far from a tuned one as it was found
to be at the tuned sizes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, isfinite, isqrt
from typing import Any

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import ConfigError, UsageError
from tilewright.compiler_core.ir.canonical import canonical_form
from tilewright.compiler_core.ir.workload import graph_digest, number_network
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model
from tilewright.db.answering.selectors import SelectorRow, Selectors
from tilewright.db.records import WorkloadKind, WorkloadRow
from tilewright.measure.farm.pool import Pool
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.report import Report
from tilewright.tuner.answer.selection import Interval
from tilewright.tuner.answer.transfer import carried, portable
from tilewright.tuner.devices import simulated_pool
from tilewright.tuner.network.book import NETWORK_SPACE
from tilewright.tuner.network.session import Session, open_session
from tilewright.tuner.request import Hooks, TuneRequest, objectives_text
from tilewright.tuner.run import NO_HOOKS, run

MOST_SIZES = 5
"""Sizes of a range that are tuned."""
LEAST_STEP = 2
"""Ratio of neighbouring sizes below which a range has fewer of them."""


@dataclass(frozen=True)
class RangeReport:
    """The answer of a run over a range: a report per tuned size, and the intervals of the selector."""

    model: str
    target: str
    objective: str
    symbol: str
    low: int
    high: int
    sizes: tuple[int, ...]
    reports: tuple[Report, ...]
    intervals: tuple[Interval, ...]

    def to_json(self) -> dict[str, Any]:
        """One JSON object, as docs/cli.md describes it."""
        own = {name: value for name, value in vars(self).items() if name not in ("reports", "intervals")}
        return {
            **own,
            "sizes": list(self.sizes),
            "intervals": [vars(interval) for interval in self.intervals],
            "reports": [report.to_json() for report in self.reports],
        }


def representatives(low: int, high: int, most: int = MOST_SIZES) -> tuple[int, ...]:
    """Both ends of a range and sizes between at equal ratios: 1..2048 -> 1 7 45 304 2048."""
    steps = 1
    while steps < most - 1 and low * LEAST_STEP ** (steps + 1) <= high:
        steps += 1
    return tuple(sorted({round(low * (high / low) ** (at / steps)) for at in range(steps + 1)}))


def run_range(request: TuneRequest, symbol: str, low: int, high: int, hooks: Hooks = NO_HOOKS) -> RangeReport:
    """Tune a network for all sizes `low` to `high` of the dim `symbol`, and publish the selector.

    Budgets are for the whole range: each tuned size gets its share. UsageError for a range that is empty, a
    level that measures nothing, several objectives, or a device or lab; else as `tilewright.tuner.run.run`.
    """
    _check_request(request, symbol, low, high)
    sizes = representatives(low, high)

    def at(size: int) -> TuneRequest:
        return replace(
            request,
            trials=max(1, request.budget // len(sizes)),
            time_limit_s=None if request.time_limit_s is None else request.time_limit_s / len(sizes),
            dims={**request.dims, symbol: size},
        )

    reports = tuple(run(at(size), hooks) for size in sizes)

    def opened(size: int) -> Session:
        asked = at(size)
        return open_session(
            asked.model, asked.target, asked.objective, asked.dims, asked.seed, asked.database, hooks.on_event
        )

    tuned: list[Config] = []
    for size in sizes:
        with opened(size) as session:
            best = session.book.known_network()
            config = session.default_config if best is None else best.config
            tuned.append(portable(session, config))
    between = [isqrt(left * right) for left, right in pairwise(sizes)]
    measured: dict[int, list[float]] = {}
    with opened(sizes[0]) as first:
        text = first.book.target_text
        where = request.pool
        with simulated_pool(first.target.name, text, where.workers, where.ray) as pool:
            pool.start()
            for size in sorted({*sizes, *between}):
                with opened(size) as session:
                    measured[size] = _measured(session, pool, tuned)
        intervals = _intervals(sizes, between, measured)
        symbolic = import_model(request.model, request.dims)
        _publish(first, symbolic, symbol, intervals, dict(zip(sizes, tuned, strict=True)))
    return RangeReport(
        reports[0].model,
        reports[0].target,
        request.objective,
        symbol,
        low,
        high,
        sizes,
        reports,
        intervals,
    )


def _check_request(request: TuneRequest, symbol: str, low: int, high: int) -> None:
    if request.front:
        asked = objectives_text(request.objectives)
        raise UsageError(f"--objective {asked} asks for a front; a range takes one objective")
    if request.device is not None:
        raise UsageError("--device measures one size at a time; give --dim a size, not a range")
    if request.lab is not None:
        raise UsageError("--lab takes one size at a time; give --dim a size, not a range")
    if not 1 <= low <= high:
        raise UsageError(f"--dim {symbol}={low}..{high} is empty; give LO..HI with 1 <= LO <= HI")
    free = import_model(request.model, request.dims).graph.symbols
    if symbol not in free:
        raise UsageError(
            f"the model has no dim {symbol!r} to range; it has {', '.join(sorted(free)) or 'none'}"
        )
    if free - {symbol}:
        names = ", ".join(sorted(free - {symbol}))
        raise UsageError(f"one dim can be ranged at a time; give {names} a value with --dim NAME=VALUE")
    if request.budget == 0:
        raise UsageError(f"--dim {symbol}={low}..{high} needs measurements; give -O 2 or --trials")


def _measured(session: Session, pool: Pool, tuned: Sequence[Config]) -> list[float]:
    """What each tuned Config costs at the size of `session`; infinite where it does not run there."""
    task = session.network.task
    configs: list[Config | None] = []
    for config in tuned:
        try:
            configs.append(carried(config, session))
        except ConfigError:
            configs.append(None)
    distinct = list(dict.fromkeys(config for config in configs if config is not None))
    found = dict(zip(distinct, pool.measure(task, distinct, floor_us=session.bound_us), strict=True))
    costs = []
    for asked in configs:
        result = None if asked is None else found[asked]
        value = None if result is None else session.objective.of(result)
        costs.append(inf if value is None else value)
    return costs


def _intervals(
    sizes: Sequence[int], between: Sequence[int], measured: Mapping[int, Sequence[float]]
) -> tuple[Interval, ...]:
    """Between each two tuned sizes the Config that is best at its worst; equal neighbours join.

    Sizes at which nothing that was tuned runs are in no interval.
    """
    missing = max((_own_gain(measured[size], at) for at, size in enumerate(sizes)), default=0.0)
    found: list[Interval] = []
    for at, high in enumerate(sizes):
        low = sizes[at - 1] + 1 if at else high
        inner = between[at - 1] if at else high
        worst = [max(_regret(measured[inner], c), _regret(measured[high], c)) for c in range(len(sizes))]
        chosen = min(range(len(sizes)), key=lambda c: (worst[c], abs(c - at)))
        at_high = _regret(measured[high], chosen)
        predicted = (1 + max(_regret(measured[inner], chosen), at_high)) * (1 + missing) - 1
        if low == high:
            predicted = at_high
        found.append(Interval(low, high, sizes[chosen], at_high, predicted))
    joined: list[Interval] = []
    for interval in (each for each in found if isfinite(each.predicted_regret)):
        last = joined[-1] if joined else None
        if last is not None and (last.tuned_at, last.high + 1) == (interval.tuned_at, interval.low):
            joined[-1] = Interval(
                last.low,
                interval.high,
                last.tuned_at,
                max(last.measured_regret, interval.measured_regret),
                max(last.predicted_regret, interval.predicted_regret),
            )
        else:
            joined.append(interval)
    return tuple(joined)


def _regret(costs: Sequence[float], chosen: int) -> float:
    return costs[chosen] / min(costs) - 1 if isfinite(costs[chosen]) else inf


def _own_gain(costs: Sequence[float], own: int) -> float:
    """How much slower than the Config tuned at a size the best one from elsewhere is there."""
    others = [cost for at, cost in enumerate(costs) if at != own and isfinite(cost)]
    return max(0.0, min(others, default=costs[own]) / costs[own] - 1)


def _publish(
    session: Session,
    symbolic: ImportedModel,
    symbol: str,
    intervals: Sequence[Interval],
    tuned: Mapping[int, Config],
) -> None:
    graph = symbolic.graph
    digest = graph_digest(graph)
    body = canonical_json({"symbolic": canonical_form(graph, number_network(graph), graph.outputs)})
    repository = session.book.repository
    repository.put_workloads([WorkloadRow(digest, digest, WorkloadKind.GRAPH, "[]", body)])
    rows = [
        SelectorRow(
            interval.low,
            interval.high,
            Config((("tuned_at", interval.tuned_at), *tuned[interval.tuned_at].items)),
            NETWORK_SPACE,
            interval.measured_regret,
            interval.predicted_regret,
        )
        for interval in intervals
    ]
    Selectors(repository.database).publish(session.book.key(digest), symbol, rows)
