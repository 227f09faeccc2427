"""The survey of a range: what is tuned at one size is measured at others, and recorded."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf, isfinite

from tilewright.compiler_core.errors import ConfigError
from tilewright.db.layers.selectors import SelectorRow
from tilewright.db.records import WorkloadRow
from tilewright.db.service.leases import Guard
from tilewright.db.service.run_leases import RunLease
from tilewright.measure.farm.pool import Pool
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.conclude import recall_network
from tilewright.tuner.answer.offered import publish_better
from tilewright.tuner.answer.report import Report
from tilewright.tuner.answer.summary import summarise
from tilewright.tuner.network.assignment import guessed_of
from tilewright.tuner.network.book import Book, held
from tilewright.tuner.network.events import Counted, Listener, silent
from tilewright.tuner.network.opened import Opened
from tilewright.tuner.network.records import NewSearch, Records
from tilewright.tuner.sizes.intervals import (
    TOLERANCE,
    Anchor,
    SizeSpan,
    distinct,
    nearest_best,
    spans_between,
)
from tilewright.tuner.sizes.selection import interval_of, portable_of
from tilewright.tuner.sizes.transfer import carried, portable

MOST_PLANS = 8
"""Plans made for sizes of a range that are not tuned."""
MOST_OLD = 4
"""Answers of an earlier range that are measured beside what is tuned now."""


@dataclass
class RangeSurvey:
    """The sizes of one range as tuner/sizes/intervals.py asks for them; what is measured is recorded under
    one run of the range. Nothing is recorded while another run of the range is under way. `better` are
    reports of tuned sizes at which something from another size is published, `still_to_find` is the largest
    gain that more trials are expected to bring at a tuned size. The listener hears of each network measured.
    """

    opened: Callable[[int], Opened]
    pool: Pool
    sizes: Sequence[int]
    guard: Guard | None
    lease: RunLease | None = None
    plans_left: int = MOST_PLANS
    better: dict[int, Report] = field(default_factory=dict)
    still_to_find: float = 0.0
    listener: Listener = silent
    looked_at: int = 0

    def tuned(self, size: int) -> Anchor:
        """A size that was tuned, as the database has it."""
        with self.opened(size) as opened:
            best = opened.records.known_network()
            config = opened.default_config if best is None else best.config
            estimate = opened.records.regret_estimate() or 0.0
            self.still_to_find = max(self.still_to_find, estimate if isfinite(estimate) else 0.0)
            return Anchor(size, portable(opened, config), self._cost(opened, config), size)

    def seen(
        self, size: int, anchors: Sequence[Anchor], plan_above: float = inf
    ) -> tuple[list[float], Anchor | None]:
        """See tuner/sizes/intervals.py."""
        costs = []
        with self.opened(size) as opened:
            book = self._book(opened)
            for anchor in anchors:
                try:
                    costs.append(self._cost(opened, carried(anchor.config, opened).config, book))
                except ConfigError:
                    costs.append(inf)
                self.looked_at += 1
                self.listener(Counted("networks looked at between the sizes", self.looked_at))
            if self.plans_left == 0 or min(costs) <= plan_above:
                return costs, None
            self.plans_left -= 1
            guess = guessed_of(opened, opened.planner.replan()).config
            cost = self._cost(opened, guess, book)
            fresh = Anchor(size, portable(opened, guess), cost, size, planned=True)
            return costs, fresh if isfinite(cost) else None

    def publish(self, anchor: Anchor) -> bool:
        """Publish what `anchor` has as the answer of its size, a tuned one; whether it holds there."""
        with self.opened(anchor.size) as opened:
            book = self._book(opened)
            if book is None or not publish_better(opened, book, carried(anchor.config, opened).config):
                return False
            recalled = recall_network(opened)
            assert recalled is not None, "it was published"
            self.better[anchor.size] = summarise(recalled, 0.0)
            return True

    def _book(self, opened: Opened) -> Book | None:
        if self.lease is None:
            return None
        opened.records.introduce()
        book = Book(opened.records, self.lease, self.pool, self.guard)
        book.set_bound(opened.network.task.digest, opened.bound_us)
        return book

    def _cost(self, opened: Opened, config: Config, book: Book | None = None) -> float:
        """The cost of a Config of a network on the device; infinite where it does not run."""
        if book is not None:
            (measured,) = book.measure_whole([config], opened.bound_us)
        else:
            (measured,) = self.pool.measure(opened.network.task, [config], floor_us=opened.bound_us)
        value = opened.objective.of(measured)
        return inf if value is None else value


@contextmanager
def under_lease(
    records: Records, search: NewSearch, row: WorkloadRow, pool: Pool, guard: Guard | None
) -> Iterator[RunLease | None]:
    """A run of a network with a dim open, for what is measured of its sizes; None while another goes on."""
    taken = records.start(search, None, row)
    if not isinstance(taken, RunLease):
        yield None
        return
    with held(records, taken):
        yield taken
        Book(records, taken, pool, guard).close("range", {}, None)


def surveyed(
    survey: RangeSurvey, sizes: tuple[int, ...], old: Sequence[Anchor], cancelled: Callable[[], bool]
) -> tuple[list[SizeSpan], float]:
    """Spans over the sizes from the first to the last tuned, and the expected gain of a search between them:
    the worst loss of tiles made anew, and what more trials bring.

    What is tuned at one size, and what answered before (`old`), is measured at every tuned size: it answers
    there, too, where it is better than what was tuned there. Once the run is cancelled no more sizes are
    looked at: only the tuned ones are in the spans then.
    """
    anchors = [survey.tuned(size) for size in sizes]
    if cancelled():
        return [SizeSpan(each.size, each.size, each, 0.0) for each in anchors], 0.0
    all_of_them = distinct((*anchors, *old))
    looks, best, anew = [], [], [0.0]
    for anchor in anchors:
        costs, _ = survey.seen(anchor.size, all_of_them)
        looks.append(costs)
        own = next(at for at, each in enumerate(all_of_them) if each.config == anchor.config)
        anew.append(costs[own] / anchor.cost - 1)
        least = min(range(len(costs)), key=costs.__getitem__)
        offered = replace(all_of_them[least], size=anchor.size, cost=costs[least])
        better = offered.cost * (1 + TOLERANCE) < anchor.cost and survey.publish(offered)
        best.append(offered if better else anchor)
    spans = [SizeSpan(sizes[0], sizes[0], best[0], 0.0)]
    for (below, seen_below), (above, seen_above) in pairwise(zip(best, looks, strict=True)):
        near = nearest_best(all_of_them, (seen_below, seen_above))
        only = [SizeSpan(above.size, above.size, above, 0.0)]
        spans += only if cancelled() else spans_between(survey, below, above, near)
    lost = max(loss for loss in anew if isfinite(loss))
    return spans, (1 + lost) * (1 + survey.still_to_find) - 1


def anchors_of(rows: Sequence[SelectorRow], legal: Sequence[int]) -> list[Anchor]:
    """The earlier answers for sizes of a range, as anchors without a cost: at most MOST_OLD of them."""
    inside = [row for row in rows if row.low <= legal[-1] and row.high >= legal[0]]
    found = [
        Anchor(row.high, portable_of(row), inf, interval.tuned_at, interval.planned)
        for row in inside
        for interval in (interval_of(row),)
    ]
    step = max(1, -(-len(found) // MOST_OLD))
    return found[::step]
