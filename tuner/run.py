"""`tune run`: the main path, from an ONNX file to the schedule that runs it fastest.

    Opened      the network, its target, the plan it begins with, what records know
    Searched    what was measured of its kernels, every batch committed before it is learned from
    Chosen      the most promising plans, their kernels checked, confirmed and published
    Outcome     the whole network measured, checked and published: what it runs, and its figures
    Report      all of it in numbers

Each is made from the one before. Without a measurement the Outcome comes from records or a guess.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from tilewright.measure.objectives import Objective
from tilewright.tuner.answer.chosen import choose_kernels
from tilewright.tuner.answer.conclude import conclude_network, recall_network
from tilewright.tuner.answer.front import measure_mixtures, recall_front
from tilewright.tuner.answer.guess import cover_or_guess, guess_network, take_defaults
from tilewright.tuner.answer.outcome import Outcome, nothing_runs
from tilewright.tuner.answer.report import Report
from tilewright.tuner.answer.summary import summarise
from tilewright.tuner.devices import Devices, devices_of
from tilewright.tuner.kernel.candidates import Candidate, fitting
from tilewright.tuner.kernel.prior import MOST, prior_records
from tilewright.tuner.kernel.samplers import sampler_factory
from tilewright.tuner.kernel.search import SamplerFactory
from tilewright.tuner.kernel.stopping import StopReason, StopRule
from tilewright.tuner.kernel.task import KernelTask, Recalled
from tilewright.tuner.network.assignment import assignment_of
from tilewright.tuner.network.book import Book, held
from tilewright.tuner.network.events import Phase, standing
from tilewright.tuner.network.opened import Opened, open_network
from tilewright.tuner.network.search import NetworkSearch
from tilewright.tuner.network.searched import Searched
from tilewright.tuner.network.whole import Whole
from tilewright.tuner.network.wide_search import search_widely
from tilewright.tuner.outlook.courses import Courses, shipped_courses
from tilewright.tuner.outlook.recorded import recorded_courses
from tilewright.tuner.request import Hooks, TuneRequest
from tilewright.tuner.sizes.selection import selected
from tilewright.tuner.turn import Turn, already_spent, missing, take_turn

NO_HOOKS = Hooks()
STUDIED = 24
"""Networks that -O3 prices before it measures, each with other
knobs of the whole (tuner/planning/graph_knobs.py)."""


def run(request: TuneRequest, hooks: Hooks = NO_HOOKS) -> Report:
    """Run `request`, and record everything.

    Raises InputError (one line) for an unusable model, target or database, DeviceError when nothing can be
    measured. A run that was cut off before continues where its records end; where earlier runs have spent a
    part of the budget, the rest is spent. Measurements under a lab's faults are kept apart from the rest.
    """
    start = time.monotonic()
    sampler = sampler_factory(request.sampler, len(request.objectives))
    devices = devices_of(request)
    studied = STUDIED if request.level == 3 else 0
    with open_network(
        request.subject,
        request.database,
        devices.describe,
        listener=hooks.on_event,
        layered=not request.budget,
        studied=studied,
    ) as opened:
        if not opened.planner.base.groups:
            return summarise(nothing_runs(opened), time.monotonic() - start)
        turn = take_turn(opened, request, hooks) if request.budget else None
        if turn is None:
            return summarise(_unmeasured(opened, request), time.monotonic() - start)
        outcome = _measured(opened, turn, request, hooks, devices, sampler)
        report = summarise(outcome, time.monotonic() - start)
        opened.listener(Phase("done", report.standing))
        return report


def _unmeasured(opened: Opened, request: TuneRequest) -> Outcome:
    """The answer of the database where that is as good as this request's, else a guess: of a tuned range that
    holds the sizes, or of the records of kernels.
    """
    spent = already_spent(opened, request)
    if request.level >= 1 and spent >= request.budget and (known := recall_network(opened)):
        return replace(known, front=recall_front(opened, request.budget) if opened.objectives else ())
    reason = StopReason.CANCELLED if request.budget else StopReason.UNMEASURED
    if request.level == 0:
        assignment = take_defaults(opened)
    elif of_range := selected(opened, request.subject):
        assignment = assignment_of(opened, of_range.config)
        reason = reason if request.budget else StopReason.OF_RANGE
    else:
        assignment = cover_or_guess(opened)[0]
    return guess_network(assignment, reason)


def _measured(
    opened: Opened,
    turn: Turn,
    request: TuneRequest,
    hooks: Hooks,
    devices: Devices,
    sampler: SamplerFactory | None,
) -> Outcome:
    """Spend the budget, and publish the best that came of it."""

    def say(line: str) -> None:
        opened.listener(Phase("measure", line))

    records = opened.records
    with held(records, turn.lease), devices.open(opened.target, records.target_text, say) as pool:
        pool.start()
        book = Book(records, turn.lease, pool, hooks.guard)
        searched = _search(opened, book, turn, request, sampler, hooks.cancelled)
        chosen = choose_kernels(searched)
        if opened.objectives or not opened.objective.row.adds_up:
            measure_mixtures(chosen)
        outcome = conclude_network(chosen)
        whole = {opened.network.task.digest: missing(request, turn.spent)}
        book.close(outcome.reason, {} if opened.objectives else {**outcome.spent, **whole}, outcome.regret)
    return outcome


def _search(
    opened: Opened,
    book: Book,
    turn: Turn,
    request: TuneRequest,
    sampler: SamplerFactory | None,
    cancelled: Callable[[], bool],
) -> Searched:
    """Spend the rest of the budget on the kernels; draws of earlier runs are not repeated."""
    rule = StopRule(missing(request, turn.spent), time_limit_s=request.time_limit_s, regret=request.enough)
    draws = f"seed {request.seed}" + (f" after {turn.spent}" if 0 < turn.spent < request.budget else "")
    opened.listener(Phase("plan", "fusion groups, by records and drafts"))
    whole = Whole(opened, book)
    search = NetworkSearch(
        opened.planner,
        draws,
        rule.max_trials,
        opened.settings,
        known=partial(_known, opened, request.candidates),
        sampler=sampler,
        whole=whole,
    )
    if request.candidates:
        opened.listener(Phase("search", _tried(search, request.candidates)))
    if opened.settings.objectives == (Objective.LATENCY,):
        _learn(search, opened, book.started_at_s)
    book.set_bound(opened.network.task.digest, opened.bound_us)
    whole.measure(opened.default_config)
    search.resume(book.earlier)
    distinct = f"{len(search.plan.groups)} kernels, {len(search.plan.counts)} distinct"
    unlike = ", asynchronous: another run measures other trials" if request.asynchronous else ""
    opened.listener(Phase("search", f"{distinct}, {rule.max_trials} trials{unlike}"))
    if (price := search.price(rule)) is not None:
        opened.listener(Phase("price", price))
    search_on = partial(search_widely, search) if request.asynchronous else search.run
    reason = search_on(
        book.pool, rule, book.commit, listener=opened.listener, clock=time.monotonic, cancelled=cancelled
    )
    search.look()
    so_far = standing(whole.best, whole.bound, whole.unit)
    opened.listener(Phase("verify", f"emulating the best kernels, and measuring them again; {so_far}"))
    outlook = search.outlook()
    regret = None if outlook is None else outlook.band().expected
    return Searched(opened, book, search, reason, regret)


def _learn(search: NetworkSearch, opened: Opened, before_s: float) -> None:
    """Teach a search what the latest trials of any kernel on any target tell, of rows and of regrets."""
    repository = opened.records.repository
    recorded = repository.kernel_trials(opened.records.toolchain, before_s, MOST)
    names = {row.digest: row.name for row in repository.targets()}
    courses = recorded_courses(recorded, names)
    own = frozenset({names.get(opened.target.digest, opened.target.name)})
    known = Courses([*shipped_courses().each, *courses], own) if courses else None
    search.learn(prior_records(repository, recorded), known)


def _known(
    opened: Opened, candidates: Sequence[Candidate], tasks: Sequence[KernelTask]
) -> Mapping[str, Recalled]:
    """What records know of kernels, and the candidates of the user that fit them."""
    known = dict(opened.recalled(tasks))
    for task in tasks if candidates else ():
        if tries := fitting(candidates, task.digest, task.space):
            known[task.digest] = replace(known.get(task.digest, Recalled()), tries=tries)
    return known


def _tried(search: NetworkSearch, candidates: Sequence[Candidate]) -> str:
    """One line for people: the number of the user's candidates that fit a kernel."""
    tasks = [each.task for each in search.searches.values()]
    fit = [any(each.fits(task.digest, task.space) for task in tasks) for each in candidates]
    return f"{sum(fit)} of {len(fit)} Configs to try fit a kernel of the plan"
