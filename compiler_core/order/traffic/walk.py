"""DRAM bytes of an order in a limited buffer, compiled: the model and the answers of `traffic.traffic_of`."""

from typing import NamedTuple

import numpy as np

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.flat import Bytes8, FlatGraph, Ints, flatten
from tilewright.compiler_core.order.kernel_graph import KernelGraph


class TrafficGraph(NamedTuple):
    """A flat graph with the tables for traffic; every array is int64."""

    flat: FlatGraph
    output: Ints  # per tensor 1 when it is a graph output
    over_start: Ints  # per kernel the operands that it may overwrite, should it be their last reader
    over_edge: Ints


def traffic_graph(graph: KernelGraph) -> TrafficGraph:
    """The arrays of `graph`."""
    options = [graph.overwritable(kernel) for kernel in range(graph.kernels)]
    start = np.zeros(graph.kernels + 1, dtype=np.int64)
    np.cumsum([len(each) for each in options], out=start[1:])
    return TrafficGraph(
        flatten(graph),
        np.array([tensor.is_output for tensor in graph.tensors], dtype=np.int64),
        start,
        np.array([t for each in options for t in each], dtype=np.int64),
    )


class _Buffer(NamedTuple):
    """The resident tensors: `held[: counts[0]]`, each tensor's place there (-1: none), room, bytes moved."""

    held: Ints
    place: Ints
    in_dram: Ints
    next_use: Ints  # index into the uses of each tensor
    pinned: Ints  # the last step at which each tensor must stay
    counts: Ints  # tensors held, room in bytes, bytes moved


@compiled
def _uses(flat: FlatGraph, order: Ints) -> Ints:
    """Per tensor the steps of its readers, ascending; laid out as `flat.edge_kernel` (producers stay)."""
    step_of = np.empty(order.shape[0], dtype=np.int64)
    for step in range(order.shape[0]):
        step_of[order[step]] = step
    uses = np.empty(flat.edge_kernel.shape[0], dtype=np.int64)
    for edge in range(flat.edge_bytes.shape[0]):
        begin = flat.edge_start[edge] + flat.edge_produced[edge]
        for i in range(begin, flat.edge_start[edge + 1]):
            step, at = step_of[flat.edge_kernel[i]], i
            while at > begin and uses[at - 1] > step:
                uses[at] = uses[at - 1]
                at -= 1
            uses[at] = step
    return uses


@compiled
def _drop(flat: FlatGraph, buffer: _Buffer, edge: int) -> None:
    buffer.counts[0] -= 1
    last = buffer.held[buffer.counts[0]]
    buffer.held[buffer.place[edge]] = last
    buffer.place[last] = buffer.place[edge]
    buffer.place[edge] = -1
    buffer.counts[1] += flat.edge_bytes[edge]


@compiled
def _hold(flat: FlatGraph, buffer: _Buffer, edge: int) -> None:
    buffer.held[buffer.counts[0]] = edge
    buffer.place[edge] = buffer.counts[0]
    buffer.counts[0] += 1
    buffer.counts[1] -= flat.edge_bytes[edge]


@compiled
def _admit(flat: FlatGraph, buffer: _Buffer, uses: Ints, newcomer: int, step: int) -> bool:
    """Makes `newcomer` resident if there is room, or room can be made of later uses alone."""
    size, use = flat.edge_bytes[newcomer], uses[buffer.next_use[newcomer]]
    if buffer.counts[1] < size:
        room = buffer.counts[1]
        for i in range(buffer.counts[0]):
            edge = buffer.held[i]
            if buffer.pinned[edge] != step and uses[buffer.next_use[edge]] > use:
                room += flat.edge_bytes[edge]
        if room < size:
            return False
    while buffer.counts[1] < size:
        victim, farthest = -1, use
        for i in range(buffer.counts[0]):
            edge = buffer.held[i]
            if buffer.pinned[edge] != step:
                ahead = uses[buffer.next_use[edge]]
                closer = ahead < farthest or (ahead == farthest and victim < 0)
                if not closer and (
                    ahead > farthest
                    or buffer.in_dram[edge] > buffer.in_dram[victim]
                    or (buffer.in_dram[edge] == buffer.in_dram[victim] and edge > victim)
                ):
                    victim, farthest = edge, ahead
        if not buffer.in_dram[victim]:
            buffer.counts[2] += flat.edge_bytes[victim]
            buffer.in_dram[victim] = 1
        _drop(flat, buffer, victim)
    _hold(flat, buffer, newcomer)
    return True


