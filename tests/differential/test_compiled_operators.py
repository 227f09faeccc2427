"""The law of the house on fused operators: what the importer makes of them computes its meaning."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.compiler_core.onnx_import.against_onnxruntime import bindings
from tests.differential.case import drawn
from tests.differential.families import FAMILIES
from tests.onnx_models import saved
from tests.targets import small_target
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.verify import require_sound
from tilewright.compiler_core.lowering.pipeline import compile_graph, default_schedule, plan_graph
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.tuner.answer.check import random_inputs

CASES = 2


@pytest.mark.parametrize("name", FAMILIES)
def test_a_compiled_operator_computes_what_it_means(name: str) -> None:
    target = small_target(cores=2)
    for number in range(CASES):
        case = drawn(FAMILIES[name], name, 1, number)
        with tempfile.TemporaryDirectory() as folder:
            imported = import_model(saved(case.model, Path(folder)))
        graph = imported.graph.bound_to(bindings(imported, case.feeds))
        feeds = {value: case.feeds[given] for given, value in imported.inputs}
        plan = plan_graph(graph, target)
        program = compile_graph(graph, default_schedule(plan, target), target, plan)
        require_sound(graph, program, target)
        # Numbers that no run would feed as well: the compiled op must mean the same on any.
        for inputs in (feeds, random_inputs(graph, number)):
            computed, meant = emulate(graph, program, inputs), interpret(graph, inputs)
            for value in computed.keys() & set(graph.outputs):
                np.testing.assert_allclose(
                    computed[value].astype(np.float64),
                    meant[value].astype(np.float64),
                    rtol=1e-2 if graph.values[value].dtype.bytes < 4 else 1e-4,
                    atol=1e-4,
                )
