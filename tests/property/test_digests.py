"""Digests: the same whatever a file called or ordered things; different for what a schedule depends on."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.property.random_graphs import Builder, graphs, same
from tests.small_networks import CASES
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.graph_json import graph_from_json, graph_to_json
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level, Workload, graph_digest, kernel_of, stored_values
from tilewright.compiler_core.transforms.fuse import FusionPolicy, group_greedily

Draw = Callable[..., Any]
ROOT = Path(__file__).parents[2]


def renumbered(graph: Graph, new: Mapping[int, int], order: list[int]) -> Graph:
    """The same network with values called otherwise and ops in another order."""
    values: list[TensorType] = [graph.values[0]] * len(graph.values)
    for old, index in new.items():
        values[index] = graph.values[old]
    ops = tuple(
        replace(
            graph.ops[index],
            operands=tuple(replace(a, value=new[a.value]) for a in graph.ops[index].operands),
            result=new[graph.ops[index].result],
        )
        for index in order
    )
    return Graph(
        tuple(values),
        ops,
        tuple(sorted(new[value] for value in graph.inputs)),
        tuple(new[value] for value in graph.outputs),
        {new[value]: graph.constants[value] for value in sorted(graph.constants, reverse=True)},
        {new[value]: f"another {value}" for value in range(len(graph.values))},
    )


@st.composite
def rewritings(draw: Draw, graph: Graph) -> tuple[Graph, dict[int, int], list[int]]:
    """A Graph that another file of the same network would give, with what became of its values and ops."""
    new = dict(enumerate(draw(st.permutations(range(len(graph.values))))))
    made: set[int] = {*graph.inputs, *graph.constants}
    waiting = list(range(len(graph.ops)))
    order: list[int] = []
    while waiting:
        ready = [index for index in waiting if all(a.value in made for a in graph.ops[index].operands)]
        following = draw(st.sampled_from(ready))
        waiting.remove(following)
        made.add(graph.ops[following].result)
        order.append(following)
    other = renumbered(graph, new, order)
    ops = tuple(
        replace(op, operands=tuple(draw(st.permutations(op.operands)))) if op.row.commutative else op
        for op in other.ops
    )
    return replace(other, ops=ops), new, order


@st.composite
def with_constants(draw: Draw, graph: Graph) -> Graph:
    """Some inputs become constants."""
    constant = [value for value in graph.inputs if draw(st.booleans())]
    inputs = tuple(value for value in graph.inputs if value not in constant)
    return replace(
        graph, inputs=inputs, constants={value: np.zeros(graph.shape(value)) for value in constant}
    )


@given(st.data())
def test_names_and_order_leave_the_graph_digest_alone(data: Any) -> None:
    graph = data.draw(with_constants(data.draw(graphs())[0]))
    other, _, _ = data.draw(rewritings(graph))
    assert graph_digest(other) == graph_digest(graph)


@given(st.data())
def test_names_and_order_leave_workload_digests_alone(data: Any) -> None:
    """Of every group that fusion makes, wherever its operands live; the family digest wherever they live."""
    graph = data.draw(with_constants(data.draw(graphs())[0]))
    other, new, order = data.draw(rewritings(graph))
    policy = FusionPolicy(epilogues=data.draw(st.booleans()))
    place = st.sampled_from([Level.LLB, Level.DRAM])
    levels = {value: data.draw(place) for value in range(len(graph.values)) if value not in graph.constants}
    elsewhere = {value: data.draw(place) for value in levels}
    at = {old: position for position, old in enumerate(order)}
    for group in group_greedily(graph, policy):
        moved = [at[op] for op in group]
        assume(max(moved) == at[max(group)])
        one = kernel_of(graph, group, levels).workload
        two = kernel_of(other, moved, {new[value]: level for value, level in levels.items()}).workload
        assert one.digest == two.digest
        third = kernel_of(other, moved, {new[value]: level for value, level in elsewhere.items()}).workload
        assert third.family_digest == one.family_digest


def _replaced(graph: Graph, at: int, op: Op) -> Graph:
    return replace(graph, ops=(*graph.ops[:at], op, *graph.ops[at + 1 :]))


def _with_expr(graph: Graph, at: int, place: int, dim: int, expr: IndexExpr) -> Graph:
    op = graph.ops[at]
    access = op.operands[place]
    exprs = (*access.exprs[:dim], expr, *access.exprs[dim + 1 :])
    operands = (*op.operands[:place], replace(access, exprs=exprs), *op.operands[place + 1 :])
    return _replaced(graph, at, replace(op, operands=operands))


CHANGES = (
    "attribute", "kind", "extent", "dtype", "shape", "axis kind", "coefficient", "offset", "divisor",
    "modulus", "source", "pad", "output", "operand",
)  # fmt: skip


@st.composite
def changes(draw: Draw, graph: Graph) -> Graph:
    """The Graph with one thing changed that a schedule depends on."""
    at = draw(st.integers(0, len(graph.ops) - 1))
    op = graph.ops[at]
    place = draw(st.integers(0, len(op.operands) - 1))
    access = op.operands[place]
    what = draw(st.sampled_from(CHANGES))
    if what == "attribute":
        return _replaced(graph, at, replace(op, attributes=(*op.attributes, ("more", 1))))
    if what == "kind":
        return _replaced(graph, at, replace(op, kind="sub" if op.kind == "add" else "add"))
    if what == "extent":
        assume(op.domain)
        axis = draw(st.integers(0, len(op.domain) - 1))
        domain = tuple(n + 1 if a == axis else n for a, n in enumerate(op.domain))
        return _replaced(graph, at, replace(op, domain=domain))
    if what in ("dtype", "shape"):
        value = draw(st.sampled_from([op.result, access.value]))
        kind = graph.values[value]
        changed = replace(kind, dtype=DType.F16) if what == "dtype" else replace(kind, shape=(*kind.shape, 1))
        return replace(graph, values=(*graph.values[:value], changed, *graph.values[value + 1 :]))
    if what == "axis kind":
        assume(op.axis_kinds)
        first = AxisKind.SCAN if op.axis_kinds[0] is AxisKind.PARALLEL else AxisKind.PARALLEL
        return _replaced(graph, at, replace(op, axis_kinds=(first, *op.axis_kinds[1:])))
    if what == "pad":
        pad = 0.0 if access.pad is None else None
        operands = (*op.operands[:place], replace(access, pad=pad), *op.operands[place + 1 :])
        return _replaced(graph, at, replace(op, operands=operands))
    if what == "output":
        inner = [o.result for o in graph.ops if o.result not in graph.outputs]
        assume(inner)
        return replace(graph, outputs=(*graph.outputs, draw(st.sampled_from(inner))))
    if what == "operand":
        assume(op.kind in ("sub", "contract") and op.operands[0] != op.operands[-1])
        return _replaced(graph, at, replace(op, operands=op.operands[::-1]))
    assume(access.exprs)
    dim = draw(st.integers(0, len(access.exprs) - 1))
    expr = access.exprs[dim]
    if what == "coefficient":
        assume(expr.terms)
        (axis, coefficient), *rest = expr.terms
        changed_expr = replace(expr, terms=((axis, coefficient + 1), *rest))
    elif what == "source":
        changed_expr = replace(expr, source=expr.source + 1)
    else:
        number: Any = getattr(expr, what)
        changed_expr = replace(expr, **{what: number + 1})
    return _with_expr(graph, at, place, dim, changed_expr)


@given(st.data())
def test_whatever_a_schedule_depends_on_changes_the_graph_digest(data: Any) -> None:
    graph, _ = data.draw(graphs())
    assert graph_digest(data.draw(changes(graph))) != graph_digest(graph)


@given(st.data())
def test_whatever_a_schedule_depends_on_changes_a_workload_digest(data: Any) -> None:
    """A kernel of all ops that lead to the first output, and of those ops changed."""
    graph, _ = data.draw(graphs())
    other = data.draw(changes(graph))
    assert _as_one_kernel(other) != _as_one_kernel(graph)


def _as_one_kernel(graph: Graph) -> list[str]:
    """Digests of single-op kernels and of the cone of each output, without placement."""
    found = []
    for output in graph.outputs:
        needed: set[int] = set()
        pending = [output]
        while pending:
            at = graph.producer.get(pending.pop())
            if at is not None and at not in needed:
                needed.add(at)
                pending.extend(access.value for access in graph.ops[at].operands)
        if needed:
            found.append(kernel_of(graph, sorted(needed), {}).workload.family_digest)
        found.append(str(output in graph.inputs))
    return found


@given(st.data())
def test_placement_changes_the_digest_and_not_the_family(data: Any) -> None:
    graph, _ = data.draw(graphs())
    group = data.draw(st.sampled_from(group_greedily(graph, FusionPolicy())))
    read = {access.value for index in group for access in graph.ops[index].operands}
    made = {graph.ops[index].result for index in group}
    value = data.draw(st.sampled_from(sorted((read - made) | set(stored_values(graph, group)))))
    far, near = (kernel_of(graph, group, {value: level}).workload for level in (Level.DRAM, Level.LLB))
    assert far.family_digest == near.family_digest
    assert far.digest != near.digest


def _doubled(shared: bool) -> Graph:
    """relu(x) + relu(x): computed once and read twice, or computed twice."""
    b = Builder(DType.F32, 0)
    x = b.input((4, 5))
    one = b.op("relu", (4, 5), (), (same(x, 2),))
    other = one if shared else b.op("relu", (4, 5), (), (same(x, 2),))
    total = b.op("add", (4, 5), (), (same(one, 2), same(other, 2)))
    return b.graph((total,))


def test_a_shared_value_and_a_recomputed_one_differ() -> None:
    shared, recomputed = _doubled(True), _doubled(False)
    assert graph_digest(shared) != graph_digest(recomputed)
    one, two = (kernel_of(g, range(len(g.ops)), {}).workload for g in (shared, recomputed))
    assert one.family_digest != two.family_digest


@given(st.data())
def test_computing_a_shared_value_again_changes_the_digest(data: Any) -> None:
    """Two more readers of any op's result, or one of it and one of a copy of it."""
    graph, _ = data.draw(graphs())
    made = data.draw(st.sampled_from(graph.ops))
    kind = graph.values[made.result]
    rank, first = made.rank, len(graph.values)

    def digest(ops: tuple[Op, ...], read: int) -> str:
        axes = (AxisKind.PARALLEL,) * rank
        readers = (
            Op("neg", graph.shape(made.result), axes, (same(made.result, rank),), first),
            Op("abs", graph.shape(made.result), axes, (same(read, rank),), first + 1),
        )
        values = (*graph.values, kind, kind, kind)
        outputs = (*graph.outputs, first, first + 1)
        return graph_digest(replace(graph, values=values, ops=(*ops, *readers), outputs=outputs))

    shared = digest(graph.ops, made.result)
    again = digest((*graph.ops, replace(made, result=first + 2)), first + 2)
    assert shared != again


