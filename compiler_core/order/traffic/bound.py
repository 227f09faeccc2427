"""A lower bound on the traffic of every order in a limited buffer: compulsory bytes, and bytes that cuts
force out.

While kernel v runs, the values between kernels that are live, v's results among them, exceed the capacity
by some bytes in every order (a minimum cut); each such byte is stored once and loaded once. Moments over
disjoint sets of values add up, so any partition of the values gives a bound: here the values written by a
stretch of kernels count as one part or as the parts of its halves, whichever is more.
"""

import numpy as np

from tilewright.compiler_core.order.flat import FlatGraph, Ints, flatten
from tilewright.compiler_core.order.flow import step_cut
from tilewright.compiler_core.order.kernel_graph import GRAPH_INPUT, KernelGraph
from tilewright.compiler_core.order.traffic.count import compulsory_bytes


def traffic_bound(graph: KernelGraph, capacity_bytes: int) -> int:
    """Bytes that no order moves less than in `capacity_bytes`."""
    forced = _forced(flatten(graph), _between(graph), 0, graph.kernels, capacity_bytes)
    return compulsory_bytes(graph) + 2 * forced


def _between(graph: KernelGraph) -> Ints:
    """Rows (tensor, bytes, writer, last reader) of the values between kernels, in the given order, [n, 4]."""
    rows = [
        (index, tensor.bytes, tensor.producer, tensor.consumers[-1])
        for index, tensor in enumerate(graph.tensors)
        if tensor.producer != GRAPH_INPUT and tensor.consumers and not tensor.is_output
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def _forced(flat: FlatGraph, values: Ints, first: int, last: int, capacity_bytes: int) -> int:
    """Bytes forced out among the values that kernels first .. last - 1 write."""
    part = values[(values[:, 2] >= first) & (values[:, 2] < last)]
    live = np.zeros(flat.kernels + 1, dtype=np.int64)
    np.add.at(live, part[:, 2], part[:, 1])
    np.add.at(live, part[:, 3] + 1, -part[:, 1])
    live = np.cumsum(live)  # in the given order; a cut is no higher than this
    if live.max() <= capacity_bytes:
        return 0
    sizes = np.zeros(flat.edge_bytes.shape[0], dtype=np.int64)
    sizes[part[:, 0]] = part[:, 1]
    written = np.zeros(flat.kernels, dtype=np.int64)
    np.add.at(written, part[:, 2], part[:, 1])
    written[(flat.floor_bytes == 0) & (flat.result_bytes > 0)] = 0
    reduced = flat._replace(edge_bytes=sizes)
    most = 0
    for kernel in np.argsort(-live[:-1], kind="stable").tolist():
        if live[kernel] - capacity_bytes <= most:
            break
        cut = step_cut(reduced, kernel)[0] + int(written[kernel])
        most = max(most, cut - capacity_bytes)
    if last - first < 2:
        return most
    middle = (first + last) // 2
    halves = (_forced(flat, values, a, b, capacity_bytes) for a, b in ((first, middle), (middle, last)))
    return max(most, sum(halves))
