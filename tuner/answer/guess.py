"""Answers without measuring: from the database, else the default or the best guess of the draft."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import median

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph_json import workload_from_json
from tilewright.compiler_core.ir.layouts import Layout, may_be_laid_out
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.pipeline import Plan, is_host, levels_of, plan_groups
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import FusionPolicy, Group, group_greedily
from tilewright.db.answering.describe import row_of
from tilewright.db.answering.lookup import Answer, AnswerRequest, Fallback, Hit, Match, lookup_many
from tilewright.db.records import Best, WorkloadKind, WorkloadRow
from tilewright.measure.device import Device, simulated_info
from tilewright.measure.results import Status
from tilewright.tuner.answer.cover import candidate_groups, cheapest_cover
from tilewright.tuner.answer.outcome import Outcome
from tilewright.tuner.answer.report import Figures
from tilewright.tuner.kernel.stopping import StopReason
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.assignment import (
    MISSING,
    Assignment,
    Choice,
    assignment_of,
    best_guess,
    guessed_of,
)
from tilewright.tuner.network.opened import Opened
from tilewright.tuner.planning.prices import draft_us

GUESSED = ("default", "guessed", MISSING, "other-placement")
"""Sources of kernels' Configs that were not measured as they are."""
SOURCES = {
    Match.EXACT: "database",
    Match.OTHER_PLACEMENT: "other-placement",
    Match.RETIRED: "retired",
}


def take_defaults(opened: Opened) -> Assignment:
    """The kernels as -O0 has them: the default plan, and the default of each of its kernels."""
    plan, choices = opened.planner.plan, {}
    for task in opened.planner.tasks_of(plan):
        default = opened.default_of(task)
        choices[task.digest] = Choice(default, draft_us(task, default), "default")
    return Assignment(opened, plan, choices)


def fastest_guess(opened: Opened, planned: Plan) -> Assignment:
    """The plan that the simulator finds best with its kernels at their guesses: `planned`, the same in the
    other orders known, the plan that was left for other forms, the default plan.

    Prices of kernels add up to a promise of the network; launches, and what stays in the LLB, may break it.
    """
    planner = opened.planner
    plans = [*planner.in_known_orders(planned), planner.plain, planner.base]
    distinct = [plan for plan in dict.fromkeys(plans) if plan is not None]
    guesses = [guessed_of(opened, plan) for plan in distinct if _is_guessed(opened, plan)]
    if len(guesses) < 2:
        return guessed_of(opened, planned)
    simulated = _simulator(opened.target).measure(opened.network.task, [each.config for each in guesses])
    numbers = [opened.objective.of(each) or inf for each in simulated]
    return guesses[numbers.index(min(numbers))]


def _is_guessed(opened: Opened, plan: Plan) -> bool:
    """Whether some Config of every kernel of a plan fits."""
    prices = opened.planner.prices
    return all(prices.priced(task.workload).guess is not None for task in opened.planner.tasks_of(plan))


def cover_or_guess(opened: Opened, *, explain: bool = False) -> tuple[Assignment, list[Answer]]:
    """The kernels for -O1, lookup and compile, and the database's answer to each.

    The cheapest cover by records. Where none answers, groups are merged by price first: a guess displaces no
    record that way. Where no record knows a kernel of that plan either, layouts included, the fastest guess
    of the whole network answers.
    """
    if opened.ends_in is not Fallback.GUESS or not opened.planner.base.counts:
        return cover_known(opened, explain=explain)
    if (answered := _by_records(opened, explain=explain)) is not None:
        return answered
    planned = opened.planner.replan()
    if (answered := _by_records(opened, explain=explain)) is not None:
        return answered
    guessed = fastest_guess(opened, planned)
    return guessed, ask_exactly(guessed, explain=explain)


def _by_records(opened: Opened, *, explain: bool) -> tuple[Assignment, list[Answer]] | None:
    """The cheapest cover with at least one kernel from records. Where these know no group, none is looked
    for: a cover is priced kernel by kernel.
    """
    candidates = _candidates(opened)
    if not candidates.known_us:
        return None
    cover, answers = cover_known(opened, explain=explain, candidates=candidates)
    return (cover, answers) if any(isinstance(answer, Hit) for answer in answers) else None


def retired_or_guess(opened: Opened, *, explain: bool = False) -> tuple[Assignment, list[Answer], Hit | None]:
    """The same; where no record answers exactly, the whole network as it was under the last toolchain before
    today's, if that is on record and wanted, with the Hit.
    """
    assignment, answers = cover_or_guess(opened, explain=explain)
    exact = any(isinstance(answer, Hit) and answer.match is Match.EXACT for answer in answers)
    whole = None
    if not exact and Fallback.TOOLCHAIN in opened.fallback:
        whole = opened.records.retired_network()
    if whole is None:
        return assignment, answers, None
    try:
        plan = assignment_of(opened, whole.best.config)
    except ConfigError:
        return assignment, answers, None
    answers = ask_exactly(plan, explain=explain)
    retired = {
        task.digest: Choice(answer.best.config, answer.latency_us, SOURCES[answer.match])
        for task, answer in zip(plan.tasks, answers, strict=True)
        if isinstance(answer, Hit)
    }
    return assignment_of(opened, whole.best.config, retired), answers, whole