def _pairs(swap_second: bool, swap_third: bool) -> Graph:
    """Two inputs alike in all but how three sums pair what is made of them."""
    b = Builder(DType.F32, 0)
    x, y = b.input((3, 4)), b.input((3, 4))
    c, d = b.input((3, 4)), b.input((3, 4))

    def of(kind: str, one: int, other: int) -> int:
        return b.op(kind, (3, 4), (), (same(one, 2), same(other, 2)))

    first = of("add", x, y)
    second = of("mul", d, c) if swap_second else of("mul", c, d)
    left, right = of("sub", x, c), of("sub", y, d)
    third = of("maximum", right, left) if swap_third else of("maximum", left, right)
    return b.graph((first, second, third))


def test_choices_between_symmetric_operands_hang_together() -> None:
    """x goes with c and y with d: whichever sum is visited first decides for the others."""
    digests = {graph_digest(_pairs(a, b)) for a in (False, True) for b in (False, True)}
    assert len(digests) == 1


def test_which_values_are_constant_changes_the_digest() -> None:
    graph = _doubled(True)
    constant = replace(graph, inputs=(), constants={0: np.zeros((4, 5))})
    assert graph_digest(constant) != graph_digest(graph)


def test_weights_and_names_stay_out() -> None:
    graph = replace(_doubled(True), inputs=(), constants={0: np.zeros((4, 5))})
    other = replace(graph, constants={0: np.ones((4, 5))}, names={0: "weights"})
    assert graph_digest(other) == graph_digest(graph)


