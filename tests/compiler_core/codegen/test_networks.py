"""Machine code beside what a graph means, on fixed networks and on fixed kernels with fixed register blocks.

Code is made in haste and runs in this process, so that a fault of the generator shows within milliseconds.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from benchmarks.host.kernels import convolution, layer_norm, product, softmax, transpose
from tests.small_networks import CASES
from tests.targets import simd_target
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.codegen.run import compile_kernel, run_kernel, run_program
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.ops import OPS
from tilewright.compiler_core.ir.workload import Level, Workload, kernel_of
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.measure.host.burst import burst_image
from tilewright.search_space.blocking import blocking_of
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

MACHINES = {"widest": 0, "narrow": 128}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_network_computes_what_its_graph_means(name: str, machine: str) -> None:
    case = CASES[name]()
    meant = interpret(case.graph, case.inputs)
    made = run_program(case.graph, case.compile(), case.inputs, host_machine(MACHINES[machine]), level=0)
    for value, got in made.items():
        np.testing.assert_array_equal(got, meant[value])


KERNELS: Mapping[str, ModelProto] = {
    "padded window": convolution(5, 9, 9, 7, 3),
    "strided window": convolution(3, 11, 11, 20, 5, 2),
    "window of one": convolution(24, 6, 6, 33, 1),
    "groups": convolution(12, 7, 7, 8, 3, 1, 4),
    "depthwise": convolution(20, 9, 9, 20, 3, 2, 20),
    "product": product(13, 37, 19),
    "row by matrix": product(1, 40, 33),
    "transpose": transpose((1, 19, 5, 7), (0, 2, 3, 1)),
    "softmax": softmax(5, 21),
    "layer norm": layer_norm(6, 35),
}
LAYOUTS = {"plain": None, "channels last": Layout((0, 2, 3, 1)), "in blocks": Layout((0, 1, 2, 3), 1, 4)}
LAYOUTS_OF = {
    "padded window": ("plain", "channels last"),
    "strided window": tuple(LAYOUTS),
    "window of one": tuple(LAYOUTS),
    "groups": tuple(LAYOUTS),
    "depthwise": tuple(LAYOUTS),
    "transpose": ("plain", "channels last"),
}
"""Of kernels of four dims: those that fit one of their values."""
DRAWN = 1


@cache
def workload_of(name: str, layout: str) -> Workload:
    """A kernel with its outer values of four dims in a layout, where that fits."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.onnx"
        onnx.save(KERNELS[name], path)
        graph = import_model(path).graph
    workload = kernel_of(graph, range(len(graph.ops)), {}).workload
    laid = LAYOUTS[layout]
    if laid is None:
        return workload
    values = [value for value in workload.outer if workload.level_of(value) is not Level.CONSTANT]
    return workload.laid({value: laid for value in values if laid.fits(workload.graph.shape(value))})


FITTING = [
    (name, layout) for name in KERNELS for layout in LAYOUTS if layout in LAYOUTS_OF.get(name, ("plain",))
]


@pytest.mark.parametrize(("name", "layout"), FITTING)
def test_a_kernel_computes_the_same_in_its_register_blocks(name: str, layout: str) -> None:
    workload = workload_of(name, layout)
    assert LAYOUTS[layout] is None or workload.layouts
    regions, rng = Regions(workload), np.random.default_rng(len(name))
    graph = workload.graph
    given = {value: rng.integers(-3, 4, graph.shape(value)).astype(np.float32) for value in graph.inputs}
    meant = interpret(graph, given)
    exact = all(OPS[op.kind].exact for op in graph.ops)
    for bits in (0, 128):
        machine = host_machine(bits)
        target = simd_target(bits=machine.vector_bits, registers=machine.registers)
        space = kernel_space(KnobLayout(regions, target))
        for row in sample(space, DRAWN, rng, attempts=64):
            config = space.decode(row)
            program = lower_kernel(regions, *tiling_of(config, regions), target)
            kernel = compile_kernel(nest_of(regions, program, machine, blocking_of(config, regions)), level=0)
            for value, got in run_kernel(kernel, given).items():
                np.testing.assert_allclose(
                    got,
                    meant[value],
                    rtol=0 if exact else 5e-6,
                    atol=0 if exact else 1e-5,
                    err_msg=str(config),
                )


@pytest.mark.parametrize(("cpu", "bits"), [("sandybridge", 256), ("x86-64", 128)])
def test_a_cpu_without_fused_products_has_kernels(cpu: str, bits: int) -> None:
    """Also the one that a virtual machine shows which knows nothing of its host."""
    triple = host_machine().triple
    if not triple.startswith("x86_64"):
        pytest.skip("x86-64 only")
    machine = Machine(triple, cpu, "-fma", bits, registers=16)
    assert not machine.fuses
    assert burst_image(machine).entries
    regions = Regions(workload_of("softmax", "plain"))
    graph, target = regions.graph, simd_target(bits=bits, registers=16)
    given = {value: np.ones(graph.shape(value), np.float32) for value in graph.inputs}
    space = kernel_space(KnobLayout(regions, target))
    config = space.decode(sample(space, 1, np.random.default_rng(0))[0])
    program = lower_kernel(regions, *tiling_of(config, regions), target)
    kernel = compile_kernel(nest_of(regions, program, machine, blocking_of(config, regions)), level=0)
    for value, got in run_kernel(kernel, given).items():
        np.testing.assert_allclose(got, interpret(graph, given)[value], rtol=1e-6)
