"""Ranges of a dim: a few sizes are tuned, and a selector answers for every other size.

Tuned Configs are carried to sizes between and measured there (tuner/sizes/intervals.py), at both ends of
every interval of the selector and inside it. An interval's measured regret is the worst seen there. The
predicted one adds what a search finds beyond a carried Config: the worst, over the tuned sizes, of what was
tuned there with its tiles made anew, and of what a longer search is expected to find there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from math import inf, isfinite
from typing import Any

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.onnx_import.sizes import left_out, sizes_in_range
from tilewright.db.answering.selectors import Selectors
from tilewright.db.service.leases import Guard
from tilewright.db.service.run_leases import RunLease
from tilewright.measure.farm.pool import Pool
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.report import Report
from tilewright.tuner.devices import devices_of, one_start
from tilewright.tuner.network.assignment import guessed_of
from tilewright.tuner.network.book import Book, held
from tilewright.tuner.network.events import Phase
from tilewright.tuner.network.opened import Opened, open_network
from tilewright.tuner.network.records import NewSearch
from tilewright.tuner.request import Hooks, TuneRequest
from tilewright.tuner.run import NO_HOOKS, run
from tilewright.tuner.sizes.intervals import Anchor, SizeSpan, intervals_of, spans_between
from tilewright.tuner.sizes.representatives import representatives
from tilewright.tuner.sizes.selection import Interval, ranged_row, selector_row
from tilewright.tuner.sizes.transfer import carried, portable

MOST_PLANS = 8
"""Plans made for sizes of a range that are not tuned."""


@dataclass(frozen=True)
class RangeReport:
    """The answer of a run over a range: a report per tuned size, and the intervals of the selector, which is
    kept under `graph_digest`, that of the network with its dim open. `left_out` are sizes that the network
    cannot have, and why, in one line.
    """

    model: str
    graph_digest: str
    target: str
    objective: str
    symbol: str
    low: int
    high: int
    sizes: tuple[int, ...]
    reports: tuple[Report, ...]
    intervals: tuple[Interval, ...]
    left_out: str = ""

    def to_json(self) -> dict[str, Any]:
        """One JSON object, as docs/cli.md describes it."""
        own = {name: value for name, value in vars(self).items() if name not in ("reports", "intervals")}
        return {
            **own,
            "sizes": list(self.sizes),
            "stop_reason": self.reports[-1].stop_reason,
            "intervals": [asdict(interval) for interval in self.intervals],
            "reports": [report.to_json() for report in self.reports],
        }


def run_sizes(request: TuneRequest, hooks: Hooks = NO_HOOKS) -> Report | RangeReport:
    """Tune a network at one size of every dim, or over a range of sizes of one."""
    return run_range(request, hooks) if request.ranges else run(request, hooks)


def run_range(request: TuneRequest, hooks: Hooks = NO_HOOKS) -> RangeReport:
    """Tune a network for all sizes of the range in `request`, and publish the selector.

    Budgets are for the whole range: each tuned size gets its share. UsageError for a dim that the network has
    not, another one without a size, or a range without a legal size; else as `tilewright.tuner.run.run`.
    """
    ((symbol, (low, high)),) = request.ranges.items()
    legal = sizes_in_range(request.model, request.dims, symbol, low, high, inputs=request.inputs)
    sizes = representatives(legal)
    if missing := left_out(request.model, request.dims, symbol, (low, high), legal, request.inputs):
        hooks.on_event(Phase("range", missing))

    def at(size: int) -> TuneRequest:
        return replace(
            request,
            trials=max(1, request.budget // len(sizes)),
            time_limit_s=None if request.time_limit_s is None else request.time_limit_s / len(sizes),
            dims={**request.dims, symbol: size},
            ranges={},
        )

    devices = devices_of(request)

    def opened(size: int) -> Opened:
        return open_network(at(size).subject, request.database, devices.describe)

    def say(line: str) -> None:
        hooks.on_event(Phase("measure", line))

    with one_start(request.pool.ray):
        reports = _tuned(at, sizes, hooks)
        sizes = sizes[: len(reports)]
        hooks.on_event(Phase("range", f"measuring {symbol} at sizes between {', '.join(map(str, sizes))}"))
        with opened(sizes[0]) as first:
            with devices.open(first.target, first.records.target_text, say) as pool:
                pool.start()
                survey = _Survey(opened, pool, legal, symbol, hooks.guard)
                spans, loss = _surveyed(survey, sizes, hooks)
            intervals = intervals_of(spans, (1 + loss) * (1 + _still_to_find(reports)) - 1)
            configs = {span.high: span.anchor.config for span in spans}
            row = ranged_row(request.model, symbol, request.dims, request.inputs)
            records = first.records
            records.repository.put_workloads([row])
            rows = [selector_row(interval, configs[interval.high]) for interval in intervals]
            Selectors(records.repository.database).publish(records.key(row.digest), symbol, rows, hooks.guard)
    return RangeReport(
        reports[0].model,
        row.digest,
        reports[0].target,
        request.objective,
        symbol,
        low,
        high,
        sizes,
        reports,
        intervals,
        missing,
    )


def _tuned(at: Callable[[int], TuneRequest], sizes: Sequence[int], hooks: Hooks) -> tuple[Report, ...]:
    """A run at every size, up to the one that was cancelled."""
    reports: list[Report] = []
    for size in sizes:
        reports.append(run(at(size), hooks))
        if hooks.cancelled():
            break
    return tuple(reports)


def _still_to_find(reports: Sequence[Report]) -> float:
    """The largest estimated regret of the tuned sizes, where there is an estimate."""
    estimates = [report.regret_estimate for report in reports if report.regret_estimate is not None]
    return max((regret for regret in estimates if isfinite(regret)), default=0.0)


def _surveyed(survey: "_Survey", sizes: tuple[int, ...], hooks: Hooks) -> tuple[list[SizeSpan], float]:
    """Spans over the sizes from the first to the last tuned, and the worst loss of tiles made anew.

    Once the run is cancelled no more sizes are looked at: only the tuned ones are in the spans then.
    """
    anchors = [survey.tuned(size) for size in sizes]
    spans = [SizeSpan(sizes[0], sizes[0], anchors[0], 0.0)]
    for below, above in pairwise(anchors):
        only = [SizeSpan(above.size, above.size, above, 0.0)]
        spans += only if hooks.cancelled() else spans_between(survey, below, above)
    anew = [survey.carried(anchor.size, (anchor,))[0] / anchor.cost - 1 for anchor in anchors]
    return spans, max(0.0, *anew)


@dataclass
class _Survey:
    """The sizes of one range as tuner/sizes/intervals.py asks for them; what is measured is recorded."""

    opened: Callable[[int], Opened]
    pool: Pool
    sizes: Sequence[int]
    symbol: str
    guard: Guard | None
    plans_left: int = MOST_PLANS

    def tuned(self, size: int) -> Anchor:
        """A size that was tuned, as the database has it."""
        with self.opened(size) as opened:
            best = opened.records.known_network()
            config = opened.default_config if best is None else best.config
            return Anchor(size, portable(opened, config), self._cost(opened, config), size)

    def carried(self, size: int, anchors: tuple[Anchor, ...]) -> list[float]:
        """See Survey."""
        costs = []
        with self._recording(size) as (opened, book):
            for anchor in anchors:
                try:
                    costs.append(self._cost(opened, carried(anchor.config, opened).config, book))
                except ConfigError:
                    costs.append(inf)
        return costs

    def planned(self, size: int) -> Anchor | None:
        """See Survey."""
        if self.plans_left == 0:
            return None
        self.plans_left -= 1
        with self._recording(size) as (opened, book):
            guess = guessed_of(opened, opened.planner.replan()).config
            cost = self._cost(opened, guess, book)
            found = Anchor(size, portable(opened, guess), cost, size, planned=True)
            return found if isfinite(cost) else None

    @contextmanager
    def _recording(self, size: int) -> Iterator[tuple[Opened, Book | None]]:
        """A network of one size, with a run of no budget for what is measured of it.

        Nothing is recorded while another run of that size is under way.
        """
        with self.opened(size) as opened:
            records = opened.records
            search = NewSearch(opened.model.name, opened.seed, 0, {"range": self.symbol})
            taken = records.start(search, records.ended())
            if not isinstance(taken, RunLease):
                yield opened, None
                return
            with held(records, taken):
                book = Book(records, taken, self.pool, self.guard)
                yield opened, book
            book.close("range", {}, None)

    def _cost(self, opened: Opened, config: Config, book: Book | None = None) -> float:
        """The cost of a Config of a network on the device; infinite where it does not run."""
        if book is not None:
            (measured,) = book.measure_whole([config], opened.bound_us)
        else:
            (measured,) = self.pool.measure(opened.network.task, [config], floor_us=opened.bound_us)
        value = opened.objective.of(measured)
        return inf if value is None else value
