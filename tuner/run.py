"""`tune run`: the main path, from an ONNX file to the schedule that runs it fastest.

An ONNX file becomes a Graph; Graph and Target become a plan of kernels and, per kernel, a space of Configs.
What the database knows is taken from it. The rest of the budget is searched on a pool of devices, every batch
committed before it is learned from. The best Configs are checked, confirmed and published, and the Program
made of them is the answer.
"""

import time
from collections.abc import Callable
from functools import partial

from tilewright.measure.device import Device
from tilewright.measure.farm.pool import Pool
from tilewright.measure.farm.witnesses import WitnessedPool
from tilewright.measure.faults import FaultPlan
from tilewright.measure.lab import read_lab
from tilewright.measure.objectives import Objective
from tilewright.tuner.answer.conclude import choose_kernels, conclude_network, recall_network
from tilewright.tuner.answer.front import front_of_run, measure_mixtures, recall_front
from tilewright.tuner.answer.guess import cover_or_guess, guess_network, take_defaults
from tilewright.tuner.answer.report import NOTHING_RUNS, Report
from tilewright.tuner.answer.summary import summarise
from tilewright.tuner.devices import info_of, own_device, own_pool, simulated_pool
from tilewright.tuner.kernel.prior import prior_records
from tilewright.tuner.kernel.samplers import sampler_factory
from tilewright.tuner.kernel.search import SamplerFactory
from tilewright.tuner.kernel.stopping import StopReason, StopRule
from tilewright.tuner.network.events import Phase
from tilewright.tuner.network.search import NetworkSearch
from tilewright.tuner.network.session import Session, open_session
from tilewright.tuner.network.whole import Whole
from tilewright.tuner.network.wide_search import search_widely
from tilewright.tuner.request import Hooks, TuneRequest
from tilewright.tuner.turn import REGRET, already_spent, missing, take_turn

NO_HOOKS = Hooks()
STUDIED = 24
"""Networks that -O3 prices before it measures, each with other
knobs of the whole (tuner/planning/graph_knobs.py)."""


def run(request: TuneRequest, hooks: Hooks = NO_HOOKS) -> Report:
    """Do what `request` asks for, and record everything.

    Raises InputError (one line) for an unusable model, target or database, DeviceError when nothing can be
    measured. A run that was cut off before goes on where its records end; of a budget that earlier runs have
    spent in part, the rest is spent. What is measured under a lab's faults is kept apart from the rest.
    """
    start = time.monotonic()
    factory = sampler_factory(request.sampler, len(request.objectives))
    plan = read_lab(request.lab) if request.lab else None
    with open_session(
        request.model,
        request.target,
        request.objective,
        request.dims,
        request.seed,
        request.database,
        hooks.on_event,
        hooks.guard,
        hooks.job,
        inputs=request.inputs,
    ) as session:
        if not session.planner.base.groups:
            return summarise(session, NOTHING_RUNS, StopReason.EXHAUSTED, time.monotonic() - start)
        own = own_device(request.device, session.target.digest) if request.device else None
        session.book.device = info_of(session.target, own, plan)
        if request.front:
            session.seek_front(request.objectives)
        spent = take_turn(session, request, hooks.cancelled) if request.budget else None
        if spent is None:
            return _unmeasured(session, request, start)
        if request.level == 3:
            session.planner.studied = STUDIED
        with session.book.held(), pool_of(request, session, own, plan) as pool:
            pool.start()
            session.book.pool = pool
            search, reason = _search(session, pool, request, spent, factory, hooks.cancelled)
            for each in (search.plan, session.planner.start):  # what was merged may not pay as a whole
                search.put_together(each)
            plans = choose_kernels(session, search, pool)
            if session.objectives or not session.objective.row.adds_up:
                measure_mixtures(session, search, pool)
            outcome = conclude_network(session, plans, pool)
            front = front_of_run(session) if session.objectives else ()
            whole = {session.network.task.digest: missing(request, spent)}
            effort = {} if session.objectives else session.spent | whole
            session.book.close(reason, effort, session.regret)
        report = summarise(session, outcome, reason, time.monotonic() - start, front)
        session.listener(Phase("done", report.standing))
        return report


def _unmeasured(session: Session, request: TuneRequest, start: float) -> Report:
    """The answer of the database where that is as good as this request's, else a guess."""
    spent = already_spent(session, request)
    if request.level >= 1 and spent >= request.budget and (known := recall_network(session)):
        front = recall_front(session, request.budget) if session.objectives else ()
        return summarise(session, known, StopReason.DATABASE, time.monotonic() - start, front)
    settle = cover_or_guess if request.level > 0 else take_defaults
    settle(session)
    reason = StopReason.CANCELLED if request.budget else StopReason.UNMEASURED
    return summarise(session, guess_network(session), reason, time.monotonic() - start)


def pool_of(request: TuneRequest, session: Session, own: Device | None, lab: FaultPlan | None) -> Pool:
    """The devices that a request asks for: the user's `own`, or those of its pool, under a lab's faults.

    The clock of either is checked before a reading counts (measure/farm/witnesses.py).
    """
    chip = session.target
    where = request.pool

    def say(line: str) -> None:
        session.listener(Phase("measure", line))

    if own is not None:
        return WitnessedPool(own_pool(own, lab), say)
    pool = simulated_pool(chip.name, session.book.target_text, where.workers, where.ray, lab, say)
    return pool if lab is None else WitnessedPool(pool, say)


def _search(
    session: Session,
    pool: Pool,
    request: TuneRequest,
    spent: int,
    factory: SamplerFactory | None,
    cancelled: Callable[[], bool],
) -> tuple[NetworkSearch, StopReason]:
    """Spend on the kernels what is left of the budget; what earlier runs of it drew is not drawn again."""
    regret = REGRET if request.level == 3 else None
    rule = StopRule(missing(request, spent), time_limit_s=request.time_limit_s, regret=regret)
    draws = f"seed {request.seed}" + (f" after {spent}" if 0 < spent < request.budget else "")
    book = session.book
    session.listener(Phase("plan", "which ops run together, by what records and drafts promise"))
    whole = Whole(session, pool)
    search = NetworkSearch(
        session.planner,
        draws,
        rule.max_trials,
        session.settings,
        known=session.recalled,
        sampler=factory,
        whole=whole,
    )
    if session.settings.objectives == (Objective.LATENCY,):
        search.learn(prior_records(book.repository, book.toolchain, book.started_at_s))
    earlier = book.earlier()
    book.set_bound(session.network.task.digest, session.bound_us)
    whole.measure(session.default_config)
    search.resume(earlier)
    distinct = f"{len(search.plan.groups)} kernels, {len(search.plan.counts)} distinct"
    unlike = ", asynchronous: another run measures other trials" if request.asynchronous else ""
    session.listener(Phase("search", f"{distinct}, {rule.max_trials} trials{unlike}"))
    search_on = partial(search_widely, search) if request.asynchronous else search.run
    reason = search_on(
        pool,
        rule,
        book.commit,
        listener=session.listener,
        clock=time.monotonic,
        cancelled=cancelled,
    )
    session.regret = search.regret(search.plan)
    session.listener(Phase("verify", "emulating the best kernels, and measuring them again"))
    return search, reason
