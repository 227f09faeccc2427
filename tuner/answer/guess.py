"""Answers without measuring: what the database knows, else the default or the best guess of the draft."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph_json import workload_from_json
from tilewright.compiler_core.ir.layouts import Layout, may_be_laid_out
from tilewright.compiler_core.ir.workload import Workload, kernel_of
from tilewright.compiler_core.lowering.pipeline import is_host, plan_graph, plan_groups
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.transforms.fuse import FusionPolicy, Group
from tilewright.db.answering.describe import row_of
from tilewright.db.answering.lookup import Answer, Hit, Match, lookup_many
from tilewright.db.records import Best, WorkloadRow
from tilewright.measure.device import simulated_info
from tilewright.measure.results import Status
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.tuner.answer.cover import candidate_groups, cheapest_cover
from tilewright.tuner.answer.report import Figures, Outcome
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.session import Choice, Session
from tilewright.tuner.planning.prices import draft_us

GUESSED = ("default", "guessed", "other-placement")
"""Sources of kernels' Configs that were not measured as they are."""
SOURCES = {Match.EXACT: "database", Match.OTHER_PLACEMENT: "other-placement"}


def take_defaults(session: Session) -> None:
    """Settle the kernels as -O0 does: the default plan, and the default of each of its kernels."""
    for task in session.tasks:
        default = session.default_of(task)
        session.choices[task.digest] = Choice(default, draft_us(task, default), "default")


def cover_or_guess(session: Session, *, explain: bool = False) -> list[Answer]:
    """Settle the kernels as -O1, lookup and compile do; the database's answer a kernel.

    The cheapest cover by records. Where none answers, groups are merged by price first: a guess displaces no
    record that way. Of that plan no record knows a kernel either: it stays as it is, layouts included.
    """
    answers = cover_known(session, explain=explain)
    if not answers or any(isinstance(answer, Hit) for answer in answers):
        return answers
    planned = session.planner.replan()
    answers = cover_known(session, explain=explain)
    if any(isinstance(answer, Hit) for answer in answers):
        return answers
    session.planner.plan = planned
    session.choices |= {task.digest: best_guess(session, task) for task in session.tasks}
    return _ask(session, [task.workload for task in session.tasks], explain=explain)


def cover_known(session: Session, *, explain: bool = False) -> list[Answer]:
    """Make the cheapest cover of the network by records the plan; the database's answer a kernel, in order.

    Groups that records know (of any placement) are asked for in one query; what no record answers runs as the
    draft guesses best. Values between kernels lie as they did where records were made. Every kernel gets its
    choice: database, other-placement or guessed.
    """
    groups = _cheapest_groups(session)
    planner = session.planner
    graph = planner.start.graph
    analysed = planner.analysed
    planner.plan = plan_groups(graph, groups, session.target, analysed)
    answers = _ask(session, [task.workload for task in session.tasks], explain=explain)
    layouts = _recorded_layouts(session, answers)
    if layouts:
        planner.plan = plan_groups(graph, groups, session.target, analysed, layouts)
        answers = _ask(session, [task.workload for task in session.tasks], explain=explain)
    for task, answer in zip(session.tasks, answers, strict=True):
        if isinstance(answer, Hit):
            best = answer.best
            session.choices[task.digest] = Choice(best.config, best.latency_us, SOURCES[answer.match])
        else:
            session.choices[task.digest] = best_guess(session, task)
    return answers


def _recorded_layouts(session: Session, answers: Sequence[Answer]) -> Mapping[int, Layout]:
    """How values of the plan lay in the records that answer for the kernels that store them."""
    recorded = {
        answer.workload.digest: workload_from_json(json.loads(answer.recorded.body)).layouts
        for answer in answers
        if isinstance(answer, Hit)
    }
    layouts = {
        kernel.values[value]: recorded[kernel.workload.digest][value]
        for kernel in session.plan.kernels
        if kernel is not None
        for value in kernel.workload.graph.outputs
        if value in recorded.get(kernel.workload.digest, {})
    }
    graph = session.plan.graph
    return {v: kept for v, kept in layouts.items() if may_be_laid_out(graph, v) and kept.fits(graph.shape(v))}


def ask_exactly(session: Session) -> list[Answer]:
    """The database's answer for each kernel of the plan as it is, explained."""
    return _ask(session, [task.workload for task in session.tasks], explain=True)


