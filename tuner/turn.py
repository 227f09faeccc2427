"""Taking turns: one run of a network is under way at a time, and the next measures what that leaves to do."""

import time
from collections.abc import Callable

from tilewright.db.service.run_leases import BusyRun, RunLease
from tilewright.tuner.answer.conclude import recall_network
from tilewright.tuner.answer.front import recall_front
from tilewright.tuner.answer.room import require_room
from tilewright.tuner.network.events import Phase
from tilewright.tuner.network.session import Session
from tilewright.tuner.request import TuneRequest

POLL_S = 0.5
"""How often a run that waits looks whether it is its turn."""
REGRET = 0.02
"""-O3 stops where the best is within this of the optimum, with 95 % confidence."""


def take_turn(session: Session, request: TuneRequest, cancelled: Callable[[], bool]) -> int | None:
    """Open the session's book, and give the trials that earlier runs have spent of the budget.

    None where nothing is left to measure, or the wait for another run of the network was cancelled.
    """
    book, waiting_for = session.book, ""
    while True:
        ended = book.ended()
        spent = already_spent(session, request)
        if request.level >= 1 and spent >= request.budget and recall_network(session):
            return None
        require_room(session.graph)
        settings = _settings(session, request)
        taken = book.open(session.model.name, session.seed, missing(request, spent), settings, ended)
        if isinstance(taken, RunLease):
            return spent
        if taken is None:
            continue
        if taken.run.uid != waiting_for:
            waiting_for = taken.run.uid
            session.listener(Phase("wait", _told(taken)))
        if cancelled():
            return None
        time.sleep(POLL_S)


def _told(busy: BusyRun) -> str:
    who = busy.holder.partition(" [")[0]
    did = f"{busy.trials} of {busy.run.asked.trials_budget} trials"
    return f"{who} tunes this network ({did}); what it finds is used here"


def already_spent(session: Session, request: TuneRequest) -> int:
    """Trials that earlier runs have spent on what is asked for.

    A front of as many trials knows less of each objective alone, and the other way round: neither answers for
    the other.
    """
    if not request.front:
        return session.book.spent()
    return request.budget if recall_front(session, request.budget) else 0


def missing(request: TuneRequest, spent: int) -> int:
    """Trials to measure: the rest of the budget; all of it where it was spent and nothing came of that."""
    return request.budget - spent if spent < request.budget else request.budget


def _settings(session: Session, request: TuneRequest) -> dict[str, object]:
    """What decides, beside seed and budget, which trials a run measures."""
    settings: dict[str, object] = {
        "sampler": request.sampler,
        "time_limit_s": request.time_limit_s,
        "regret": REGRET if request.level == 3 else None,
    }
    return settings | ({"objectives": session.objectives} if session.objectives else {})
