"""The kernel graph: a network for ordering and allocation, and the cost of an order.

A kernel reads tensors and writes tensors; a tensor is bytes that stay live from its producer to its last
reader. Semantics (those of the reference tables):

- all graph inputs are live at the start; one that nobody reads stays live to the end;
- while kernel k runs, live bytes = live + (0 if it runs in place, else the bytes of its outputs);
- afterwards operands with no further reader are freed, and results that nobody will read vanish;
  a graph output stays live once written;
- kernel k runs in place when `in_place[k]` is set and an operand at least as large as its results, itself
  no graph output, has k as its last reader.

This file is the oracle: plain Python, one obvious loop. The solvers work on
`tilewright.compiler_core.order.flat`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from tilewright.compiler_core.errors import ModelError, UsageError

GRAPH_INPUT = -1


@dataclass(frozen=True)
class KernelTensor:
    """Bytes written by kernel `producer` (GRAPH_INPUT: there from the start) and read by `consumers`."""

    bytes: int
    producer: int
    consumers: tuple[int, ...]
    is_output: bool = False


@dataclass(frozen=True)
class KernelGraph:
    """Kernels 0..kernels-1, numbered in a topological order (the given order), and their tensors.

    Raises ModelError when an index is out of range, a size is negative, or a reader precedes its producer.
    """

    name: str
    kernels: int
    tensors: tuple[KernelTensor, ...]
    in_place: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.in_place) != self.kernels:
            raise ModelError(
                f"kernel graph {self.name}: {len(self.in_place)} in_place flags for {self.kernels} kernels; "
                "give one each"
            )
        for index, tensor in enumerate(self.tensors):
            readers = tensor.consumers
            if (
                tensor.bytes < 0
                or not GRAPH_INPUT <= tensor.producer < self.kernels
                or any(not tensor.producer < reader < self.kernels for reader in readers)
                or any(a >= b for a, b in pairwise(readers))
            ):
                raise ModelError(
                    f"kernel graph {self.name}, tensor {index}: needs bytes >= 0 and distinct readers in "
                    "ascending order after its producer, all below the kernel count"
                )

    @cached_property
    def operands(self) -> tuple[tuple[int, ...], ...]:
        """Per kernel the tensors it reads."""
        reads: list[list[int]] = [[] for _ in range(self.kernels)]
        for index, tensor in enumerate(self.tensors):
            for reader in tensor.consumers:
                reads[reader].append(index)
        return tuple(map(tuple, reads))

    @cached_property
    def results(self) -> tuple[tuple[int, ...], ...]:
        """Per kernel the tensors it writes."""
        writes: list[list[int]] = [[] for _ in range(self.kernels)]
        for index, tensor in enumerate(self.tensors):
            if tensor.producer != GRAPH_INPUT:
                writes[tensor.producer].append(index)
        return tuple(map(tuple, writes))

    @cached_property
    def result_bytes(self) -> tuple[int, ...]:
        """Per kernel the bytes it writes."""
        return tuple(sum(self.tensors[t].bytes for t in results) for results in self.results)

    def overwritable(self, kernel: int) -> tuple[int, ...]:
        """Operands that `kernel` may overwrite, should it be their last reader."""
        if not self.in_place[kernel]:
            return ()
        need = self.result_bytes[kernel]
        inner = (t for t in self.operands[kernel] if not self.tensors[t].is_output)
        return tuple(t for t in inner if self.tensors[t].bytes >= need)


def kernel_graph_from_json(data: Mapping[str, Any]) -> KernelGraph:
    """The graph of a reference file: name, nodes, tensors (bytes, producer, output, consumers), in_place."""
    try:
        return KernelGraph(
            name=str(data["name"]),
            kernels=int(data["nodes"]),
            tensors=tuple(
                KernelTensor(
                    bytes=int(tensor["bytes"]),
                    producer=int(tensor["producer"]),
                    consumers=tuple(sorted({int(reader) for reader in tensor["consumers"]})),
                    is_output=bool(tensor["output"]),
                )
                for tensor in data["tensors"]
            ),
            in_place=tuple(bool(flag) for flag in data["in_place"]),
        )
    except (KeyError, TypeError, ValueError) as reason:
        raise ModelError(
            f"kernel graph file: {reason!r}; it needs the keys name, nodes, tensors and in_place"
        ) from reason


def live_profile(graph: KernelGraph, order: Sequence[int]) -> tuple[int, ...]:
    """Live bytes while each kernel of `order` runs. UsageError when `order` is not a topological order."""
    if sorted(order) != list(range(graph.kernels)):
        raise UsageError(f"kernel graph {graph.name}: an order names each of {graph.kernels} kernels once")
    readers_left = [len(tensor.consumers) for tensor in graph.tensors]
    written = [tensor.producer == GRAPH_INPUT for tensor in graph.tensors]
    live = sum(tensor.bytes for tensor in graph.tensors if tensor.producer == GRAPH_INPUT)
    profile = []
    for kernel in order:
        for t in graph.operands[kernel]:
            if not written[t]:
                raise UsageError(
                    f"kernel graph {graph.name}: the order runs kernel {kernel} before kernel "
                    f"{graph.tensors[t].producer}, whose result it reads"
                )
        in_place = any(readers_left[t] == 1 for t in graph.overwritable(kernel))
        profile.append(live if in_place else live + graph.result_bytes[kernel])
        for t in graph.results[kernel]:
            written[t] = True
            if graph.tensors[t].consumers or graph.tensors[t].is_output:
                live += graph.tensors[t].bytes
        for t in graph.operands[kernel]:
            readers_left[t] -= 1
            if readers_left[t] == 0 and not graph.tensors[t].is_output:
                live -= graph.tensors[t].bytes
    return tuple(profile)


def peak_of(graph: KernelGraph, order: Sequence[int]) -> int:
    """Peak live bytes of `order`; that of a graph without kernels is its inputs."""
    inputs = sum(tensor.bytes for tensor in graph.tensors if tensor.producer == GRAPH_INPUT)
    return max(live_profile(graph, order), default=inputs)
