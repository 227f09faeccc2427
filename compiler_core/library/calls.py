"""A planned network as calls of native kernels over buffers: which value lies where, and in which layout."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.codegen.places import Place, laid_out
from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.workload import Kernel
from tilewright.compiler_core.lowering.pipeline import Plan


@dataclass(frozen=True)
class Call:
    """A kernel, and per operand the buffer's name and the byte in it that the operand begins at."""

    kernel: NativeKernel
    operands: tuple[tuple[str, int], ...]

    @property
    def results(self) -> tuple[str, ...]:
        """The buffers that it stores into."""
        nest = self.kernel.nest
        named = zip(nest.outer, self.operands, strict=True)
        return tuple(name for value, (name, _) in named if value in nest.graph.outputs)


@dataclass(frozen=True)
class NetworkBuffer:
    """A value of the plan's graph in memory, and how its elements lie there."""

    value: int
    place: Place


@dataclass(frozen=True)
class HostRun:
    """An op without structured form, by its position in the graph: it runs once `after` calls are made, on
    whole values in buffers by name.
    """

    op: int
    after: int
    operands: tuple[str, ...]
    result: str


@dataclass(frozen=True)
class NetworkCalls:
    """Calls in order, what the host runs between them, and their buffers by name. A value has a buffer for
    every layout it is read in.
    """

    calls: tuple[Call, ...]
    buffers: Mapping[str, NetworkBuffer]
    hosted: tuple[HostRun, ...] = ()

    @property
    def parts(self) -> tuple[range, ...]:
        """The calls between ops of the host: one range where there are none."""
        cuts = sorted({each.after for each in self.hosted})
        return tuple(map(range, [0, *cuts], [*cuts, len(self.calls)]))


def buffer_name(value: int, place: Place, *, arranged: bool) -> str:
    """The name of a value's buffer."""
    return f"{value}-{digest_of(str(place.pieces))[:12]}" if arranged else str(value)


def network_calls(plan: Plan, kernels: Mapping[str, NativeKernel]) -> NetworkCalls:
    """The kernels of a plan in order; `kernels` has their machine code by workload digest.

    An op without structured form is no call: the buffer of its result is the caller's to fill.
    """
    buffers: dict[str, NetworkBuffer] = {}
    calls: list[Call] = []
    hosted: list[HostRun] = []
    for stage in plan.stages:
        for placed in stage:
            kernel = plan.kernels[placed.group]
            if kernel is None:
                hosted.append(_host_run(plan, max(plan.groups[placed.group]), len(calls), buffers))
                continue
            native = kernels[kernel.workload.digest]
            operands = []
            for value, place in native.nest.outer.items():
                name, whole = _buffer(plan, kernel, value, place, native)
                buffers.setdefault(name, NetworkBuffer(kernel.values[value], whole))
                operands.append((name, _begins(kernel, value, whole)))
            calls.append(Call(native, tuple(operands)))
    return NetworkCalls(tuple(calls), buffers, tuple(hosted))


def _host_run(plan: Plan, at: int, after: int, buffers: dict[str, NetworkBuffer]) -> HostRun:
    op = plan.graph.ops[at]
    values = [*(access.value for access in op.operands), op.result]
    assert not {*values} & {*plan.layouts}, "a value that the host sees lies in the model's order"
    names = [name_of(plan, value) for value in values]
    for name, value in zip(names, values, strict=True):
        buffers.setdefault(name, NetworkBuffer(value, place_of(plan, value)))
    return HostRun(at, after, tuple(names[:-1]), names[-1])


def name_of(plan: Plan, value: int) -> str:
    """The name of the buffer of a value that a kernel stores, or the caller gives."""
    return buffer_name(value, place_of(plan, value), arranged=value in plan.layouts)


def place_of(plan: Plan, value: int) -> Place:
    """The layout and place of a value between kernels."""
    shape = plan.graph.shape(value)
    layout = plan.layouts.get(value) or Layout(tuple(range(len(shape))))
    return laid_out(plan.graph.values[value].dtype, shape, layout)


def _buffer(plan: Plan, kernel: Kernel, value: int, place: Place, native: NativeKernel) -> tuple[str, Place]:
    """The name of the buffer behind an operand, and how the whole value lies in it."""
    whole = kernel.values[value]
    if value in native.nest.arranged:
        return buffer_name(whole, place, arranged=True), place
    return name_of(plan, whole), place_of(plan, whole)


def _begins(kernel: Kernel, value: int, whole: Place) -> int:
    """The byte at which a kernel's part of a value begins."""
    origin: Mapping[int, tuple[int, ...]] = kernel.origins
    at = origin.get(value, ())
    strides = {piece.dim: piece.stride for piece in whole.pieces}
    return (
        int(np.sum([place * strides[dim] for dim, place in enumerate(at)], dtype=np.int64))
        * whole.dtype.bytes
    )