def best_guess(session: Session, task: KernelTask) -> Choice:
    """The Config that the draft likes best."""
    priced = session.planner.prices.priced(task.workload)
    assert priced.guess is not None, "a kernel of a plan fits"
    return Choice(priced.guess, priced.guess_us, "guessed")


def _cheapest_groups(session: Session) -> tuple[Group, ...]:
    """Costs are latencies of records; of a default group without one, the draft of its default Config.

    So a guess displaces records only where even the default promises to be faster. Where the plan was merged
    by price before, its groups are candidates too.
    """
    base = session.planner.start
    graph = base.graph
    apart = plan_graph(graph, session.target, FusionPolicy(epilogues=False))
    levels = {**apart.levels, **base.levels}
    workloads = {
        group: kernel_of(graph, group, levels).workload
        for group in dict.fromkeys((*candidate_groups(graph, base.groups), *session.plan.groups))
        if not is_host(graph, group)
    }
    distinct = {workload.digest: workload for workload in workloads.values()}
    answers = _ask(session, list(distinct.values()), explain=False)
    known = {
        digest: answer.best.latency_us
        for digest, answer in zip(distinct, answers, strict=True)
        if isinstance(answer, Hit)
    }
    unknown_us = {
        task.digest: draft_us(task, session.default_of(task))
        for task in session.planner.tasks_of(base)
        if task.digest not in known
    }
    costs_us: dict[Group, float] = {
        group: 0.0 if kernel is None else unknown_us.get(kernel.workload.digest, 0.0)  # 0 on the host
        for group, kernel in zip(base.groups, base.kernels, strict=True)
    }
    if session.planner.grouping is not None:  # merged by price, with guesses of its own
        costs_us |= {
            group: session.planner.prices.priced(kernel.workload).guess_us
            for group, kernel in zip(session.plan.groups, session.plan.kernels, strict=True)
            if kernel is not None
        }
    costs_us |= {
        group: known[workload.digest] for group, workload in workloads.items() if workload.digest in known
    }
    return cheapest_cover(graph, costs_us, base.groups)


def _ask(session: Session, workloads: Sequence[Workload], *, explain: bool) -> list[Answer]:
    by_digest = {workload.digest: workload for workload in workloads}
    tasks = session.planner.tasks

    def fits(row: WorkloadRow, best: Best) -> bool:
        if row.digest not in tasks:
            tasks[row.digest] = KernelTask(Regions(by_digest[row.digest]), session.target)
        return tasks[row.digest].space.contains(best.config)

    return lookup_many(
        session.book.repository,
        [row_of(workload) for workload in workloads],
        session.target.digest,
        session.book.toolchain,
        session.book.objective,
        fits=fits,
        other_placement=True,
        explain=explain,
    )


def guess_network(session: Session) -> Outcome:
    """Figures of the network as the simulator has them from the target file; nothing is measured or checked.

    The default is as it was measured where that is on record. ConfigError where the default does not compile.
    """
    simulated = SimulatedDevice(session.target).measure(
        session.network.task, [session.default_config, session.tuned_config]
    )
    for each in simulated:
        if each.status is not Status.OK:
            raise ConfigError(f"{session.model.name} on {session.target.name}: {each.reason}")
    _time_guesses(session)
    default, guess = map(Figures.of, simulated)
    known = session.book.default_network()
    return Outcome(
        default if known is None else Figures.of_best(known),
        guess,
        "none",
        measured=False,
        expected_error=expected_error(session),
    )


def _time_guesses(session: Session) -> None:
    """Give kernels that nothing measured what the simulator makes of them, as the network's figures are."""
    device = SimulatedDevice(session.target)
    for task in session.tasks:
        choice = session.choices[task.digest]
        if choice.source in GUESSED:
            (timed,) = device.measure(task.workload, [choice.config])
            latency_us = choice.latency_us if timed.latency_us is None else timed.latency_us
            session.choices[task.digest] = replace(choice, latency_us=latency_us)


def expected_error(session: Session) -> float | None:
    """How far the simulator is likely to be from the device (0.1 = 10 %); None where nothing tells.

    Nothing where the device is the simulator itself; else the median over the network's kernels that the
    device has measured.
    """
    if session.book.device == simulated_info(session.target.digest):
        return 0.0
    device, errors = SimulatedDevice(session.target), []
    for task in session.tasks:
        best = session.known.get(task.digest)
        if best is not None:
            (measured,) = device.measure(task.workload, [best.config])
            if measured.latency_us is not None:
                errors.append(abs(measured.latency_us / best.latency_us - 1.0))
    return median(errors) if errors else None