@dataclass(frozen=True)
class RecordedGroups:
    """Groups that records may answer for: the kernel of each, and what records know, in us by digest."""

    workloads: Mapping[Group, Workload]
    known_us: Mapping[str, float]


def cover_known(
    opened: Opened, *, explain: bool = False, candidates: RecordedGroups | None = None
) -> tuple[Assignment, list[Answer]]:
    """The cheapest cover of the network by records; and the database's answer a kernel, in order.

    Groups that records know (of any placement) are asked for in one query; kernels without a record run the
    best guess of the draft. Values between kernels have the layouts of the records. Every kernel gets its
    choice: database, other-placement or guessed.
    """
    groups = _cheapest_groups(opened, candidates or _candidates(opened))
    planner = opened.planner
    graph = planner.start.graph
    analysed = planner.analysed
    plan = plan_groups(graph, groups, opened.target, analysed)
    answers = _ask(opened, [task.workload for task in planner.tasks_of(plan)], explain=explain)
    layouts = _recorded_layouts(plan, answers)
    if layouts:
        plan = plan_groups(graph, groups, opened.target, analysed, layouts)
        answers = _ask(opened, [task.workload for task in planner.tasks_of(plan)], explain=explain)
    choices = {
        task.digest: Choice(answer.best.config, answer.latency_us, SOURCES[answer.match])
        if isinstance(answer, Hit)
        else _unknown(opened, task)
        for task, answer in zip(planner.tasks_of(plan), answers, strict=True)
    }
    return Assignment(opened, plan, choices), answers


def _unknown(opened: Opened, task: KernelTask) -> Choice:
    """The Config of a kernel without a record: the best guess, or the default where that is wanted, or where
    nothing is.
    """
    if opened.ends_in is Fallback.GUESS:
        return best_guess(opened, task)
    default = opened.default_of(task)
    return Choice(default, draft_us(task, default), MISSING if opened.ends_in is None else "default")


def _recorded_layouts(plan: Plan, answers: Sequence[Answer]) -> Mapping[int, Layout]:
    """The layouts of the plan's values in the records that answer for the kernels that store them."""
    recorded = {
        answer.workload.digest: workload_from_json(json.loads(answer.recorded.body)).layouts
        for answer in answers
        if isinstance(answer, Hit)
    }
    layouts = {
        kernel.values[value]: recorded[kernel.workload.digest][value]
        for kernel in plan.kernels
        if kernel is not None
        for value in kernel.workload.graph.outputs
        if value in recorded.get(kernel.workload.digest, {})
    }
    graph = plan.graph
    return {v: kept for v, kept in layouts.items() if may_be_laid_out(graph, v) and kept.fits(graph.shape(v))}


def ask_exactly(assignment: Assignment, *, explain: bool = True) -> list[Answer]:
    """The database's answer for each kernel of the plan as it is."""
    return _ask(assignment.opened, [task.workload for task in assignment.tasks], explain=explain)


def _candidates(opened: Opened) -> RecordedGroups:
    """The groups of the network that records may know, and their latencies there: one question for all.

    Where the plan was merged by price before, its groups are candidates too.
    """
    planner = opened.planner
    base, graph = planner.start, planner.start.graph
    apart = group_greedily(graph, FusionPolicy(epilogues=False))
    levels = {**levels_of(graph, apart, opened.target), **base.levels}
    workloads = {
        group: planner.prices.workload(graph, group, levels, {})
        for group in dict.fromkeys((*candidate_groups(graph, base.groups), *planner.plan.groups))
        if not is_host(graph, group)
    }
    distinct = {workload.digest: workload for workload in workloads.values()}
    rows = [WorkloadRow(each.digest, each.family_digest, WorkloadKind.KERNEL) for each in distinct.values()]
    answers = _ask_rows(opened, rows, distinct, explain=False)
    hits = zip(distinct, answers, strict=True)
    return RecordedGroups(workloads, {digest: hit.latency_us for digest, hit in hits if isinstance(hit, Hit)})


