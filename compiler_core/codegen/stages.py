"""Stages: the values of a kernel that get memory, and those computed at their readers.

A stage fills one value. It has at most one fold, its core. Pointwise ops before the fold, and ops after it up
to the stage's root, are computed in registers.

    conv -> bias -> relu             one stage, its core the product
    softmax                          max | exp(x - max), sum | quotient

Point by point work whose first reader is a fold is done inside that fold, its value stored on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions, Span

KEPT_LANE_OPS = 3
"""Working a value out again costs more than memory for it from so many lane operations a point on."""


@dataclass(frozen=True)
class Stage:
    """`root` is the op whose value is filled, `core` the fold it ends (or the root itself, without a fold).

    `axes[d]` is the axis of the core that result dim d of the root runs over. A late stage runs once after
    the last step of the anchor's reduction. `passing` are ops whose values are stored on the way.
    """

    root: int
    core: int
    axes: tuple[int, ...]
    late: bool
    passing: tuple[int, ...] = ()

    @property
    def filled(self) -> tuple[int, ...]:
        """All ops whose values it stores."""
        return (*self.passing, self.root)


def folds(op: Op) -> bool:
    """Whether an op folds along an axis, or scans it."""
    return op.row.reducer is not None


def stages_of(regions: Regions, *, every: bool = False) -> tuple[Stage, ...]:
    """The stages of a kernel in the order of their work: early ones first.

    With `every` nothing is worked out again where it is read: a value has memory, or follows a fold.
    """
    graph = regions.graph
    chains = dict(_chain(graph, index) for index, op in enumerate(graph.ops) if folds(op))
    by_root: dict[int, tuple[int, tuple[int, ...]]] = {}
    for core, (root, axes) in sorted(chains.items()):
        if root in by_root:
            # Another fold ends in the same op: this one is kept by itself.
            root, axes = core, tuple(graph.ops[core].result_axes)
        by_root[root] = (core, axes)
    held = _held(graph, by_root)
    costs: dict[int, int] = {}
    for index, op in enumerate(graph.ops):
        cost = op.row.lane_ops if op.kind != "move" else 0
        for access in op.operands:
            maker = graph.producer.get(access.value)
            cost += costs.get(maker, 0) if maker is not None else 0
        if index not in by_root and index not in held and (every or _keeps(graph, index, cost)):
            by_root[index] = (index, tuple(op.result_axes))
        costs[index] = 0 if index in by_root else cost
    made = [
        Stage(root, core, axes, late=core not in regions.early)
        for root, (core, axes) in sorted(by_root.items())
    ]
    return tuple(sorted(made, key=lambda stage: stage.late))


def joined(stages: Sequence[Stage], graph: Graph, program: KernelProgram) -> tuple[Stage, ...]:
    """Stages without a fold become part of the fold that reads them first, if both cover the same points."""
    made = list(stages)
    at = 0
    while at < len(made):
        first = made[at]
        reader = next((n for n in range(at + 1, len(made)) if _reads(made[n], first, graph)), None)
        if reader is not None and _passes(first, made[reader], graph, program):
            second = made[reader]
            made[reader] = replace(second, passing=(*first.passing, first.root, *second.passing))
            del made[at]
        else:
            at += 1
    return tuple(made)


def _reads(stage: Stage, other: Stage, graph: Graph) -> bool:
    """Whether a stage reads a value that another one fills."""
    inside, found = {*stage.filled, stage.core}, list({*stage.filled, stage.core})
    values = {graph.ops[index].result for index in other.filled}
    while found:
        for access in graph.ops[found.pop()].operands:
            if access.value in values:
                return True
            maker = graph.producer.get(access.value)
            if maker is not None and maker not in inside:
                inside.add(maker)
                found.append(maker)
    return False


def _passes(first: Stage, second: Stage, graph: Graph, program: KernelProgram) -> bool:
    """Whether the fold of `second` reads every point of `first`, which has no fold, once and in place."""
    core, op = graph.ops[second.core], graph.ops[first.root]
    reads = [access for access in core.operands if access.value == op.result]
    if (
        first.core != first.root
        or folds(op)
        or not folds(core)
        or first.late != second.late
        or len(reads) != 1
    ):
        return False
    if AxisKind.SCAN in core.axis_kinds or reads[0].is_data_dependent or len(core.operands) != 1:
        return False
    axes = [expr.projected_axis for expr in reads[0].exprs]
    known = [axis for axis in axes if axis is not None]
    others = [extent for axis, extent in enumerate(core.extents) if axis not in known]
    if len(known) != op.rank or len(set(known)) != op.rank or any(extent != 1 for extent in others):
        return False
    its = [program.domains[second.core][axis] for axis in known]
    return all(_same_span(a, b) for a, b in zip(program.domains[first.root], its, strict=True))


def _same_span(a: Span, b: Span) -> bool:
    """Whether two intervals are the same in every tile."""
    return all(bool(np.all(x == y)) for x, y in zip(a, b, strict=True))


def _held(graph: Graph, by_root: dict[int, tuple[int, tuple[int, ...]]]) -> set[int]:
    """Ops between a core and the root of its stage, kept in registers."""
    found: set[int] = set()
    for root, (core, _) in by_root.items():
        at = core
        while at != root:
            at = graph.readers[graph.ops[at].result][0]
            found.add(at)
        found.discard(root)
    return found


def _keeps(graph: Graph, at: int, cost: int) -> bool:
    """Whether a value gets memory: it is stored, or dear and read more than once a point."""
    op = graph.ops[at]
    if op.result in graph.outputs:
        return True
    if not op.points:
        return False
    reads = sum(
        graph.ops[reader].points * sum(a.value == op.result for a in graph.ops[reader].operands)
        for reader in graph.readers.get(op.result, ())
    )
    return (reads / op.points - 1.0) * cost >= KEPT_LANE_OPS


def _chain(graph: Graph, core: int) -> tuple[int, tuple[int, tuple[int, ...]]]:
    """The last op that follows a fold point by point, each read by nobody but the next, and its axes."""
    op = graph.ops[core]
    axes = tuple(op.result_axes)
    at = core
    if any(kind is AxisKind.SCAN for kind in op.axis_kinds):
        return core, (core, axes)
    while graph.ops[at].result not in graph.outputs:
        readers = graph.readers.get(graph.ops[at].result, ())
        if len(readers) != 1:
            break
        following = graph.ops[readers[0]]
        found = _renamed(graph, following, graph.ops[at], axes)
        if found is None:
            break
        at, axes = readers[0], found
    return core, (at, axes)


def _renamed(graph: Graph, op: Op, before: Op, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The core's axes by result dim of `op`, where it reads `before` point by point; else None."""
    reads = [access for access in op.operands if access.value == before.result]
    if len(reads) != 1 or folds(op) or op.row.reducer is not None or reads[0].is_data_dependent:
        return None
    places = [expr.projected_axis for expr in reads[0].exprs]
    if None in places or sorted(p for p in places if p is not None) != list(range(op.rank)):
        return None
    renamed = [0] * op.rank
    for dim, place in enumerate(places):
        assert place is not None, "looked at above"
        if op.extents[place] != before.extents[dim]:
            return None
        renamed[place] = axes[dim]
    return tuple(renamed)
