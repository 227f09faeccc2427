"""`tune run`: the main path, from an ONNX file to the schedule that runs it fastest.

An ONNX file becomes a Graph; Graph and Target become a plan of kernels and, per kernel, a space of Configs.
What the database knows is taken from it. The rest of the budget is searched on a pool of devices, every batch
committed before it is learned from. The best Configs are checked, confirmed and published, and the Program
made of them is the answer.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tilewright.compiler_core.errors import UsageError
from tilewright.db.runs import Guard
from tilewright.measure.farm.pool import Pool
from tilewright.measure.lab import read_lab, toolchain_of
from tilewright.measure.objectives import Objective
from tilewright.tuner.answer.conclude import choose_kernels, conclude_network, recall_network
from tilewright.tuner.answer.front import measure_front, publish_first, recall_front
from tilewright.tuner.answer.guess import guess_kernels, guess_network
from tilewright.tuner.answer.report import Report
from tilewright.tuner.answer.summary import summarise
from tilewright.tuner.devices import own_pool, simulated_pool
from tilewright.tuner.kernel.front import read_objectives
from tilewright.tuner.kernel.prior import prior_records
from tilewright.tuner.kernel.samplers import sampler_factory
from tilewright.tuner.kernel.search import SamplerFactory
from tilewright.tuner.kernel.stopping import StopReason, StopRule
from tilewright.tuner.network.events import Listener, Phase, silent
from tilewright.tuner.network.search import NetworkSearch
from tilewright.tuner.network.session import Session, open_session
from tilewright.tuner.network.wide_search import search_widely

TRIALS = {0: 0, 1: 0, 2: 512, 3: 4096}
"""Default budgets by level: -O0 default schedule, -O1 database or guess, -O2 and -O3 searches."""
REGRET = 0.02
"""-O3 stops where the best is within this of the optimum, with 95 % confidence."""
STUDIED = 24
"""Networks that -O3 prices before it measures, each with other
knobs of the whole (tuner/network/graph_knobs.py)."""


def run(
    model: Path,
    target: str | Path,
    *,
    level: int = 2,
    trials: int | None = None,
    time_limit_s: float | None = None,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    sampler: str | None = None,
    seed: int = 0,
    database: str | Path = "tilewright.db",
    workers: int = 2,
    ray: str = "local",
    device: str | None = None,
    lab: str | None = None,
    asynchronous: bool = False,
    on_event: Listener = silent,
    guard: Guard | None = None,
    job: str | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Report:
    """Tune the network in `model` for `target` and record everything in `database`.

    Several objectives ("latency,energy,peak_bytes") ask for a front; published is the best in the first.
    Raises InputError (one line) for an unusable model, target, budget or database, DeviceError when nothing
    can be measured. A run that was cut off before goes on where its records end; of a budget that earlier
    runs have spent in part, the rest is spent. `asynchronous` keeps a wide farm busy and gives up that the
    same seed measures the same trials (tuner/network/wide_search.py). `device` names a user's own as
    module:factory, in place of the simulated workers. `lab` lets go wrong what a real lab does
    (measure/lab.py); what is
    measured so is kept apart from everything else.
    """
    start = time.monotonic()
    budget = budget_of(level, trials, time_limit_s)
    objectives = read_objectives(objective) if "," in objective else (objective,)
    factory = sampler_factory(sampler, len(objectives))
    plan = read_lab(lab) if lab else None
    if len(objectives) > 1 and budget == 0:
        raise UsageError(f"--objective {objective} needs measurements; give -O 2 or --trials")
    with open_session(model, target, objectives[0], dims, seed, database, on_event, guard, job) as session:
        if plan is not None:
            session.book.toolchain = toolchain_of(session.book.toolchain, plan)
        if len(objectives) > 1:
            session.seek_front(objectives)
        front = recall_front(session, budget) if session.objectives else ()
        # A front of as many trials knows less of each objective alone: it is no answer to either question.
        spent = session.book.spent() if len(objectives) == 1 else budget if front else 0
        if level >= 2 and spent >= budget and (known := recall_network(session)):
            return summarise(session, known, StopReason.DATABASE, time.monotonic() - start, front)
        if budget == 0:
            if level > 0:
                session.planner.replan()
            guess_kernels(session, use_database=level > 0)
            return summarise(session, guess_network(session), StopReason.BUDGET, time.monotonic() - start)
        if level == 3:
            session.planner.studied = STUDIED
        chip = session.target
        with (
            own_pool(device, chip.digest, plan)
            if device is not None
            else simulated_pool(chip.name, session.book.target_text, workers, ray, plan)
        ) as pool:
            pool.start()
            session.book.pool = pool
            missing = budget - spent if spent < budget else budget
            rule = StopRule(missing, time_limit_s=time_limit_s, regret=REGRET if level == 3 else None)
            draws = f"seed {seed} after {spent}" if 0 < spent < budget else f"seed {seed}"
            search, reason = _search(session, pool, rule, draws, sampler, factory, cancelled, asynchronous)
            outcome = conclude_network(session, choose_kernels(session, search, pool), pool)
            if session.objectives:
                front = measure_front(session, search, pool)
                outcome = publish_first(session, front, outcome, pool)
            effort = {} if session.objectives else session.spent | {session.network.task.digest: budget}
            session.book.close(reason, effort, session.regret)
        return summarise(session, outcome, reason, time.monotonic() - start, front)


def _search(
    session: Session,
    pool: Pool,
    rule: StopRule,
    draws: str,
    sampler: str | None,
    factory: SamplerFactory | None,
    cancelled: Callable[[], bool],
    asynchronous: bool,
) -> tuple[NetworkSearch, StopReason]:
    """Spend the budget on the kernels.

    `draws` names the random choices: what earlier runs of a smaller budget drew is not drawn again.
    """
    book = session.book
    settings: dict[str, object] = {
        "sampler": sampler,
        "time_limit_s": rule.time_limit_s,
        "regret": rule.regret,
    }
    if session.objectives:
        settings["objectives"] = session.objectives
    book.open(session.model.name, session.seed, rule.max_trials, settings)
    session.listener(Phase("plan", "which ops run together, by what records and drafts promise"))
    search = NetworkSearch(
        session.planner,
        draws,
        rule.max_trials,
        session.settings,
        known=session.known_configs,
        sampler=factory,
    )
    if session.settings.objectives == (Objective.LATENCY,):
        search.learn(prior_records(book.repository, book.toolchain, book.started_at_s))
    search.resume(book.earlier())
    distinct = f"{len(search.plan.groups)} kernels, {len(search.plan.counts)} distinct"
    unlike = ", asynchronous: another run measures other trials" if asynchronous else ""
    session.listener(Phase("search", f"{distinct}, {rule.max_trials} trials{unlike}"))
    search_on = partial(search_widely, search) if asynchronous else search.run
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


def budget_of(level: int, trials: int | None, time_limit_s: float | None) -> int:
    """The trials a request may spend; UsageError when its numbers make no sense."""
    if level not in TRIALS:
        raise UsageError(f"-O {level} is not a level; choose from 0 to 3")
    if trials is not None and trials < 0:
        raise UsageError(f"--trials {trials} is negative; give 0 or more")
    if time_limit_s is not None and not 0 < time_limit_s < float("inf"):
        raise UsageError(f"--time-limit {time_limit_s} is not a positive number of seconds")
    return TRIALS[level] if trials is None else trials
