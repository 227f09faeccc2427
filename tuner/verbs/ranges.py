"""Ranges of a dim: a few sizes are tuned, and a selector answers for every other size.

Tuned Configs are carried to sizes between and measured there (tuner/sizes/intervals.py), at both ends of
every interval of the selector and inside it. An interval's measured regret is the worst seen there. The
predicted one adds what a search finds beyond a carried Config: the worst, over the tuned sizes, of what was
tuned there with its tiles made anew, and of what a longer search is expected to find there.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Self

from tilewright.compiler_core.onnx_import.sizes import left_out, sizes_in_range
from tilewright.db.layers.selectors import Selectors
from tilewright.db.records import WorkloadRow
from tilewright.tuner.answer.report import Report
from tilewright.tuner.devices import devices_of, one_start
from tilewright.tuner.network.events import Phase
from tilewright.tuner.network.opened import Opened, open_network
from tilewright.tuner.network.records import NewSearch
from tilewright.tuner.request import Hooks, TuneRequest
from tilewright.tuner.run import NO_HOOKS, run
from tilewright.tuner.sizes.intervals import SizeSpan, intervals_of
from tilewright.tuner.sizes.representatives import representatives
from tilewright.tuner.sizes.selection import Interval, interval_of, ranged_row, selector_row
from tilewright.tuner.sizes.survey import RangeSurvey, anchors_of, surveyed, under_lease


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

    @classmethod
    def of(
        cls,
        reports: tuple[Report, ...],
        row: WorkloadRow,
        request: TuneRequest,
        sizes: tuple[int, ...],
        intervals: tuple[Interval, ...],
        left_out: str,
    ) -> Self:
        """From the parts of a run over the one range of `request`; `row` is the network with its dim open."""
        ((symbol, (low, high)),) = request.ranges.items()
        first = reports[0]
        named = (first.model, row.digest, first.target, request.objective, symbol, low, high)
        return cls(*named, sizes, reports, intervals, left_out)

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

    row = ranged_row(request.model, symbol, request.dims, request.inputs)
    with one_start(request.pool.ray):
        reports = _tuned(at, symbol, sizes, hooks)
        sizes = sizes[: len(reports)]
        with opened(sizes[0]) as first:
            if intervals := _answered_before(first, row, symbol, legal, reports):
                return RangeReport.of(reports, row, request, sizes, intervals, missing)
            hooks.on_event(
                Phase("range", f"measuring {symbol} at sizes between {', '.join(map(str, sizes))}")
            )
            with devices.open(first.target, first.records.target_text, say) as pool:
                pool.start()
                survey = RangeSurvey(opened, pool, legal, hooks.guard, listener=hooks.on_event)
                spans, loss = _measured_between(survey, first, row, symbol, sizes, reports, hooks)
            intervals = intervals_of(spans, loss)
            _publish(first, row, symbol, intervals, spans, hooks)
    reports = tuple(
        _now(report, survey.better.get(size)) for size, report in zip(sizes, reports, strict=True)
    )
    return RangeReport.of(reports, row, request, sizes, intervals, missing)


def _answered_before(
    first: Opened, row: WorkloadRow, symbol: str, legal: Sequence[int], reports: Sequence[Report]
) -> tuple[Interval, ...]:
    """The intervals of an earlier range over the same tuned sizes, if none of these was tuned since."""
    records, digests = first.records, [report.graph_digest for report in reports]
    rows = [
        each
        for each in Selectors(records.repository.database).intervals(records.key(row.digest), symbol)
        if each.low <= legal[-1] and each.high >= legal[0]
    ]
    whole = bool(rows) and rows[0].low <= legal[0] and rows[-1].high >= legal[-1]
    if not whole or any(one.high + 1 != other.low for one, other in pairwise(rows)):
        return ()
    for run_row in records.repository.runs_on(records.key(row.digest), digests):
        if run_row.asked.model_digest in digests:
            return ()
        if run_row.stop_reason == "range":
            sizes_then = json.loads(run_row.asked.settings).get("tuned")
            return tuple(map(interval_of, rows)) if sizes_then == digests else ()
    return ()


def _measured_between(
    survey: RangeSurvey,
    first: Opened,
    row: WorkloadRow,
    symbol: str,
    sizes: tuple[int, ...],
    reports: Sequence[Report],
    hooks: Hooks,
) -> tuple[list[SizeSpan], float]:
    """Spans over the range, with what answered for its sizes before among the candidates."""
    records = first.records
    settings = {"range": symbol, "tuned": [report.graph_digest for report in reports]}
    search = NewSearch(first.model.name, first.seed, 0, settings, hooks.job)
    rows = Selectors(records.repository.database).intervals(records.key(row.digest), symbol)
    with under_lease(records, search, row, survey.pool, hooks.guard) as survey.lease:
        return surveyed(survey, sizes, anchors_of(rows, survey.sizes), hooks.cancelled)


def _publish(
    first: Opened,
    row: WorkloadRow,
    symbol: str,
    intervals: Sequence[Interval],
    spans: Sequence[SizeSpan],
    hooks: Hooks,
) -> None:
    records, configs = first.records, {span.high: span.anchor.config for span in spans}
    records.repository.put_workloads([row])
    rows = [selector_row(interval, configs[interval.high]) for interval in intervals]
    Selectors(records.repository.database).publish(records.key(row.digest), symbol, rows, hooks.guard)


def _tuned(
    at: Callable[[int], TuneRequest], symbol: str, sizes: Sequence[int], hooks: Hooks
) -> tuple[Report, ...]:
    """A run at every size, up to the one that was cancelled."""
    reports: list[Report] = []
    for number, size in enumerate(sizes, 1):
        request = at(size)
        told = f"{symbol} = {size}, size {number} of {len(sizes)}, {request.budget} of the trials"
        hooks.on_event(Phase("range", told))
        reports.append(run(request, hooks))
        if hooks.cancelled():
            break
    return tuple(reports)


def _now(report: Report, better: Report | None) -> Report:
    """The report of a tuned size, with the answer from another size where that is published there."""
    if better is None:
        return report
    spent = ("trials", "stop_reason", "regret_estimate", "wall_s", "dropped")
    return replace(better, **{name: getattr(report, name) for name in spent})