@compiled
def traffic_bytes(graph: TrafficGraph, order: Ints, streamed: Bytes8, capacity_bytes: int) -> int:
    """Bytes that a topological `order` moves across the DRAM port in `capacity_bytes`.

    `streamed[t]` is 1 for a tensor that is never resident.
    """
    flat = graph.flat
    tensors = flat.edge_bytes.shape[0]
    uses = _uses(flat, order)
    buffer = _Buffer(
        np.empty(tensors, dtype=np.int64),
        np.full(tensors, -1, dtype=np.int64),
        1 - flat.edge_produced,
        flat.edge_start[:-1] + flat.edge_produced,
        np.full(tensors, -1, dtype=np.int64),
        np.zeros(3, dtype=np.int64),
    )
    buffer.counts[1] = capacity_bytes
    newcomers = np.empty(tensors, dtype=np.int64)
    for step in range(order.shape[0]):
        kernel = order[step]
        # `host`: a resident operand that dies here and may be overwritten; results then take its room.
        host, count = -1, 0
        for i in range(graph.over_start[kernel], graph.over_start[kernel + 1]):
            edge = graph.over_edge[i]
            if (
                host < 0
                and buffer.place[edge] >= 0
                and buffer.next_use[edge] + 1 == flat.edge_start[edge + 1]
            ):
                host = edge
        for i in range(flat.touch_start[kernel], flat.touch_start[kernel + 1]):
            edge = flat.touch_edge[i]
            if flat.edge_produced[edge] and flat.edge_kernel[flat.edge_start[edge]] == kernel:
                if graph.output[edge]:
                    buffer.counts[2] += flat.edge_bytes[edge]
                    buffer.in_dram[edge] = 1
                buffer.pinned[edge] = step
                coming = host < 0 or streamed[edge] == 1
            else:
                buffer.next_use[edge] += 1
                coming = buffer.place[edge] < 0
                if coming:
                    buffer.counts[2] += flat.edge_bytes[edge]
                else:
                    buffer.pinned[edge] = step
            # Newcomers that are read again, by their next use: the nearest is admitted first.
            if coming and buffer.next_use[edge] < flat.edge_start[edge + 1]:
                at = count
                while at > 0:
                    other = newcomers[at - 1]
                    ahead, mine = uses[buffer.next_use[other]], uses[buffer.next_use[edge]]
                    if ahead < mine or (ahead == mine and other < edge):
                        break
                    newcomers[at] = other
                    at -= 1
                newcomers[at] = edge
                count += 1
        for i in range(count):
            edge = newcomers[i]
            admitted = not streamed[edge] and _admit(flat, buffer, uses, edge, step)
            # A result that finds no room is written to DRAM once; an operand is there already.
            if not admitted and not buffer.in_dram[edge]:
                buffer.counts[2] += flat.edge_bytes[edge]
                buffer.in_dram[edge] = 1
        for i in range(flat.touch_start[kernel], flat.touch_start[kernel + 1]):
            edge = flat.touch_edge[i]
            if buffer.next_use[edge] == flat.edge_start[edge + 1] and buffer.place[edge] >= 0:
                _drop(flat, buffer, edge)
        if host >= 0:
            for i in range(flat.touch_start[kernel], flat.touch_start[kernel + 1]):
                edge = flat.touch_edge[i]
                wrote = flat.edge_produced[edge] and flat.edge_kernel[flat.edge_start[edge]] == kernel
                if wrote and not streamed[edge] and buffer.next_use[edge] < flat.edge_start[edge + 1]:
                    _hold(flat, buffer, edge)
    return int(buffer.counts[2])
