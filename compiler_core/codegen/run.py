"""Run a Program by machine code: the native leg of the law."""

from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.compiler_core.checking.emulate import poison
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.emit import ENTRY, emit
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.execute import LoadedImage, aligned
from tilewright.compiler_core.codegen.machine.image import Image, flat_image
from tilewright.compiler_core.codegen.machine.native import object_of
from tilewright.compiler_core.codegen.nest import Blocking, KernelNest
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, Program
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.meaning.evaluate import Held, evaluate


@dataclass(frozen=True, eq=False)
class NativeKernel:
    """A kernel as an image, and its nest, which describes the places of operands."""

    nest: KernelNest
    image: Image


def compile_kernel(nest: KernelNest, level: int = 2) -> NativeKernel:
    """The machine code of a nest; ConfigError where it has none."""
    return NativeKernel(nest, flat_image(object_of(emit(nest), nest.machine, level)))


def run_kernel(kernel: NativeKernel, operands: Mapping[int, Array]) -> dict[int, Array]:
    """The arrays a kernel stores, from arrays of its inputs, by value of its workload."""
    nest = kernel.nest
    graph = nest.graph
    loaded = LoadedImage(kernel.image, ENTRY)
    held: dict[int, Array] = {}
    for value, place in nest.outer.items():
        shape = graph.shape(value)
        array = operands[value] if value in operands else poison(shape, place.dtype.numpy)
        flat = aligned(place.bytes).view(place.dtype.numpy)
        flat[:] = place.arranged(array)
        held[value] = flat
    scratch = aligned(nest.scratch[2])
    for core in range(nest.program.cores):
        tiles = nest.program.tiles_of(core)
        loaded.run(list(held.values()), scratch, tiles.start, tiles.stop)
    return {value: nest.outer[value].collected(held[value], graph.shape(value)) for value in graph.outputs}


def run_program(
    graph: Graph,
    program: Program,
    inputs: Mapping[int, Array],
    machine: Machine,
    blockings: Mapping[str, Blocking] | None = None,
    level: int = 2,
) -> dict[int, Array]:
    """Every value that `program` stores; see emulate. `blockings`: a choice by the digest of a Workload;
    `level`: see object_of.
    """
    memory: dict[int, Array] = {
        value: inputs[value].astype(graph.values[value].dtype.numpy, copy=False) for value in graph.inputs
    }
    made: dict[str, NativeKernel] = {}
    stored: dict[int, Array] = {}
    for stage in program.stages:
        for call in stage:
            if isinstance(call, HostCall):
                op = graph.ops[call.op]
                operands = [_array(graph, memory, access.value) for access in op.operands]
                held = [Held(array, (0,) * array.ndim, array.shape) for array in operands]
                box = [(0, extent) for extent in op.extents]
                memory[op.result] = evaluate(op, box, held, graph.values[op.result])
                stored[op.result] = memory[op.result]
            else:
                for value, array in _called(
                    graph, call, memory, machine, blockings or {}, made, level
                ).items():
                    memory[value] = stored[value] = array
    return stored


def _called(
    graph: Graph,
    call: KernelCall,
    memory: dict[int, Array],
    machine: Machine,
    blockings: Mapping[str, Blocking],
    made: dict[str, NativeKernel],
    level: int,
) -> dict[int, Array]:
    kernel, workload = call.kernel, call.kernel.workload
    digest = workload.digest
    key = f"{digest} {id(call.program)}"
    if key not in made:
        nest = nest_of(Regions(call.program.workload), call.program, machine, blockings.get(digest))
        made[key] = compile_kernel(nest, level)
    operands = {
        value: kernel.part(value, _array(graph, memory, kernel.values[value]))
        for value in workload.graph.inputs
    }
    return {kernel.values[value]: array for value, array in run_kernel(made[key], operands).items()}


def _array(graph: Graph, memory: Mapping[int, Array], value: int) -> Array:
    return memory[value] if value in memory else graph.constants[value]
