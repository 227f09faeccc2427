"""The search of a network on a wide farm: topped up at what the farm wants, instead of batch after batch.

One batch waits for its slowest answer, and a farm of a thousand boards idles meanwhile. Here every kernel has
a batch of its own under way, and the next one is asked for as soon as workers have room. What is asked then
depends on which answers came first: the same seed does not give the same trials again. Everything else holds:
each batch is committed before anybody learns of it, and the budget is met exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from measure.pool import Pool
from measure.results import Measurement
from tuner.events import Listener, Phase
from tuner.network_search import Commit, NetworkSearch
from tuner.stopping import Progress, StopReason, StopRule, stop_reason

WAIT_S = 0.05
"""Between two looks at what the farm wants; it may want more before anything is finished."""


@dataclass
class _Batch:
    """What one kernel is waiting for: the tickets of its Configs, and the answers so far."""

    digest: str
    tickets: list[int]
    asked_s: tuple[float, float]
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
    """As `search.run`, without its repeatability. What is under way at the end is waited for, and kept."""
    start = clock()
    flying: dict[str, _Batch] = {}  # by kernel
    reason: StopReason | None = None
    while True:
        if reason is None:
            progress = Progress(search.trials, 0, clock() - start, p_within=0.0, at_bound=False)
            reason = StopReason.CANCELLED if cancelled() else stop_reason(rule, progress)
        if reason is None:
            _top_up(search, pool, rule, flying, clock)
        if not flying:
            return reason or StopReason.EXHAUSTED
        owners = {ticket: batch for batch in flying.values() for ticket in batch.tickets}
        for answer in pool.collect(WAIT_S):
            batch = owners[answer.ticket]
            batch.answers[answer.ticket] = answer.measurement
            if len(batch.answers) == len(batch.tickets):
                del flying[batch.digest]
                _settle(search, batch, commit, rule, listener, clock)


def _top_up(
    search: NetworkSearch, pool: Pool, rule: StopRule, flying: dict[str, _Batch], clock: Callable[[], float]
) -> None:
    """A batch for one kernel after the other, until the farm has enough or the budget is out."""
    while pool.wanted() > 0:
        out = sum(len(batch.tickets) for batch in flying.values())
        left = search._until_replan(rule.max_trials - search.trials) - out
        chosen = search._next() if left > 0 else None
        if chosen is None:
            return
        began_s = clock()
        size = search.settings.batch_size(len(chosen.kernel.trials))
        configs = chosen.kernel.ask(min(left, size))
        chosen.open = False  # until its answers are there, or for good when it has nothing left to ask
        if not configs:
            continue
        tickets = pool.submit(chosen.task.workload, configs, floor_us=chosen.task.bound_us)
        flying[chosen.task.digest] = _Batch(chosen.task.digest, tickets, (began_s, clock()))


def _settle(
    search: NetworkSearch,
    batch: _Batch,
    commit: Commit,
    rule: StopRule,
    listener: Listener,
    clock: Callable[[], float],
) -> None:
    """Commit a batch that is complete, learn from it, and let its kernel ask again."""
    done = search.searches[batch.digest]
    trials = done.kernel.trials_of([batch.answers[ticket] for ticket in batch.tickets])
    commit(done.task, trials)
    done.kernel.tell(trials)
    done.open = True
    listener(search._event(done, rule, (*batch.asked_s, clock())))
    if search._replan_when_due():
        listener(Phase("plan", f"{len(search.plan.groups)} kernels after {search.trials} trials"))
