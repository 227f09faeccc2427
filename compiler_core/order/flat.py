"""A kernel graph as flat arrays, for the compiled solvers.

A tensor is a hyperedge over its producer and its readers. Given the down-set D of kernels already run, it
is live when 0 < |edge in D| < total. A graph input counts as touched from the start (`base` 1), and a graph
output has one more member that never runs. So live(D) is a cut function, the same read forward and
backward, and submodular: the ground of the bounds and of the search's safe moves.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tilewright.compiler_core.order.kernel_graph import GRAPH_INPUT, KernelGraph

Ints = NDArray[np.int64]
Bytes8 = NDArray[np.int8]


class FlatGraph(NamedTuple):
    """CSR arrays (`*_start[i] : *_start[i + 1]` slices the payload); every array is int64."""

    kernels: int
    edge_start: Ints  # per tensor its member kernels, the producer first
    edge_kernel: Ints
    edge_bytes: Ints
    edge_base: Ints  # members touched before any kernel runs: 1 for a graph input
    edge_total: Ints
    edge_produced: Ints  # 1 when the first member is the producer
    touch_start: Ints  # per kernel the tensors it reads or writes
    touch_edge: Ints
    before_start: Ints  # per kernel its direct predecessors
    before: Ints
    after_start: Ints  # per kernel its direct successors
    after: Ints
    result_bytes: Ints
    floor_bytes: Ints  # step bytes that no order avoids: 0 where the kernel may run in place
    maybe_start: Ints  # per kernel the operands whose last reader it must be to run in place; none: settled
    maybe_edge: Ints


def flatten(graph: KernelGraph) -> FlatGraph:
    """The arrays of `graph`."""
    members: list[list[int]] = []
    totals: list[int] = []
    touches: list[list[int]] = [[] for _ in range(graph.kernels)]
    before: list[set[int]] = [set() for _ in range(graph.kernels)]
    after: list[set[int]] = [set() for _ in range(graph.kernels)]
    for index, tensor in enumerate(graph.tensors):
        produced = tensor.producer != GRAPH_INPUT
        edge = ([tensor.producer] if produced else []) + list(tensor.consumers)
        members.append(edge)
        unread_input = not produced and not tensor.consumers
        totals.append(len(edge) + (not produced) + (tensor.is_output or unread_input))
        for kernel in edge:
            touches[kernel].append(index)
        if produced:
            for reader in tensor.consumers:
                before[reader].add(tensor.producer)
                after[tensor.producer].add(reader)
    maybe: list[list[int]] = []
    floor = list(graph.result_bytes)
    for kernel in range(graph.kernels):
        options = graph.overwritable(kernel)
        sole_reader = any(len(graph.tensors[t].consumers) == 1 for t in options)
        maybe.append([] if sole_reader else list(options))
        if options:
            floor[kernel] = 0
    edge_start, edge_kernel = _csr(members)
    touch_start, touch_edge = _csr(touches)
    before_start, before_flat = _csr([sorted(each) for each in before])
    after_start, after_flat = _csr([sorted(each) for each in after])
    maybe_start, maybe_edge = _csr(maybe)
    return FlatGraph(
        kernels=graph.kernels,
        edge_start=edge_start,
        edge_kernel=edge_kernel,
        edge_bytes=_ints([tensor.bytes for tensor in graph.tensors]),
        edge_base=_ints([tensor.producer == GRAPH_INPUT for tensor in graph.tensors]),
        edge_total=_ints(totals),
        edge_produced=_ints([tensor.producer != GRAPH_INPUT for tensor in graph.tensors]),
        touch_start=touch_start,
        touch_edge=touch_edge,
        before_start=before_start,
        before=before_flat,
        after_start=after_start,
        after=after_flat,
        result_bytes=_ints(list(graph.result_bytes)),
        floor_bytes=_ints(floor),
        maybe_start=maybe_start,
        maybe_edge=maybe_edge,
    )


def _ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _csr(rows: list[list[int]]) -> tuple[Ints, Ints]:
    start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=start[1:])
    return start, np.array([value for row in rows for value in row], dtype=np.int64)
