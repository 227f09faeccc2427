"""Loops mean their steps, written out or not; a digest knows their body and not its order."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.property.random_graphs import P, R, S, same
from tests.targets import small_target
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import graph_digest
from tilewright.compiler_core.lowering.formats.program_json import program_from_json, program_to_json
from tilewright.compiler_core.lowering.pipeline import compile_graph, default_schedule, plan_graph
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.meaning.loops import MOST_PARTS, stays_a_loop, written_out

SCALARS = (TensorType((3,), DType.F32),)


def body(kinds: tuple[str, ...] = ("mul", "add", "neg"), backwards: bool = False) -> Graph:
    """state' = state * weight + element, and its negation collected."""
    product = Op(kinds[0], (3,), (P,), (same(0, 1), same(2, 1)), 3)
    total = Op(kinds[1], (3,), (P,), (same(3, 1), same(1, 1)), 4)
    shown = Op(kinds[2], (3,), (P,), (same(4, 1),), 5)
    aside = Op("abs", (3,), (P,), (same(1, 1),), 6)
    ops = (aside, product, total, shown) if backwards else (product, total, shown, aside)
    return Graph(SCALARS * 7, ops, (0, 1, 2), (4, 5, 6))


def network(inner: Graph, steps: int) -> Graph:
    """All three outputs of the loop over [steps, 3]."""
    whole = IndexExpr(source=0)
    operands = (Access(0, (whole,)), Access(1, (whole, whole)), Access(2, (whole,)))
    ops = tuple(
        Op(
            "loop",
            (3, steps) if output == 0 else (steps, 3),
            (P, R) if output == 0 else (S, P),
            operands,
            3 + output,
            (("carried", 1), ("conditional", 0), ("most_steps", 0), ("output", output), ("scanned", 1)),
            inner,
        )
        for output in range(3)
    )
    sequence = TensorType((steps, 3), DType.F32)
    values = (*SCALARS, sequence, *SCALARS, *SCALARS, sequence, sequence)
    return Graph(values, ops, (0, 1, 2), (3, 4, 5))


def fed(steps: int) -> dict[int, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(steps)
    shapes = ((3,), (steps, 3), (3,))
    return {value: rng.integers(-1, 2, shape).astype(np.float32) for value, shape in enumerate(shapes)}


@pytest.mark.parametrize("steps", [1, 5, 2 * MOST_PARTS + 1])
def test_written_out_is_the_same(steps: int) -> None:
    graph, inputs = network(body(), steps), fed(steps)
    state, collected, sizes = inputs[0], [], np.abs(inputs[1])
    for element in inputs[1]:
        state = state * inputs[2] + element
        collected.append(-state)
    plain = written_out(graph)
    assert not any(op.kind == "loop" for op in plain.ops)
    for known in (interpret(graph, inputs), interpret(plain, inputs)):
        np.testing.assert_array_equal(known[3], state)
        np.testing.assert_array_equal(known[4], np.stack(collected))
        np.testing.assert_array_equal(known[5], sizes)


def test_no_steps_leave_the_state_as_it_was() -> None:
    graph, inputs = network(body(), 0), fed(0)
    known = interpret(written_out(graph), inputs)
    np.testing.assert_array_equal(known[3], inputs[0])
    assert known[4].shape == (0, 3)


def test_a_long_loop_stays() -> None:
    graph = network(body(), 2000)
    assert written_out(graph) is graph
    assert all(stays_a_loop(op) for op in graph.ops)
    assert not any(stays_a_loop(op) for op in network(body(), 5).ops)


def test_a_loop_in_a_loop() -> None:
    """The inner loop's steps are the outer one's operands: both are written out."""
    whole = IndexExpr(source=0)
    inner = Op(
        "loop",
        (3, 4),
        (P, AxisKind.REDUCTION),
        (Access(0, (whole,)), Access(2, (whole, whole)), Access(3, (whole,))),
        4,
        (("carried", 1), ("conditional", 0), ("most_steps", 0), ("output", 0), ("scanned", 1)),
        replace(body(), outputs=(4,)),
    )
    again = Op("add", (3,), (P,), (same(4, 1), same(1, 1)), 5)
    matrix = TensorType((4, 3), DType.F32)
    outer_body = Graph((*SCALARS * 2, matrix, *SCALARS * 3), (inner, again), (0, 1, 2, 3), (5,))
    outer = Op(
        "loop",
        (3, 2),
        (P, AxisKind.REDUCTION),
        (Access(0, (whole,)), Access(1, (whole, whole)), Access(2, (whole, whole)), Access(3, (whole,))),
        4,
        (("carried", 1), ("conditional", 0), ("most_steps", 0), ("output", 0), ("scanned", 1)),
        outer_body,
    )
    pairs = TensorType((2, 3), DType.F32)
    graph = Graph((*SCALARS, pairs, matrix, *SCALARS * 2), (outer,), (0, 1, 2, 3), (4,))
    inputs = {
        value: np.random.default_rng(value).integers(-1, 2, graph.shape(value)).astype(np.float32)
        for value in graph.inputs
    }
    plain = written_out(graph)
    assert {op.kind for op in plain.ops} <= {"view", "mul", "add", "neg", "abs"}
    np.testing.assert_array_equal(interpret(plain, inputs)[4], interpret(graph, inputs)[4])


def test_steps_are_one_kernel_over_parts_of_the_sequence() -> None:
    """Ten steps or a hundred: the same few workloads, and the Program stores what the loop means."""
    target, digests = small_target(), []
    for steps in (10, 40):
        graph, inputs = written_out(network(body(), steps)), fed(steps)
        plan = plan_graph(graph, target)
        digests.append({digest for digest, r in plan.regions.items() if r.graph.ops[-1].kind != "concat"})
        program = compile_graph(graph, default_schedule(plan, target), target, plan)
        assert verify_program(graph, program, target) == []
        known = interpret(graph, inputs)
        for value, got in emulate(graph, program, inputs).items():
            np.testing.assert_array_equal(got, known[value])
        again = program_from_json(json.dumps(program_to_json(program, {})))
        for value, got in emulate(graph, again, inputs).items():
            np.testing.assert_array_equal(got, known[value])
    assert digests[0] == digests[1]
    assert len(digests[0]) < 10


def test_a_part_outside_its_whole_is_found() -> None:
    target = small_target()
    graph = written_out(network(body(), 10))
    plan = plan_graph(graph, target)
    program = compile_graph(graph, default_schedule(plan, target), target, plan)

    def moved(call: Any) -> Any:
        kernel = call.kernel
        beyond = dict.fromkeys(kernel.origins, (10,))
        return replace(call, kernel=replace(kernel, origins=beyond))

    stages = tuple(tuple(map(moved, stage)) for stage in program.stages)
    found = verify_program(graph, replace(program, stages=stages), target)
    assert {finding.rule for finding in found} == {"order respects data"}


def test_a_digest_knows_the_body() -> None:
    digests = {
        graph_digest(network(inner, 5))
        for inner in (body(), body(("mul", "sub", "neg")), body(("mul", "add", "abs")))
    }
    assert len(digests) == 3
    assert graph_digest(network(body(backwards=True), 5)) == graph_digest(network(body(), 5))
    assert graph_digest(network(body(), 6)) not in digests
