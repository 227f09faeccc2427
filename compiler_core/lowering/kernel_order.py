"""From a network's fusion groups to the order solvers and back: groups as a KernelGraph, an order as groups.

    groups (conv, relu), (conv, add, relu), ...   ->   kernels 0, 1, ... and what crosses them, in bytes

Constants are not among the tensors: they stream from DRAM in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import AxisKind, Unit
from tilewright.compiler_core.ir.workload import Level, stored_values
from tilewright.compiler_core.lowering.memory.placement import (
    lifetimes,
    live_bytes,
    place_values,
    stored_bytes,
)
from tilewright.compiler_core.lowering.pipeline import LLB_SHARE, Plan
from tilewright.compiler_core.order.flat import flatten
from tilewright.compiler_core.order.kernel_graph import GRAPH_INPUT, KernelGraph, KernelTensor, peak_of
from tilewright.compiler_core.order.portfolio import ListWeights, list_order
from tilewright.compiler_core.order.solve import PeakBudget, solve_peak
from tilewright.compiler_core.order.traffic.search import TrafficBudget, least_traffic
from tilewright.compiler_core.order.witness import PeakPlan
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import Group

_MOVES, _KERNELS_MOVED = 6_000, 3_000_000
"""Local moves tried for traffic, and the most kernels that all of them may walk over."""


@dataclass(frozen=True)
class Crossing:
    """Groups as kernels, in the order given; `values[t]` is the Graph's value behind tensor t."""

    kernels: KernelGraph
    values: tuple[int, ...]


def crossing_of(graph: Graph, groups: Sequence[Group], target: Target | None = None) -> Crossing:
    """The values of `graph` that cross its groups, in the bytes of `target`, or the model's own without one.

    A kernel is marked in place only where each operand it might then overwrite may be overwritten. ModelError
    while a symbol is unbound, or where a group comes before one that it reads.
    """
    reads = [_read_outside(graph, group) for group in groups]
    readers: dict[int, list[int]] = {}
    for kernel, values in enumerate(reads):
        for value in values:
            readers.setdefault(value, []).append(kernel)
    stored = [stored_values(graph, group) for group in groups]
    producer = {value: GRAPH_INPUT for value in graph.inputs if value not in graph.constants}
    producer |= {value: kernel for kernel, values in enumerate(stored) for value in values}
    sizes = {value: _bytes(graph, value, target) for value in producer}
    tensors = tuple(
        KernelTensor(sizes[value], kernel, tuple(readers.get(value, ())), value in graph.outputs)
        for value, kernel in producer.items()
    )
    in_place = tuple(
        len(results) == 1 and _may_overwrite(graph, group, operands, results[0], sizes)
        for group, operands, results in zip(groups, reads, stored, strict=True)
    )
    return Crossing(KernelGraph("network", len(groups), tensors, in_place), tuple(producer))


def between_kernels(plan: Plan, target: Target) -> KernelGraph:
    """The kernels of a plan, and of what crosses them the values that lie in the LLB."""
    crossing = crossing_of(plan.graph, plan.groups, target)
    pairs = zip(crossing.kernels.tensors, crossing.values, strict=True)
    kept = tuple(tensor for tensor, value in pairs if plan.levels.get(value) is Level.LLB)
    return replace(crossing.kernels, tensors=kept)


def weight_bytes(graph: Graph, groups: Sequence[Group], target: Target) -> tuple[int, ...]:
    """Per group the bytes of the constants that it reads, as `target` stores them."""
    read = ({access.value for index in group for access in graph.ops[index].operands} for group in groups)
    return tuple(sum(_bytes(graph, v, target) for v in values if v in graph.constants) for values in read)


def least_peak(kernels: KernelGraph) -> PeakPlan:
    """solve_peak, but the given order itself where nothing better was found."""
    plan = solve_peak(kernels)
    given = tuple(range(kernels.kernels))
    peak = peak_of(kernels, given)
    if peak > plan.peak_bytes:
        return plan
    status = "optimal" if peak == plan.bound_bytes else plan.status
    return replace(plan, order=given, peak_bytes=peak, status=status)


