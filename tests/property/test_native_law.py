"""The third leg of the law: machine code of any schedule computes what the graph means, bit for bit."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.random_graphs import graphs
from tests.property.test_law import schedules, targets
from tilewright.compiler_core.codegen.native import host_machine
from tilewright.compiler_core.codegen.run import run_program
from tilewright.compiler_core.ir.ops import OPS
from tilewright.compiler_core.lowering.pipeline import compile_graph
from tilewright.compiler_core.meaning.interpret import interpret


@given(st.data())
@settings(max_examples=40)
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