def _cheapest_groups(opened: Opened, candidates: RecordedGroups) -> tuple[Group, ...]:
    """Costs are latencies of records; of a default group without one, the draft of its default Config.

    So a guess displaces records only where even the default promises to be faster.
    """
    base, known = opened.planner.start, candidates.known_us
    graph = base.graph
    unknown_us = {
        task.digest: draft_us(task, opened.default_of(task))
        for task in opened.planner.tasks_of(base)
        if task.digest not in known
    }
    costs_us: dict[Group, float] = {
        group: 0.0 if kernel is None else unknown_us.get(kernel.workload.digest, 0.0)  # 0 on the host
        for group, kernel in zip(base.groups, base.kernels, strict=True)
    }
    if opened.planner.grouping is not None:  # merged by price, with guesses of its own
        costs_us |= {
            group: opened.planner.prices.priced(kernel.workload).guess_us
            for group, kernel in zip(opened.planner.plan.groups, opened.planner.plan.kernels, strict=True)
            if kernel is not None
        }
    costs_us |= {
        group: known[workload.digest]
        for group, workload in candidates.workloads.items()
        if workload.digest in known
    }
    return cheapest_cover(graph, costs_us, base.groups)


def _ask(opened: Opened, workloads: Sequence[Workload], *, explain: bool) -> list[Answer]:
    by_digest = {workload.digest: workload for workload in workloads}
    return _ask_rows(opened, [row_of(workload) for workload in workloads], by_digest, explain=explain)


def _ask_rows(
    opened: Opened, rows: Sequence[WorkloadRow], by_digest: Mapping[str, Workload], *, explain: bool
) -> list[Answer]:
    """The answers for rows of the kernels `by_digest`; their bodies count where a miss is explained."""
    tasks = opened.planner.tasks

    def fits(row: WorkloadRow, best: Best) -> bool:
        if row.digest not in tasks:
            tasks[row.digest] = KernelTask(Regions(by_digest[row.digest]), opened.target)
        space = tasks[row.digest].space
        # A run that wrote down this very space had checked the Config in it; to check again takes 10 ms.
        return best.space_digest == space.digest or space.contains(best.config)

    request = AnswerRequest(
        opened.target.digest,
        opened.records.toolchain,
        opened.objective,
        fits=fits,
        fallback=opened.fallback,
        device=opened.records.device.name,
        explain=explain,
    )
    return lookup_many(opened.records.sources, rows, request)


def guess_network(assignment: Assignment, reason: StopReason) -> Outcome:
    """Figures of the network as the simulator has them from the target file; nothing is measured or checked.

    The default is as it was measured where that is on record. ConfigError where the default does not compile.
    """
    opened = assignment.opened
    simulated = _simulator(opened.target).measure(
        opened.network.task, [opened.default_config, assignment.config]
    )
    for each in simulated:
        if each.status is not Status.OK:
            raise ConfigError(f"{opened.model.name} on {opened.target.name}: {each.reason}")
    default, guess = map(Figures.of, simulated)
    known = opened.records.default_network()
    return Outcome(
        timed(assignment),
        default if known is None else Figures.of_best(known),
        guess,
        "none",
        reason,
        measured=False,
        expected_error=expected_error(assignment),
    )


def timed(assignment: Assignment) -> Assignment:
    """Unmeasured kernels get simulated times, as the network's figures do."""
    choices = dict(assignment.choices)
    guessed = [task for task in assignment.tasks if choices[task.digest].source in GUESSED]
    if not guessed:
        return assignment
    device = _simulator(assignment.opened.target)
    for task in guessed:
        choice = choices[task.digest]
        (timed,) = device.measure(task.workload, [choice.config])
        latency_us = choice.latency_us if timed.latency_us is None else timed.latency_us
        choices[task.digest] = replace(choice, latency_us=latency_us)
    return replace(assignment, choices=choices)


def simulated_us(assignment: Assignment) -> float | None:
    """The whole network as the simulator has it from the target file; None where it does not run there."""
    opened = assignment.opened
    (simulated,) = _simulator(opened.target).measure(opened.network.task, [assignment.config])
    return simulated.latency_us


def simulated_default(opened: Opened) -> Figures | None:
    """The network's default as the simulator has it; None where it does not run there."""
    (simulated,) = _simulator(opened.target).measure(opened.network.task, [opened.default_config])
    return Figures.of(simulated) if simulated.status is Status.OK else None


def expected_error(assignment: Assignment) -> float | None:
    """The expected error of the simulator against the device (0.1 = 10 %); None where unknown. Zero where the
    device is the simulator itself; else the median over the network's kernels that the device has measured.
    """
    opened = assignment.opened
    if opened.records.device == simulated_info(opened.target.digest):
        return 0.0
    device, errors = _simulator(opened.target), []
    for task in assignment.tasks:
        best = opened.records.best_of(task)
        if best is not None:
            (measured,) = device.measure(task.workload, [best.config])
            if measured.latency_us is not None:
                errors.append(abs(measured.latency_us / best.latency_us - 1.0))
    return median(errors) if errors else None


def _simulator(target: Target) -> Device:
    """The simulated chip, loaded by those who simulate: a lookup does not."""
    from tilewright.measure.simulator.device import SimulatedDevice

    return SimulatedDevice(target)
