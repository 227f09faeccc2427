"""A task's job for the child: images, buffers, calls, and the places of outputs."""

from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.codegen.places import Place
from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.library.calls import Call, buffer_name


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
    """Calls in order, their buffers by name, and the outputs to check: their layout, and their value. Buffers
    of different layouts have different names, so that a buffer may stay for the next job of its task.
    `host_ops_us` is what ops without structured form add, by the target's file: no call is one.
    `timed` is the same job on the data that it is timed on, where that is not the data it is checked on.
    """

    task: str
    calls: tuple[Call, ...]
    buffers: Mapping[str, Contents]
    outputs: Mapping[str, tuple[Place, int]]
    host_ops_us: float = 0.0
    timed: "HostJob | None" = None


def kernel_job(kernel: NativeKernel, given: Mapping[int, Array]) -> HostJob:
    """One kernel by itself, on `given` arrays by value."""
    nest: KernelNest = kernel.nest
    names = {
        value: buffer_name(value, place, arranged=value in nest.arranged)
        for value, place in nest.outer.items()
    }
    return HostJob(
        nest.regions.workload.digest,
        (Call(kernel, tuple((names[value], 0) for value in nest.outer)),),
        {names[value]: Contents(place.bytes, place, given.get(value)) for value, place in nest.outer.items()},
        {names[value]: (nest.outer[value], value) for value in nest.graph.outputs},
    )
