"""What a peer is, and the one loop that runs any of them: ask, measure, remember, ask again."""

from typing import Protocol

import numpy as np

from benchmarks.search.arena import SearchArena
from tilewright.search_space.knobs import Rows
from tilewright.tuner.kernel.problem import Floats, History, no_history


class Peer(Protocol):
    """A tuner under comparison: a function of what was asked so far, with a random state of its own."""

    def ask(self, history: History) -> Rows:
        """Distinct rows that satisfy the rules and are not in `history`; none when it has no more."""
        ...


def run_peer(arena: SearchArena, peer: Peer, budget: int, start: Rows) -> Floats:
    """Latencies of up to `budget` trials in order, microseconds, NaN where one failed; `start` comes first.

    A batch that the budget cuts short is measured as far as it goes. A run ends with the batch in which it
    meets the arena's optimum: there is no more to be found.
    """
    history = no_history(arena.problem.space)
    batch = start[:budget]
    while len(history.rows) < budget:
        if not len(batch):
            batch = peer.ask(history)[: budget - len(history.rows)]
        if not len(batch):
            break
        logs = np.log(arena.latencies_us(batch))
        history = History(
            np.concatenate([history.rows, batch]), np.concatenate([history.value_log, logs]), history.pending
        )
        if history.best_log <= arena.enough_log:
            break
        batch = batch[:0]
    latencies: Floats = np.exp(history.value_log)
    return latencies
