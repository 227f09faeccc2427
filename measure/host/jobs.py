"""What a child is asked to run for a task: images, buffers, calls, and the numbers that must come out."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.codegen.places import Place
from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.interpret import interpret

SMALL = 3
RELATIVE_TOLERANCE = 1e-4
"""Of the largest element of a value, where numbers are not exact whatever the order."""


@dataclass(frozen=True)
class Call:
    """A kernel, and per operand the buffer's name and the byte in it that the operand begins at."""

    kernel: NativeKernel
    operands: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Contents:
    """A buffer: its size in bytes, how its elements lie, and what it holds at first (None: nothing yet)."""

    size: int
    place: Place
    array: Array | None

    def data(self) -> bytes:
        """The elements as they lie in the buffer."""
        return b"" if self.array is None else self.place.arranged(self.array).tobytes()


@dataclass(frozen=True)
class HostJob:
    """Calls in order, their buffers by name, and the outputs to look at: how they lie, which value they are.

    Names tell apart what is arranged in another way, so that a buffer may stay for the next job of its task.
    """

    task: str
    calls: tuple[Call, ...]
    buffers: Mapping[str, Contents]
    outputs: Mapping[str, tuple[Place, int]]


@dataclass(frozen=True, eq=False)
class Expected:
    """Data for the inputs of a graph, and what its outputs must be."""

    inputs: Mapping[int, Array]
    outputs: Mapping[int, Array]
    exact: bool

    def objection(self, value: int, got: Array) -> str:
        """Why a computed output is wrong; empty where it is not."""
        wanted = self.outputs[value]
        if self.exact:
            right = np.array_equal(got, wanted, equal_nan=wanted.dtype.kind == "f")
        else:
            largest = float(np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted)))
            room = RELATIVE_TOLERANCE * max(largest, 1.0)
            right = np.allclose(got, wanted, rtol=0.0, atol=room, equal_nan=True)
        return "" if right else f"output {value} differs from what the kernel means"


def expected_of(graph: Graph, seed: int, *, integers: bool) -> Expected:
    """Small integers where every op is exact on them, else floats that keep chains of ops in range."""
    rng = np.random.default_rng(seed)
    exact = integers and all(op.row.exact for op in graph.ops)
    given = {value: _data(graph, value, rng, exact=exact) for value in (*graph.inputs, *graph.constants)}
    bare = Graph(graph.values, graph.ops, graph.inputs, graph.outputs, {v: given[v] for v in graph.constants})
    with np.errstate(all="ignore"):
        outputs = interpret(bare, {value: given[value] for value in graph.inputs})
    return Expected(given, {value: outputs[value] for value in graph.outputs if value in outputs}, exact)


def _data(graph: Graph, value: int, rng: np.random.Generator, *, exact: bool) -> Array:
    shape, dtype = graph.shape(value), graph.values[value].dtype
    if not dtype.is_float:
        reads = [
            (graph.shape(access.value)[dim])
            for index in graph.readers.get(value, ())
            for access in graph.ops[index].operands
            for dim, expr in enumerate(access.exprs)
            if expr.source >= 0 and graph.ops[index].operands[expr.source].value == value
        ]
        low = 0 if reads or dtype is DType.BOOL or str(dtype).startswith("u") else -SMALL
        high = min([*reads, SMALL + 1]) if reads or exact else 2
        return np.asarray(rng.integers(low if exact or reads else 0, max(1, high), shape), dtype=dtype.numpy)
    if exact:
        return np.asarray(rng.integers(-SMALL, SMALL + 1, shape), dtype=dtype.numpy)
    readers = [graph.ops[index] for index in graph.readers.get(value, ())]
    if readers and all(op.row.contraction for op in readers):
        # Unit gain: sums stay as large as what they are made of.
        gain = (3.0 / max(1, prod(readers[0].extents[readers[0].rank :]))) ** 0.5
        return np.asarray(rng.uniform(-1.0, 1.0, shape) * gain, dtype=dtype.numpy)
    return np.asarray(rng.uniform(0.5, 1.5, shape), dtype=dtype.numpy)


def buffer_name(value: int, place: Place, *, arranged: bool) -> str:
    """The name of a value's buffer."""
    return f"{value}-{digest_of(str(place.pieces))[:12]}" if arranged else str(value)


def kernel_job(kernel: NativeKernel, expected: Expected) -> HostJob:
    """One kernel by itself."""
    nest: KernelNest = kernel.nest
    names = {
        value: buffer_name(value, place, arranged=value in nest.arranged)
        for value, place in nest.outer.items()
    }
    return HostJob(
        nest.regions.workload.digest,
        (Call(kernel, tuple((names[value], 0) for value in nest.outer)),),
        {
            names[value]: Contents(place.bytes, place, expected.inputs.get(value))
            for value, place in nest.outer.items()
        },
        {names[value]: (nest.outer[value], value) for value in nest.graph.outputs},
    )
