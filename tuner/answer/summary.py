"""The Report of a run that has come to its end."""

from functools import partial

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.kernel_order import between_kernels, least_peak
from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.compiler_core.onnx_import.host_work import host_work
from tilewright.compiler_core.transforms.fuse import Group
from tilewright.measure.objectives import Objective
from tilewright.tuner.answer.gap import explain_gap
from tilewright.tuner.answer.outcome import Outcome
from tilewright.tuner.answer.report import (
    Figures,
    GroupReport,
    KernelReport,
    Report,
    RewriteReport,
)
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.assignment import Assignment
from tilewright.tuner.network.opened import Opened
from tilewright.tuner.planning.grouping import Boundary


def summarise(outcome: Outcome, wall_s: float) -> Report:
    """Everything `tune run` answers, from the choices and the network's figures."""
    assignment = outcome.assignment
    opened = assignment.opened
    bound = bound_of_answer(assignment)
    kernels = tuple(_kernel(outcome, task) for task in assignment.tasks)
    return Report(
        model=opened.model.name,
        graph_digest=opened.network.task.digest,
        target=opened.target.name,
        target_digest=opened.target.digest,
        objective=",".join(opened.objectives or (opened.objective,)),
        default=outcome.default,
        tuned=outcome.tuned,
        bound=bound,
        gap=explain_gap(assignment, outcome.tuned, bound),
        sum_of_kernels_us=assignment.sum_us,
        host_us=assignment.host_us,
        trials=sum(outcome.spent.values()),
        cache_hits=sum(kernel.source == "database" for kernel in kernels),
        kernels=kernels,
        groups=_groups(opened, assignment.plan),
        rewrites=_rewrites(opened, assignment.plan),
        host_ops=tuple(vars(work) for work in host_work(opened.graph, opened.model.host_ops)),
        stop_reason=str(outcome.reason),
        regret_estimate=outcome.regret,
        verification=outcome.verification,
        measured=outcome.measured,
        expected_error=outcome.expected_error,
        timed_as=_timed_as(opened),
        wall_s=wall_s,
        front=outcome.front,
        dropped=outcome.dropped,
    )


def bound_of_answer(assignment: Assignment) -> Figures:
    """Numbers that no schedule of the network beats; of the memory one that no order of its kernels beats.

    The last where the memory was asked for: it takes a proof (compiler_core/order/solve.py).
    """
    opened, least_bytes = assignment.opened, None
    if Objective.MEMORY in (opened.objectives or (opened.objective,)):
        least_bytes = least_peak(between_kernels(assignment.plan, opened.target)).bound_bytes
    cycles = opened.bound_us * opened.target.cycles_per_us
    return Figures(opened.bound_us, cycles, opened.bound_uj, least_bytes)


def _kernel(outcome: Outcome, task: KernelTask) -> KernelReport:
    choice, plan = outcome.assignment.choices[task.digest], outcome.assignment.plan
    return KernelReport(
        name=plan.names_of_kernels[task.digest],
        nodes=_nodes(plan.graph, plan.groups_of(task.digest)[0]),
        workload_digest=task.digest,
        ops=tuple(op.kind for op in task.regions.graph.ops),
        count=plan.counts[task.digest],
        latency_us=choice.latency_us,
        bound_us=task.bound_us,
        trials=outcome.spent.get(task.digest, 0),
        source=choice.source,
        config=dict(choice.config.items),
    )


def _groups(opened: Opened, plan: Plan) -> tuple[GroupReport, ...]:
    """The schedule's groups in order; with reasons where this run weighed other fusions."""
    apart: dict[int, list[str]] = {}
    if opened.planner.grouping is not None:
        for boundary in opened.planner.boundaries(plan):
            apart.setdefault(boundary.producer, []).append(_why_apart(opened, plan, boundary))
    cores = {placed.group: placed.cores.count for stage in plan.stages for placed in stage}
    return tuple(
        GroupReport(
            plan.names[position],
            _nodes(plan.graph, group),
            None if kernel is None else kernel.workload.digest,
            tuple(plan.graph.ops[index].kind for index in group),
            plan.stage_of[position],
            cores[position],
            () if kernel is None else kernel.workload.placement[len(kernel.workload.graph.inputs) :],
            tuple(apart.get(position, ())),
        )
        for position, (group, kernel) in enumerate(zip(plan.groups, plan.kernels, strict=True))
    )


def _nodes(graph: Graph, group: Group) -> tuple[str, ...]:
    return tuple(node.path or node.op_type for node in graph.nodes_of(group))


def _rewrites(opened: Opened, plan: Plan) -> tuple[RewriteReport, ...]:
    """The ops in other forms, with their expected times where this run weighed them."""
    graph, better = opened.graph, opened.planner.better
    rewrites = []
    for index, rewrite in plan.graph.rewrites.items():
        op, found, why = graph.ops[index], better.get(index), ""
        if found is not None and found.rewrite == rewrite:
            why = f"expected {found.form_us:.2f} us so, {found.own_us:.2f} as it was"
        rewrites.append(RewriteReport(graph.kernel_name([index]), op.kind, str(rewrite), why))
    return tuple(rewrites)


def _why_apart(opened: Opened, plan: Plan, boundary: Boundary) -> str:
    reader = f"{boundary.consumer} {plan.names[boundary.consumer]}"
    if boundary.whole is None or boundary.whole_us is None:
        return f"{reader}: {boundary.reason}"
    measured, groups = partial(opened.planner.is_measured, plan=plan), plan.groups
    parts_are = all(measured(groups[index]) for index in (boundary.producer, boundary.consumer))
    how_whole, how_parts = (
        "measured" if known else "expected" for known in (measured(boundary.whole), parts_are)
    )
    how_whole = how_whole if boundary.exact else "at least"
    objective = opened.settings.objectives[0]
    priced = objective.row.adds_up and opened.planner.prices.measured
    unit = (objective if priced else Objective.LATENCY).row.unit
    whole, parts = f"{boundary.whole_us:.2f} {unit}", f"{boundary.parts_us:.2f} {unit}"
    together, apart = f"{how_whole} {whole} together", f"{how_parts} {parts} apart"
    return f"{reader}: {together}, {apart if how_whole != how_parts else f'{parts} apart'}"


def _timed_as(opened: Opened) -> str:
    """The dtypes the target stores the network's values as: a float model on an integer target shows here."""
    stored = {opened.target.storage_dtype(value.dtype) for value in opened.graph.values}
    floats = {value.dtype for value in opened.graph.values if value.dtype.is_float}
    kept = {opened.target.storage_dtype(dtype) for dtype in floats} or stored
    return " ".join(sorted(map(str, kept)))
