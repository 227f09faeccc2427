"""A random network, grouped, laid out and tiled at random, is a library that computes what its kernels do."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.property.random_graphs import graphs
from tests.property.random_layouts import layouts
from tests.property.test_law import groupings
from tests.targets import simd_target
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.machine.native import host_machine, object_of
from tilewright.compiler_core.codegen.run import compile_kernel, run_program
from tilewright.compiler_core.ir.ops import OPS
from tilewright.compiler_core.library.made import NativeNetwork, native_network
from tilewright.compiler_core.library.manifest import MANIFEST, manifest_text
from tilewright.compiler_core.lowering.pipeline import compile_graph, plan_groups, schedule_of
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.runtime import load
from tilewright.search_space.blocking import blocking_of
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.moves import sample
from tilewright.search_space.programs import program_of
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

CASES = int(os.environ.get("LIBRARY_CASES", "0")) or 5


def saved(made: NativeNetwork, folder: Path) -> Path:
    (folder / MANIFEST).write_text(manifest_text({**made.facts, "files": made.write(folder)}))
    return folder


@given(st.data())
@settings(max_examples=CASES)
def test_a_library_computes_what_its_kernels_compute(data: Any) -> None:
    graph, inputs = data.draw(graphs(most_steps=6))
    machine = host_machine()
    target = simd_target(bits=machine.vector_bits, registers=machine.registers)
    plan = plan_groups(graph, data.draw(groupings(graph)), target, layouts=data.draw(layouts(graph)))
    assume(all(kernel is not None for kernel in plan.kernels))
    chosen, blockings, kernels = {}, {}, {}
    for digest, regions in plan.regions.items():
        space = kernel_space(KnobLayout(regions, target))
        rows = sample(space, 1, np.random.default_rng(data.draw(st.integers(0, 2**31))), attempts=8)
        assume(len(rows) == 1)
        config = space.decode(rows[0])
        chosen[digest] = tiling_of(config, regions)
        blocking = blocking_of(config, regions)
        if blocking is not None:
            blockings[digest] = blocking
        kernels[digest] = compile_kernel(
            nest_of(regions, program_of(regions, config, target), machine, blocking)
        )
    named = [[(f"v{value}", value) for value in side] for side in (graph.inputs, graph.outputs)]
    made = native_network("random", plan, kernels, (named[0], named[1]), machine, object_of)
    program = compile_graph(graph, schedule_of(plan, chosen), target, plan)
    wanted = run_program(graph, program, inputs, machine, blockings)
    meant = interpret(graph, inputs)
    given_ = {f"v{value}": inputs[value] for value in graph.inputs}
    with tempfile.TemporaryDirectory() as name:
        folder = saved(made, Path(name))
        for threads in (1, 2):
            got = load(folder, threads).run(given_)
            for value in graph.outputs:
                array = got[f"v{value}"]
                if value not in wanted:
                    np.testing.assert_array_equal(array, meant[value] if value in meant else inputs[value])
                    continue
                assert array.tobytes() == np.ascontiguousarray(wanted[value]).tobytes()
                exact = OPS[graph.ops[graph.producer[value]].kind].exact
                np.testing.assert_allclose(array, meant[value], rtol=0 if exact else 2e-6, atol=1e-37)
