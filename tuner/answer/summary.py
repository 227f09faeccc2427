"""The Report of a session that has come to its end."""

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.kernel_order import between_kernels, least_peak
from tilewright.compiler_core.onnx_import.host_work import host_work
from tilewright.compiler_core.transforms.fuse import Group
from tilewright.measure.objectives import Objective
from tilewright.tuner.answer.gap import explain_gap
from tilewright.tuner.answer.report import (
    Figures,
    FrontPoint,
    GroupReport,
    KernelReport,
    Outcome,
    Report,
    RewriteReport,
)
from tilewright.tuner.kernel.stopping import StopReason
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.session import Session
from tilewright.tuner.planning.grouping import Boundary


def summarise(
    session: Session,
    outcome: Outcome,
    reason: StopReason,
    wall_s: float,
    front: tuple[FrontPoint, ...] = (),
) -> Report:
    """Everything `tune run` answers, from the choices and the network's figures."""
    target, bound = session.target, bound_of_answer(session)
    kernels = tuple(_kernel(session, task) for task in session.tasks)
    return Report(
        model=session.model.name,
        graph_digest=session.network.task.digest,
        target=target.name,
        target_digest=target.digest,
        objective=",".join(session.objectives or (session.objective,)),
        default=outcome.default,
        tuned=outcome.tuned,
        bound=bound,
        gap=explain_gap(session, outcome.tuned, bound),
        sum_of_kernels_us=session.sum_us,
        trials=sum(session.spent.values()),
        cache_hits=sum(kernel.source == "database" for kernel in kernels),
        kernels=kernels,
        groups=_groups(session),
        rewrites=_rewrites(session),
        host_ops=tuple(vars(work) for work in host_work(session.graph, session.model.host_ops)),
        stop_reason=str(reason),
        regret_estimate=session.regret,
        verification=outcome.verification,
        measured=outcome.measured,
        expected_error=outcome.expected_error,
        timed_as=_timed_as(session),
        wall_s=wall_s,
        front=front,
        dropped=tuple(session.dropped),
    )


def bound_of_answer(session: Session) -> Figures:
    """Numbers that no schedule of the network beats; of the memory one that no order of its kernels beats.

    The last where the memory was asked for: it takes a proof (compiler_core/order/solve.py).
    """
    least_bytes = None
    if Objective.MEMORY in (session.objectives or (session.objective,)):
        least_bytes = least_peak(between_kernels(session.plan, session.target)).bound_bytes
    cycles = session.bound_us * session.target.cycles_per_us
    return Figures(session.bound_us, cycles, session.bound_uj, least_bytes)


def _kernel(session: Session, task: KernelTask) -> KernelReport:
    choice, plan = session.choices[task.digest], session.plan
    return KernelReport(
        name=plan.names_of_kernels[task.digest],
        nodes=_nodes(plan.graph, plan.groups_of(task.digest)[0]),
        workload_digest=task.digest,
        ops=tuple(op.kind for op in task.regions.graph.ops),
        count=plan.counts[task.digest],
        latency_us=choice.latency_us,
        bound_us=task.bound_us,
        trials=session.spent.get(task.digest, 0),
        source=choice.source,
        config=dict(choice.config.items),
    )


def _groups(session: Session) -> tuple[GroupReport, ...]:
    """The schedule's groups in order; with reasons where this run weighed what else it might have fused."""
    apart: dict[int, list[str]] = {}
    if session.planner.grouping is not None:
        for boundary in session.planner.boundaries():
            apart.setdefault(boundary.producer, []).append(_why_apart(session, boundary))
    plan = session.plan
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


def _rewrites(session: Session) -> tuple[RewriteReport, ...]:
    """The ops in other forms, with what was expected of these where this run weighed them."""
    graph, better = session.graph, session.planner.better
    rewrites = []
    for index, rewrite in session.plan.graph.rewrites.items():
        op, found, why = graph.ops[index], better.get(index), ""
        if found is not None and found.rewrite == rewrite:
            why = f"expected {found.form_us:.2f} us so, {found.own_us:.2f} as it was"
        rewrites.append(RewriteReport(graph.kernel_name([index]), op.kind, str(rewrite), why))
    return tuple(rewrites)


def _why_apart(session: Session, boundary: Boundary) -> str:
    reader = f"{boundary.consumer} {session.plan.names[boundary.consumer]}"
    if boundary.whole is None or boundary.whole_us is None:
        return f"{reader}: {boundary.reason}"
    measured, groups = session.planner.is_measured, session.plan.groups
    parts_are = all(measured(groups[index]) for index in (boundary.producer, boundary.consumer))
    how_whole, how_parts = (
        "measured" if known else "expected" for known in (measured(boundary.whole), parts_are)
    )
    objective = session.settings.objectives[0]
    priced = objective.row.adds_up and session.planner.prices.measured
    unit = (objective if priced else Objective.LATENCY).row.unit
    whole, parts = f"{boundary.whole_us:.2f} {unit}", f"{boundary.parts_us:.2f} {unit}"
    together, apart = f"{how_whole} {whole} together", f"{how_parts} {parts} apart"
    return f"{reader}: {together}, {apart if how_whole != how_parts else f'{parts} apart'}"


def _timed_as(session: Session) -> str:
    """The dtypes the target stores the network's values as: a float model on an integer target shows here."""
    stored = {session.target.storage_dtype(value.dtype) for value in session.graph.values}
    floats = {value.dtype for value in session.graph.values if value.dtype.is_float}
    kept = {session.target.storage_dtype(dtype) for dtype in floats} or stored
    return " ".join(sorted(map(str, kept)))
