"""Plans that prove nothing: each one small change away from a proof, for a checker to refuse."""

from collections.abc import Iterator
from dataclasses import replace

from tilewright.compiler_core.errors import CheckError
from tilewright.compiler_core.order.checker import check_plan
from tilewright.compiler_core.order.kernel_graph import KernelGraph
from tilewright.compiler_core.order.witness import DeadEnd, Flow, PeakPlan, SearchWitness, SetWitness


def mutations(graph: KernelGraph, plan: PeakPlan) -> Iterator[tuple[str, PeakPlan]]:
    """(what was changed, the plan) for a proven `plan`: its order, its witness, and its claims.

    Claims stay where dead ends prove it: an honest lower bound may follow from the same ones.
    """
    yield from mutated_orders(graph, plan)
    if isinstance(plan.witness, SetWitness):
        yield from mutated_claims(plan)
        for name, proof in mutated_sets(plan.witness):
            yield name, replace(plan, witness=proof)
    else:
        for name, dead_ends in mutated_searches(plan.witness):
            yield name, replace(plan, witness=dead_ends)


def mutated_claims(plan: PeakPlan) -> Iterator[tuple[str, PeakPlan]]:
    """Peak, bound, status and order changed."""
    order = plan.order
    yield "peak + 1", replace(plan, peak_bytes=plan.peak_bytes + 1)
    yield "peak - 1", replace(plan, peak_bytes=plan.peak_bytes - 1, bound_bytes=plan.bound_bytes - 1)
    yield "bound above peak", replace(plan, bound_bytes=plan.peak_bytes + 1)
    yield "bound - 1", replace(plan, bound_bytes=plan.bound_bytes - 1)
    yield "bound - 1, said to be open", replace(plan, bound_bytes=plan.bound_bytes - 1, status="open")
    yield "status", replace(plan, status="open" if plan.status == "optimal" else "optimal")
    yield "kernel left out", replace(plan, order=order[:-1])
    yield "kernel twice", replace(plan, order=(*order, order[0]))
    if len(order) > 1:
        yield "kernel for another", replace(plan, order=(order[1], *order[1:]))


def mutated_orders(graph: KernelGraph, plan: PeakPlan) -> Iterator[tuple[str, PeakPlan]]:
    """A reader before its producer."""
    place = {kernel: i for i, kernel in enumerate(plan.order)}
    for tensor in graph.tensors:
        for reader in tensor.consumers[:1]:
            if tensor.producer >= 0:
                swapped = list(plan.order)
                i, j = place[tensor.producer], place[reader]
                swapped[i], swapped[j] = swapped[j], swapped[i]
                yield "reader before producer", replace(plan, order=tuple(swapped))


def mutated_flow(flow: Flow) -> Iterator[tuple[str, Flow]]:
    """Rows changed, left out, doubled."""
    for i, (tensor, tail, tip, amount) in enumerate(flow.rows):
        rest = (flow.rows[:i], flow.rows[i + 1 :])
        for name, row in (
            ("more flow", (tensor, tail, tip, amount + 1)),
            ("less flow", (tensor, tail, tip, amount - 1)),
            ("back flow", (tensor, tail, tip, -amount)),
            ("other tail", (tensor, tail + 1, tip, amount)),
            ("no such tensor", (10**6, tail, tip, amount)),
            ("no such kernel", (tensor, tail, 10**6, amount)),
        ):
            yield name, replace(flow, rows=(*rest[0], row, *rest[1]))
        yield "row left out", replace(flow, rows=rest[0] + rest[1])
        yield "row twice", replace(flow, rows=(*flow.rows, flow.rows[i]))
    yield "other kernel", replace(flow, kernel=flow.kernel + 1)


def mutated_sets(witness: SetWitness) -> Iterator[tuple[str, SetWitness]]:
    """Members and flows changed, left out, doubled."""
    for i, flow in enumerate(witness.flows):
        yield "flow left out", replace(witness, flows=witness.flows[:i] + witness.flows[i + 1 :])
        yield "flow twice", replace(witness, flows=(*witness.flows, flow))
        for name, other in mutated_flow(flow):
            yield name, replace(witness, flows=(*witness.flows[:i], other, *witness.flows[i + 1 :]))
        members = tuple(kernel for kernel in witness.kernels if kernel != flow.kernel)
        yield "head left out", replace(witness, kernels=members)
    yield "empty", replace(witness, kernels=(), flows=())
    yield "no such member", replace(witness, kernels=(*witness.kernels, 10**6))
    yield "member twice", replace(witness, kernels=(*witness.kernels, witness.kernels[-1]))


def mutated_searches(witness: SearchWitness) -> Iterator[tuple[str, SearchWitness]]:
    """Dead ends changed, left out, doubled."""
    ends = witness.dead_ends
    for i, end in enumerate(ends):
        yield "dead end left out", replace(witness, dead_ends=ends[:i] + ends[i + 1 :])
        yield "dead end twice", replace(witness, dead_ends=(*ends, end))
        for bit in (0, end.state.bit_length()):
            changed = DeadEnd(end.state ^ 1 << bit, end.move)
            yield "another state", replace(witness, dead_ends=(*ends[:i], changed, *ends[i + 1 :]))
        if end.move is not None:
            for name, flow in mutated_flow(Flow(0, end.move.rows)):
                if name != "other kernel":
                    move = DeadEnd(end.state, replace(end.move, rows=flow.rows))
                    yield name, replace(witness, dead_ends=(*ends[:i], move, *ends[i + 1 :]))
            still = DeadEnd(end.state, replace(end.move, state=end.state))
            yield "move to itself", replace(witness, dead_ends=(*ends[:i], still, *ends[i + 1 :]))
    yield "nothing", replace(witness, dead_ends=())


def refused(graph: KernelGraph, plan: PeakPlan) -> bool:
    """Whether the checker refuses `plan`."""
    try:
        check_plan(graph, plan)
    except CheckError:
        return True
    return False
