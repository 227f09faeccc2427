"""Taking turns: one run of a network is under way at a time, and the next one measures only the rest."""

import time
from dataclasses import dataclass

from tilewright.compiler_core.digest import digest_of
from tilewright.db.service.run_leases import BusyRun, RunLease
from tilewright.tuner.answer.conclude import recall_network
from tilewright.tuner.answer.front import recall_front
from tilewright.tuner.answer.room import require_room
from tilewright.tuner.network.events import Phase
from tilewright.tuner.network.opened import Opened
from tilewright.tuner.network.records import NewSearch
from tilewright.tuner.request import Hooks, TuneRequest

POLL_S = 0.5
"""The polling interval of a waiting run."""


@dataclass(frozen=True)
class Turn:
    """A run that was started: its lease, and the trials that earlier runs have spent of the budget."""

    lease: RunLease
    spent: int


def take_turn(opened: Opened, request: TuneRequest, hooks: Hooks) -> Turn | None:
    """Start the run of a request when it is its turn.

    None where nothing is left to measure, or the wait for another run of the network was cancelled.
    """
    records, waiting_for = opened.records, ""
    while True:
        ended = records.ended()
        spent = already_spent(opened, request)
        answered = spent >= request.budget and not request.candidates
        if request.level >= 1 and answered and recall_network(opened):
            return None
        require_room(opened.graph)
        trials, settings = missing(request, spent), _settings(opened, request)
        search = NewSearch(opened.model.name, opened.seed, trials, settings, hooks.job)
        taken = records.start(search, ended)
        if isinstance(taken, RunLease):
            return Turn(taken, spent)
        if taken is None:
            continue
        if taken.run.uid != waiting_for:
            waiting_for = taken.run.uid
            opened.listener(Phase("wait", _told(taken)))
        if hooks.cancelled():
            return None
        time.sleep(POLL_S)


def _told(busy: BusyRun) -> str:
    who = busy.holder.partition(" [")[0]
    did = f"{busy.trials} of {busy.run.asked.trials_budget} trials"
    return f"{who} tunes this network ({did}); its results are used here"


def already_spent(opened: Opened, request: TuneRequest) -> int:
    """Trials that earlier runs have spent on this request.

    A front of as many trials knows less of each objective alone, and the other way round: neither answers for
    the other.
    """
    if not request.front:
        return opened.records.spent()
    return request.budget if recall_front(opened, request.budget) else 0


def missing(request: TuneRequest, spent: int) -> int:
    """Trials to measure: the rest of the budget; all of it where it was spent and nothing came of that."""
    return request.budget - spent if spent < request.budget else request.budget


def _settings(opened: Opened, request: TuneRequest) -> dict[str, object]:
    """Settings that, besides seed and budget, determine the trials of a run."""
    settings: dict[str, object] = {
        "sampler": request.sampler,
        "time_limit_s": request.time_limit_s,
        "regret": request.enough,
    }
    if request.candidates:
        settings["candidates"] = digest_of([each.to_json() for each in request.candidates])
    return settings | ({"objectives": opened.objectives} if opened.objectives else {})