def order_groups(graph: Graph, groups: Sequence[Group], target: Target) -> tuple[Group, ...]:
    """The groups in the order of least DRAM traffic found, as `plan_groups` will place their values.

    The given order where nothing spills or none found is better. ModelError as for `crossing_of`.
    """
    return min(known_orders(graph, groups, target), key=lambda each: spilled_bytes(graph, each, target))


def known_orders(graph: Graph, groups: Sequence[Group], target: Target) -> tuple[tuple[Group, ...], ...]:
    """The groups as given, in an order of least DRAM traffic, and in that of least peak memory; the given
    order alone where nothing spills. ModelError as for `crossing_of`.
    """
    given = tuple(groups)
    capacity_bytes = int(target.llb_bytes * LLB_SHARE)
    live = live_bytes(lifetimes(graph, given, range(len(given)), target), len(given))
    if capacity_bytes <= 0 or live.max(initial=0) <= capacity_bytes:
        return (given,)
    kernels = crossing_of(graph, given, target).kernels
    budget = TrafficBudget(schedules=16, moves=min(_MOVES, _KERNELS_MOVED // kernels.kernels))
    least = solve_peak(kernels, PeakBudget(search_states=2_000)).order
    orders = (least_traffic(kernels, capacity_bytes, budget, known=(least,)).order, least)
    return given, *(in_order(given, order) for order in orders)


def in_list_order(
    graph: Graph, groups: Sequence[Group], target: Target, weights: ListWeights
) -> tuple[Group, ...]:
    """The groups in the order that a list schedule by `weights` runs them."""
    order = list_order(flatten(crossing_of(graph, groups, target).kernels), weights)
    return in_order(groups, order.tolist())


def spilled_bytes(graph: Graph, groups: Sequence[Group], target: Target) -> int:
    """DRAM bytes of values between `groups`, in this order: each that spills, at its write and each read."""
    lives = lifetimes(graph, groups, range(len(groups)), target)
    levels = place_values(lives, len(groups), int(target.llb_bytes * LLB_SHARE))
    moved = {life.value: life.size_bytes for life in lives if levels[life.value] is Level.DRAM}
    reads = (value for group in groups for value in _read_outside(graph, group))
    return sum(moved.values()) + sum(moved.get(value, 0) for value in reads)


def in_order(groups: Sequence[Group], order: Sequence[int]) -> tuple[Group, ...]:
    """The groups as `order` runs them; UsageError unless it names each once."""
    if sorted(order) != list(range(len(groups))):
        raise UsageError(f"an order of {len(groups)} groups names each once, not {list(order)}")
    return tuple(groups[kernel] for kernel in order)


def _bytes(graph: Graph, value: int, target: Target | None) -> int:
    if target is not None:
        return stored_bytes(graph, value, target)
    return graph.elements(value) * graph.values[value].dtype.bytes


def _read_outside(graph: Graph, group: Group) -> tuple[int, ...]:
    """The values that a group reads and neither makes nor finds among the constants, ascending."""
    made = {graph.ops[index].result for index in group}
    read = {access.value for index in group for access in graph.ops[index].operands}
    return tuple(sorted(value for value in read - made if value not in graph.constants))


def _may_overwrite(
    graph: Graph, group: Group, operands: Sequence[int], result: int, sizes: dict[int, int]
) -> bool:
    """Whether any operand with room for `result` may make way for it, tile by tile; False if there is none.

    A KernelGraph has one flag a kernel, so a single large operand that is read with a halo forbids it.
    """
    large = [v for v in operands if sizes[v] >= sizes[result] and v not in graph.outputs]
    pointwise = _read_pointwise(graph, group)
    return bool(large) and all(
        value in pointwise and sizes[value] == sizes[result] and graph.shape(value) == graph.shape(result)
        for value in large
    )


def _read_pointwise(graph: Graph, group: Group) -> set[int]:
    """The values of which a tile of the root needs exactly its own box, along every path to the root."""
    read: set[int] = set()
    elsewhere: set[int] = set()
    for index in sorted(group, reverse=True):
        op = graph.ops[index]
        aligned = (
            op.result not in elsewhere
            and op.row.unit is not Unit.HOST
            and all(kind is AxisKind.PARALLEL for kind in op.axis_kinds)
        )
        for access in op.operands:
            read.add(access.value)
            if not (aligned and access.is_identity(op.rank)):
                elsewhere.add(access.value)
    return read - elsewhere
