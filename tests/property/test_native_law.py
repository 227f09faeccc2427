"""The third leg of the law: machine code of any schedule computes what the graph means, bit for bit."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.property.random_graphs import graphs
from tests.property.random_layouts import layouts
from tests.property.test_law import groupings, schedules, targets
from tests.targets import simd_target
from tilewright.compiler_core.checking.emulate import Seen, run_call, run_kernel
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.codegen.run import run_program
from tilewright.compiler_core.ir.ops import OPS
from tilewright.compiler_core.lowering.pipeline import compile_graph, plan_groups, schedule_of
from tilewright.compiler_core.lowering.program import HostCall
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.measure.host.evaluator import NativeEvaluator
from tilewright.search_space.blocking import blocking_of
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

CASES = int(os.environ.get("LAW_CASES", "0")) or (
    2 * settings.default.max_examples if settings.default else 200
)
EXAMPLES = max(1, CASES // 3)
"""Cases of each of the three laws: 200 in all by default, LAW_CASES of `make law`."""


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_machine_code_computes_what_the_graph_means(data: Any) -> None:
    graph, inputs = data.draw(graphs(most_steps=4))
    target = data.draw(targets())
    plan, schedule = data.draw(schedules(graph, target))
    program = compile_graph(graph, schedule, target, plan)
    machine = host_machine(data.draw(st.sampled_from([0, 256, 128])))
    meant = interpret(graph, inputs)
    for value, got in run_program(graph, program, inputs, machine).items():
        kind = graph.ops[graph.producer[value]].kind
        if OPS[kind].exact:
            np.testing.assert_array_equal(got, meant[value], err_msg=f"value {value}, {kind}")
        else:
            np.testing.assert_allclose(got, meant[value], rtol=2e-6, atol=1e-37, err_msg=kind)


@pytest.fixture(scope="module")
def evaluator() -> Iterator[NativeEvaluator]:
    with NativeEvaluator() as made:
        yield made


@given(st.data())
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_tile_computes_machine_code_computes_too(evaluator: NativeEvaluator, data: Any) -> None:
    graph, inputs = data.draw(graphs(most_steps=4))
    target = data.draw(targets())
    plan, schedule = data.draw(schedules(graph, target))
    memory = dict(inputs)
    for call in (call for stage in compile_graph(graph, schedule, target, plan).stages for call in stage):
        if isinstance(call, HostCall):
            memory |= run_call(graph, call, memory)
            continue
        kernel, seen = call.kernel, dict[int, Seen]()
        known = {**graph.constants, **memory}
        operands = {v: kernel.part(v, known[kernel.values[v]]) for v in kernel.workload.graph.inputs}
        made = evaluator(call, operands)
        run_kernel(graph, call, memory, watched=seen)
        assert made is not None
        exact = all(OPS[op.kind].exact for op in kernel.workload.graph.ops)
        for op in kernel.workload.graph.ops:
            there = seen[kernel.values[op.result]]
            np.testing.assert_allclose(
                made[op.result][there.there],
                there.array[there.there],
                rtol=0 if exact else 2e-6,
                atol=0 if exact else 1e-37,
                err_msg=op.kind,
            )


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_every_config_of_a_simd_target_computes_what_the_kernel_means(data: Any) -> None:
    graph, inputs = data.draw(graphs(most_steps=3))
    machine = host_machine(data.draw(st.sampled_from([0, 256])))
    target = simd_target(bits=machine.vector_bits, registers=machine.registers)
    plan = plan_groups(graph, data.draw(groupings(graph)), target, layouts=data.draw(layouts(graph)))
    chosen, blockings = {}, {}
    for digest, regions in plan.regions.items():
        space = kernel_space(KnobLayout(regions, target))
        rows = sample(space, 1, np.random.default_rng(data.draw(st.integers(0, 2**31))), attempts=8)
        assume(len(rows) == 1)
        config = space.decode(rows[0])
        chosen[digest] = tiling_of(config, regions)
        blocking = blocking_of(config, regions)
        if blocking is not None:
            blockings[digest] = blocking
    program = compile_graph(graph, schedule_of(plan, chosen), target, plan)
    meant = interpret(graph, inputs)
    for value, got in run_program(graph, program, inputs, machine, blockings).items():
        kind = graph.ops[graph.producer[value]].kind
        np.testing.assert_allclose(got, meant[value], rtol=0 if OPS[kind].exact else 2e-6, err_msg=kind)
