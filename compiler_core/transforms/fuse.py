"""Fusion groups: which ops run as one kernel.

A group is connected, convex and has one root that every other op of it leads to. Views belong to their
readers (each reader's group gets its own: they cost nothing), so no kernel exists just to rename elements.

    conv -> add(bias) -> relu -> add(x) -> relu        one group, root the last relu
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.ir.workload import is_remade

Group = tuple[int, ...]


@dataclass(frozen=True)
class FusionPolicy:
    """Limits of the greedy grouping. `epilogues`: elementwise ops join the kernel whose value they read, as
    long as it has no other reader. `max_ops` bounds a group.
    """

    epilogues: bool = True
    max_ops: int = 24


def group_greedily(graph: Graph, policy: FusionPolicy) -> tuple[Group, ...]:
    """Groups in an order that respects data. Every op that is not a view is in exactly one."""
    group_of: dict[int, int] = {}
    members: list[list[int]] = []
    root: list[int] = []
    for index, op in enumerate(graph.ops):
        if is_remade(graph, index):
            continue
        views = _views_above(graph, index)
        host = op.row.unit is Unit.HOST
        joined = -1
        if policy.epilogues and not host and _is_pointwise(graph, index):
            joined = _group_to_join(graph, index, group_of, members, root, policy)
        if joined < 0:
            members.append([])
            root.append(index)
            joined = len(members) - 1
        members[joined].extend(view for view in views if view not in members[joined])
        members[joined].append(index)
        root[joined] = index
        group_of[index] = joined
    order = sorted(range(len(members)), key=lambda group: root[group])
    return tuple(tuple(sorted(members[group])) for group in order)


def _views_above(graph: Graph, at: int) -> list[int]:
    """The views through which op `at` reads, views of views included."""
    found: list[int] = []
    pending = [at]
    while pending:
        op = graph.ops[pending.pop()]
        for access in op.operands:
            above = graph.producer.get(access.value)
            if above is None or above in found:
                continue
            if is_remade(graph, above):
                found.append(above)
                pending.append(above)
    return found


def _is_pointwise(graph: Graph, at: int) -> bool:
    op = graph.ops[at]
    return op.row.unit in (Unit.VECTOR, Unit.NONE) and not op.reduction_axes and op.rank == len(op.domain)


def _group_to_join(
    graph: Graph,
    at: int,
    group_of: dict[int, int],
    members: Sequence[Sequence[int]],
    root: Sequence[int],
    policy: FusionPolicy,
) -> int:
    """The group op `at` may extend: it reads the group's root point by point and is its only reader.

    Of several, the one with the most arithmetic; the other operands are read from outside. Convexity holds
    because the root's only reader is the op itself and all its other operands come earlier in the order.
    """
    op = graph.ops[at]
    best = -1
    for access in op.operands:
        above = graph.producer.get(access.value)
        if above is None or above not in group_of or not access.is_identity(op.rank):
            continue
        group = group_of[above]
        if root[group] != above or graph.readers[access.value] != (at,) or access.value in graph.outputs:
            continue
        if graph.ops[above].row.unit is Unit.HOST or graph.shape(access.value) != graph.shape(op.result):
            continue
        if len(members[group]) >= policy.max_ops:
            continue
        if best < 0 or _work(graph, members[group]) > _work(graph, members[best]):
            best = group
    return best


def _work(graph: Graph, members: Sequence[int]) -> int:
    return sum(graph.ops[index].points for index in members)


def merged(graph: Graph, producer: Group, consumer: Group) -> Group | None:
    """Two groups as one, or None when that is not a legal group.

        (conv, relu) + (conv)   ->   (conv, relu, conv)      a depth-first chain

    The union is legal when every op of it leads to the consumer's root, when no path leaves it and comes
    back, and when it holds no op that runs on the host.
    """
    union = tuple(sorted({*producer, *consumer}))
    inside = set(union)
    root = max(consumer)
    if max(union) != root or any(graph.ops[index].row.unit is Unit.HOST for index in union):
        return None
    for index in union[:-1]:
        if not any(reader in inside for reader in graph.readers.get(graph.ops[index].result, ())):
            return None
    return union if _is_convex(graph, inside) else None


def _is_convex(graph: Graph, inside: set[int]) -> bool:
    """No value of the group is needed, through ops outside it, by the group itself."""
    tainted: set[int] = set()
    for index in range(min(inside), max(inside) + 1):
        sources = {graph.producer.get(access.value, -1) for access in graph.ops[index].operands}
        if index in inside:
            if sources & tainted:
                return False
        elif sources & (tainted | inside):
            tainted.add(index)
    return True


def in_data_order(graph: Graph, groups: Sequence[Group]) -> tuple[Group, ...] | None:
    """`groups` so that each comes after those it reads from, earliest root first; None for a cycle.

    Two legal groups can need each other; such a choice of groups is not a schedule.
    """
    storing = {op: number for number, group in enumerate(groups) for op in group if not is_remade(graph, op)}
    needs: list[set[int]] = []
    for number, group in enumerate(groups):
        sources = {
            storing[above]
            for index in group
            for access in graph.ops[index].operands
            if (above := graph.producer.get(access.value)) is not None
            and above not in group
            and above in storing
        }
        needs.append(sources - {number})
    readers: list[list[int]] = [[] for _ in groups]
    for number, sources in enumerate(needs):
        for source in sources:
            readers[source].append(number)
    ready = [(max(groups[number]), number) for number, sources in enumerate(needs) if not sources]
    heapify(ready)
    done: list[int] = []
    while ready:
        _, number = heappop(ready)
        done.append(number)
        for reader in readers[number]:
            needs[reader].discard(number)
            if not needs[reader]:
                heappush(ready, (max(groups[reader]), reader))
    return tuple(groups[number] for number in done) if len(done) == len(groups) else None