def test_a_zero_point_stays_out_but_whether_it_is_zero_goes_in() -> None:
    def padded(pad: float) -> str:
        b = Builder(DType.I8, 0)
        access = Access(b.input((6,)), (IndexExpr(((0, 1),), -1),), pad)
        return graph_digest(b.graph((b.op("move", (8,), (), (access,)),)))

    assert padded(3) == padded(5) != padded(0)


_IN_ANOTHER_PROCESS = """
import json, sys
from tilewright.compiler_core.ir.graph_json import graph_from_json
from tilewright.compiler_core.ir.workload import graph_digest, kernel_of
for form in json.load(sys.stdin):
    graph = graph_from_json(form)
    print(graph_digest(graph), kernel_of(graph, [len(graph.ops) - 1], {}).workload.digest)
"""


def test_another_process_finds_the_same_digests() -> None:
    """Under other hash seeds, so that no order of a set or a dict gets in."""
    drawn = [_doubled(True), _pairs(False, True), *(make().graph for make in CASES.values())]
    forms = json.dumps([graph_to_json(graph) for graph in drawn])
    here = [
        f"{graph_digest(graph)} {kernel_of(graph, [len(graph.ops) - 1], {}).workload.digest}"
        for graph in drawn
    ]
    for seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", _IN_ANOTHER_PROCESS],
            input=forms,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split("\n")[:-1] == here


@given(graphs())
def test_a_recorded_graph_keeps_its_digest(drawn: tuple[Graph, Any]) -> None:
    graph = drawn[0]
    assert graph_digest(graph_from_json(graph_to_json(graph))) == graph_digest(graph)


def test_a_workload_numbers_itself_as_it_was_numbered() -> None:
    graph = _pairs(False, False)
    workload: Workload = kernel_of(graph, [2, 3, 4], {}).workload
    again = kernel_of(workload.graph, range(len(workload.graph.ops)), {}).workload
    assert again.family_digest == workload.family_digest
    assert axis_index(0) == workload.graph.ops[0].operands[0].exprs[0]
