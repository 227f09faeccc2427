"""The least live bytes over all down-sets between two fixed ones: a minimum cut, its side and its flow.

Network: one node per free kernel, one per tensor with several free readers. Tensor t of w bytes is an arc
producer -> t of capacity w and arcs t -> reader without limit; a reader that never runs (or a graph output)
turns the first arc to the sink. Every precedence is an arc reader -> producer without limit, so the source
side of a finite cut is a down-set, and its capacity is that down-set's live bytes (Picard 1976, closures).
Maximum flow by Dinic's algorithm.
"""

import numpy as np
from numpy.typing import NDArray

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.flat import Bytes8, FlatGraph, Ints

UNLIMITED = 1 << 60
INSIDE = 1
OUTSIDE = -1
NO_KERNEL = -1
NO_TENSOR = -1
_SOURCE = 0
_SINK = 1


@compiled
def _add_arc(
    head: Ints,
    arcs: tuple[Ints, Ints, Ints],
    count: int,
    tail: int,
    tip: int,
    capacity: int,
) -> int:
    """Adds tail -> tip and its reverse; returns the new arc count. `arcs` = (tip, next arc, residual)."""
    arc_tip, arc_next, residual = arcs
    arc_tip[count], arc_next[count], residual[count] = tip, head[tail], capacity
    head[tail] = count
    arc_tip[count + 1], arc_next[count + 1], residual[count + 1] = tail, head[tip], 0
    head[tip] = count + 1
    return count + 2


@compiled
def _levels(head: Ints, arcs: tuple[Ints, Ints, Ints], queue: Ints) -> Ints:
    """Breadth-first distance from the source over arcs with residual capacity; -1 where out of reach."""
    arc_tip, arc_next, residual = arcs
    level = np.full(head.shape[0], -1, dtype=np.int64)
    level[_SOURCE] = 0
    queue[0] = _SOURCE
    first, last = 0, 1
    while first < last:
        node = queue[first]
        first += 1
        arc = head[node]
        while arc >= 0:
            tip = arc_tip[arc]
            if residual[arc] > 0 and level[tip] < 0:
                level[tip] = level[node] + 1
                queue[last] = tip
                last += 1
            arc = arc_next[arc]
    return level


@compiled
def _blocking_flow(head: Ints, arcs: tuple[Ints, Ints, Ints], level: Ints, path: Ints, enough: int) -> int:
    """Sends flow along shortest paths until none is left, or `enough` got through; returns what was sent."""
    arc_tip, arc_next, residual = arcs
    current = head.copy()
    sent, depth, node = 0, 0, _SOURCE
    while True:
        if node == _SINK:
            push = enough - sent
            for i in range(depth):
                push = min(push, residual[path[i]])
            for i in range(depth):
                residual[path[i]] -= push
                residual[path[i] ^ 1] += push
            sent += push
            if sent == enough:
                break
            for i in range(depth):
                if residual[path[i]] == 0:
                    depth = i
                    break
            node = arc_tip[path[depth] ^ 1]
            continue
        arc = current[node]
        while arc >= 0 and not (residual[arc] > 0 and level[arc_tip[arc]] == level[node] + 1):
            arc = arc_next[arc]
        current[node] = arc
        if arc >= 0:
            path[depth] = arc
            depth += 1
            node = arc_tip[arc]
        elif depth == 0:
            break
        else:
            depth -= 1
            node = arc_tip[path[depth] ^ 1]
            current[node] = arc_next[current[node]]
    return sent


@compiled
def min_cut(flat: FlatGraph, side: Bytes8, enough: int) -> tuple[int, Bytes8, NDArray[np.int64]]:
    """Least live bytes over down-sets that contain all INSIDE kernels and no OUTSIDE one.

    `side` (int8 per kernel: INSIDE, OUTSIDE or 0, free) must be closed: predecessors of INSIDE are INSIDE,
    successors of OUTSIDE are OUTSIDE. The flow stops at `enough`. Returns (flow value, the smallest minimal
    down-set as INSIDE/OUTSIDE - meaningless after such a stop - and the flow as rows (tensor, from kernel,
    to kernel, bytes), as witness.flow_rows describes them).
    """
    free = np.flatnonzero(side == 0)
    return cut_among(flat, side, free, np.arange(flat.edge_bytes.shape[0]), enough)


