"""DRAM traffic of an order when the shared buffer holds only so many bytes, and what no order avoids.

Model: a tensor is resident or not, whole. Graph inputs start in DRAM. A kernel needs its operands and results
resident together; what is missing is loaded. What makes room is the resident tensor whose next use lies
farthest ahead (Belady 1966), stored first unless DRAM has it. Graph outputs are stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler_core.errors import UsageError
from compiler_core.order.flat import flatten
from compiler_core.order.flow import step_cut
from compiler_core.order.kernel_graph import GRAPH_INPUT, KernelGraph, live_profile


@dataclass(frozen=True)
class Traffic:
    """Bytes that cross the DRAM port; `compulsory_bytes` is what every order moves at any capacity."""

    load_bytes: int
    store_bytes: int
    compulsory_bytes: int

    @property
    def total_bytes(self) -> int:
        """Loads and stores."""
        return self.load_bytes + self.store_bytes


def compulsory_bytes(graph: KernelGraph) -> int:
    """Graph inputs that anyone reads, once; graph outputs that a kernel writes, once."""
    return sum(
        tensor.bytes
        for tensor in graph.tensors
        if (tensor.consumers if tensor.producer == GRAPH_INPUT else tensor.is_output)
    )


def traffic_bound(graph: KernelGraph, capacity_bytes: int) -> int:
    """Bytes that no order moves less than: the compulsory ones and what one kernel's cut forces out.

    Just before kernel v the values between kernels that are live, v's results and its graph inputs exceed the
    capacity by some bytes in every order (a minimum cut); as many were stored and are loaded again.
    """
    flat = flatten(graph)
    inner = [not (t.producer == GRAPH_INPUT or t.is_output) for t in graph.tensors]
    flat = flat._replace(edge_bytes=flat.edge_bytes * np.array(inner, dtype=np.int64))
    forced = 0
    for kernel in range(graph.kernels):
        beside = sum(graph.tensors[t].bytes for t in graph.operands[kernel] if not inner[t])
        need = step_cut(flat, kernel)[0] + int(flat.floor_bytes[kernel]) + beside
        forced = max(forced, need - capacity_bytes)
    return compulsory_bytes(graph) + 2 * forced


def traffic_of(graph: KernelGraph, order: Sequence[int], capacity_bytes: int) -> Traffic:
    """Traffic of `order` in `capacity_bytes`; UsageError when one kernel's operands and results do not fit.

    With room for the order's peak the traffic is compulsory. A kernel in place needs no room for its result.
    """
    live_profile(graph, order)
    step_of = {kernel: step for step, kernel in enumerate(order)}
    uses = [sorted((step_of[k] for k in tensor.consumers), reverse=True) for tensor in graph.tensors]
    in_dram = [tensor.producer == GRAPH_INPUT for tensor in graph.tensors]
    resident: dict[int, None] = {}
    used = loads = stores = 0

    def evict_for(size: int, pinned: set[int]) -> None:
        nonlocal used, stores
        while used + size > capacity_bytes:
            victims = [t for t in resident if t not in pinned]
            if not victims:
                raise UsageError(
                    f"kernel graph {graph.name}: kernel {kernel} does not fit {capacity_bytes} bytes; "
                    "give a larger capacity"
                )
            victim = max(victims, key=lambda t: (uses[t][-1] if uses[t] else graph.kernels, in_dram[t], t))
            if not in_dram[victim]:
                stores += graph.tensors[victim].bytes
                in_dram[victim] = True
            used -= graph.tensors[victim].bytes
            del resident[victim]

    for kernel in order:
        operands, results = set(graph.operands[kernel]), set(graph.results[kernel])
        for t in graph.operands[kernel]:
            if t not in resident:
                evict_for(graph.tensors[t].bytes, operands)
                loads += graph.tensors[t].bytes
                used += graph.tensors[t].bytes
                resident[t] = None
        in_place = any(len(uses[t]) == 1 for t in graph.overwritable(kernel))
        if not in_place:
            evict_for(graph.result_bytes[kernel], operands)
        for t in graph.operands[kernel]:
            uses[t].pop()
            if not uses[t] and (in_dram[t] or not graph.tensors[t].is_output):
                used -= graph.tensors[t].bytes
                del resident[t]
        for t in results:
            if uses[t] or graph.tensors[t].is_output:
                used += graph.tensors[t].bytes
                resident[t] = None
    stores += sum(graph.tensors[t].bytes for t in resident if graph.tensors[t].is_output and not in_dram[t])
    return Traffic(loads, stores, compulsory_bytes(graph))
