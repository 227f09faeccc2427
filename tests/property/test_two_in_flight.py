"""Chains with two tiles in flight: the law, the verifier, the bound, and time skipped as if walked."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.random_chains import overlapped
from tests.property.test_law import targets
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.lowering.pipeline import compile_graph, schedule_of
from tilewright.compiler_core.lowering.program import KernelCall
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.cost_model.analytic import kernel_bound_cycles
from tilewright.measure.simulator.cores import slowest_core
from tilewright.measure.simulator.kernel import active_cores, simulate_kernel
from tilewright.measure.simulator.tables.flatten import Surroundings, flatten


@settings(max_examples=40)
@given(st.data())
def test_chains_compute_what_the_graph_means(data: Any) -> None:
    target = data.draw(targets())
    graph, inputs, plan, chosen = data.draw(overlapped(target))
    program = compile_graph(graph, schedule_of(plan, chosen), target, plan)
    assert verify_program(graph, program, target) == []
    meant = interpret(graph, inputs)
    for value, got in emulate(graph, program, inputs).items():
        np.testing.assert_array_equal(got, meant[value], err_msg=f"value {value}")


@settings(max_examples=40)
@given(st.data())
def test_chains_are_timed_above_their_bound_whether_walked_or_skipped(data: Any) -> None:
    target = data.draw(targets())
    graph, _, plan, chosen = data.draw(overlapped(target))
    for stage in compile_graph(graph, schedule_of(plan, chosen), target, plan).stages:
        for call in stage:
            assert isinstance(call, KernelCall)
            kernel = call.program
            assert simulate_kernel(kernel, target).cycles >= kernel_bound_cycles(kernel.workload, target)
            nest = flatten(kernel, target, Surroundings(active_cores(kernel), target.llb_bytes)).nest
            walked = [slowest_core(kernel.cores, nest, compress) for compress in (False, True)]
            assert walked[0][:2] == walked[1][:2]
            assert walked[0][2].tolist() == walked[1][2].tolist()