@compiled
def cut_among(
    flat: FlatGraph, side: Bytes8, free: Ints, edges: Ints, enough: int
) -> tuple[int, Bytes8, NDArray[np.int64]]:
    """min_cut that counts only the tensors `edges`, among them all that touch the `free` kernels."""
    node_of = np.full(flat.kernels, -1, dtype=np.int64)
    nodes, arcs_bound = 2, 0
    for kernel in free:
        node_of[kernel] = nodes
        nodes += 1
        arcs_bound += flat.before_start[kernel + 1] - flat.before_start[kernel]
        arcs_bound += 2 * (flat.touch_start[kernel + 1] - flat.touch_start[kernel])
    head = np.full(nodes + edges.shape[0], -1, dtype=np.int64)
    arcs = (
        np.empty(2 * arcs_bound, dtype=np.int64),
        np.empty(2 * arcs_bound, dtype=np.int64),
        np.empty(2 * arcs_bound, dtype=np.int64),
    )
    label = np.empty((arcs_bound, 3), dtype=np.int64)
    fixed = np.empty((edges.shape[0], 4), dtype=np.int64)
    fixed_count, count, value = 0, 0, 0
    for edge in edges:
        first, end = flat.edge_start[edge], flat.edge_start[edge + 1]
        size, total = flat.edge_bytes[edge], flat.edge_total[edge]
        base = flat.edge_base[edge]
        if size == 0 or total < 2:
            continue  # never live between two kernels
        producer = flat.edge_kernel[first] if flat.edge_produced[edge] else NO_KERNEL
        if producer != NO_KERNEL and side[producer] == OUTSIDE:
            continue
        tail = _SOURCE if producer == NO_KERNEL or side[producer] == INSIDE else node_of[producer]
        readers = first + flat.edge_produced[edge]
        # Stuck: live to the end, or read by a kernel outside, so live whenever its producer has run.
        stuck = total > end - first + base
        stuck_reader, free_readers, free_reader = NO_KERNEL, 0, NO_KERNEL
        for i in range(readers, end):
            reader = flat.edge_kernel[i]
            if side[reader] == OUTSIDE:
                stuck, stuck_reader = True, reader
            elif side[reader] == 0:
                free_readers += 1
                free_reader = reader
        if stuck and tail == _SOURCE:
            # Live in every down-set: a fixed part of the flow, which needs no arc.
            sent = min(size, enough - value)
            if sent > 0:
                fixed[fixed_count] = (edge, producer, stuck_reader, sent)
                fixed_count += 1
                value += sent
        elif stuck:
            label[count // 2] = (edge, producer, stuck_reader)
            count = _add_arc(head, arcs, count, tail, _SINK, size)
        elif free_readers == 1:
            # With one reader the tensor is an arc; with several it is a node, so that its bytes count once.
            label[count // 2] = (edge, producer, free_reader)
            count = _add_arc(head, arcs, count, tail, node_of[free_reader], size)
        elif free_readers > 1:
            label[count // 2] = (NO_TENSOR, NO_KERNEL, NO_KERNEL)
            count = _add_arc(head, arcs, count, tail, nodes, size)
            for i in range(readers, end):
                reader = flat.edge_kernel[i]
                if side[reader] == 0:
                    label[count // 2] = (edge, producer, reader)
                    count = _add_arc(head, arcs, count, nodes, node_of[reader], UNLIMITED)
            nodes += 1
    # A down-set holds the predecessors of its kernels: arcs backward that no cut can afford.
    for kernel in free:
        for i in range(flat.before_start[kernel], flat.before_start[kernel + 1]):
            if side[flat.before[i]] == 0:
                label[count // 2] = (NO_TENSOR, kernel, flat.before[i])
                count = _add_arc(head, arcs, count, node_of[kernel], node_of[flat.before[i]], UNLIMITED)
    head = head[:nodes]
    queue = np.empty(nodes, dtype=np.int64)
    path = np.empty(nodes, dtype=np.int64)
    level = _levels(head, arcs, queue)
    while level[_SINK] >= 0 and value < enough:
        value += _blocking_flow(head, arcs, level, path, enough - value)
        level = _levels(head, arcs, queue)
    # The source's side of the residual network is the least cut.
    result = side.copy()
    for kernel in free:
        result[kernel] = INSIDE if level[node_of[kernel]] >= 0 else OUTSIDE
    rows = np.empty((fixed_count + count // 2, 4), dtype=np.int64)
    rows[:fixed_count] = fixed[:fixed_count]
    used = fixed_count
    for arc in range(0, count, 2):
        through = arcs[2][arc + 1]
        if through > 0 and (label[arc // 2, 0] != NO_TENSOR or label[arc // 2, 1] != NO_KERNEL):
            rows[used, :3] = label[arc // 2]
            rows[used, 3] = through
            used += 1
    return value, result, rows[:used]


@compiled
def mark_ancestors(flat: FlatGraph, kernel: int, side: Bytes8) -> None:
    """Sets every proper ancestor of `kernel` INSIDE."""
    stack = np.empty(flat.kernels, dtype=np.int64)
    stack[0] = kernel
    depth = 1
    while depth > 0:
        depth -= 1
        for i in range(flat.before_start[stack[depth]], flat.before_start[stack[depth] + 1]):
            other = flat.before[i]
            if side[other] != INSIDE:
                side[other] = INSIDE
                stack[depth] = other
                depth += 1


@compiled
def mark_descendants(flat: FlatGraph, kernel: int, side: Bytes8) -> None:
    """Sets `kernel` and every descendant OUTSIDE."""
    stack = np.empty(flat.kernels, dtype=np.int64)
    stack[0] = kernel
    side[kernel] = OUTSIDE
    depth = 1
    while depth > 0:
        depth -= 1
        for i in range(flat.after_start[stack[depth]], flat.after_start[stack[depth] + 1]):
            other = flat.after[i]
            if side[other] != OUTSIDE:
                side[other] = OUTSIDE
                stack[depth] = other
                depth += 1


@compiled
def step_cut(flat: FlatGraph, kernel: int) -> tuple[int, Bytes8, NDArray[np.int64]]:
    """min_cut over the down-sets just before `kernel`: its predecessors inside, itself outside."""
    side = np.zeros(flat.kernels, dtype=np.int8)
    mark_ancestors(flat, kernel, side)
    mark_descendants(flat, kernel, side)
    return min_cut(flat, side, UNLIMITED)
