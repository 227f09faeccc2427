"""The search of a network on a wide farm: topped up at what the farm wants, instead of batch after batch.

One batch waits for its slowest answer, and a farm of a thousand boards idles meanwhile. Here every kernel has
a batch of its own under way, and the next one is asked for as soon as workers have room. The next trials then
depend on the order of answers: the same seed does not give the same trials again. Everything else holds: each
batch is committed before anybody learns of it, and the budget is met exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tilewright.measure.farm.pool import Pool
from tilewright.measure.results import Measurement
from tilewright.tuner.kernel.stopping import StopReason, StopRule
from tilewright.tuner.network.events import Listener
from tilewright.tuner.network.search import Batch, Commit, NetworkSearch

WAIT_S = 0.05
"""Between two looks at what the farm wants; it may want more before anything is finished."""


@dataclass
class _Flight:
    """A batch on its way: the tickets of its Configs, and the answers so far."""

    batch: Batch
    tickets: list[int]
    answers: dict[int, Measurement] = field(default_factory=dict)


def search_widely(
    search: NetworkSearch,
    pool: Pool,
    rule: StopRule,
    commit: Commit,
    *,
    listener: Listener,
    clock: Callable[[], float],
    cancelled: Callable[[], bool],
) -> StopReason:
    """As `search.run`, without its repeatability. Trials under way at the end are awaited, and kept."""
    start = clock()
    flying: list[_Flight] = []
    reason: StopReason | None = None
    while True:
        if reason is None:
            reason = StopReason.CANCELLED if cancelled() else search.limit(rule, clock() - start)
        if reason is None:
            _top_up(search, pool, rule, flying, clock)
        if not flying and reason is None and search.go_on():
            continue
        if not flying:
            return reason or StopReason.EXHAUSTED
        owners = {ticket: flight for flight in flying for ticket in flight.tickets}
        for answer in pool.collect(WAIT_S):
            flight = owners[answer.ticket]
            flight.answers[answer.ticket] = answer.measurement
            if len(flight.answers) == len(flight.tickets):
                flying.remove(flight)
                answers = [flight.answers[ticket] for ticket in flight.tickets]
                search.settle(flight.batch, answers, rule, commit, listener=listener, clock=clock)


def _top_up(
    search: NetworkSearch, pool: Pool, rule: StopRule, flying: list[_Flight], clock: Callable[[], float]
) -> None:
    """A batch for one kernel after the other, until the farm has enough or the budget is out."""
    while pool.wanted() > 0:
        batch = search.ask(rule, clock, sum(len(flight.tickets) for flight in flying))
        if batch is None:
            return
        task = batch.search.task
        flying.append(_Flight(batch, pool.submit(task.workload, batch.configs, floor_us=task.bound_us)))
