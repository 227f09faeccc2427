"""Moving through down-sets of a flat graph: counts per tensor, live bytes, step bytes. Compiled."""

import numpy as np

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.flat import FlatGraph, Ints


@compiled
def step_bytes(flat: FlatGraph, kernel: int, touched: Ints) -> int:
    """Bytes that `kernel` adds while it runs, `touched` being the counts just before it."""
    for i in range(flat.maybe_start[kernel], flat.maybe_start[kernel + 1]):
        edge = flat.maybe_edge[i]
        if touched[edge] == flat.edge_total[edge] - 1:
            return 0
    if flat.maybe_start[kernel] == flat.maybe_start[kernel + 1]:
        return int(flat.floor_bytes[kernel])
    return int(flat.result_bytes[kernel])


@compiled
def move_delta(flat: FlatGraph, kernel: int, touched: Ints, step: int) -> int:
    """Change of live bytes when `kernel` enters (step 1) or leaves (step -1) the down-set."""
    delta = 0
    for i in range(flat.touch_start[kernel], flat.touch_start[kernel + 1]):
        edge = flat.touch_edge[i]
        count = touched[edge]
        total = flat.edge_total[edge]
        was = 0 < count < total
        now = 0 < count + step < total
        if now and not was:
            delta += flat.edge_bytes[edge]
        elif was and not now:
            delta -= flat.edge_bytes[edge]
    return delta


@compiled
def apply_move(flat: FlatGraph, kernel: int, touched: Ints, step: int) -> None:
    """Count `kernel` in (step 1) or out (step -1) of each tensor it touches."""
    for i in range(flat.touch_start[kernel], flat.touch_start[kernel + 1]):
        touched[flat.touch_edge[i]] += step


@compiled
def input_bytes(flat: FlatGraph) -> int:
    """Live bytes before any kernel ran."""
    live = 0
    for edge in range(flat.edge_bytes.shape[0]):
        if 0 < flat.edge_base[edge] < flat.edge_total[edge]:
            live += flat.edge_bytes[edge]
    return live


@compiled
def flat_profile(flat: FlatGraph, order: Ints) -> Ints:
    """Live bytes while each kernel of a topological `order` runs; equals kernel_graph.live_profile."""
    touched = flat.edge_base.copy()
    live = input_bytes(flat)
    profile = np.empty(order.shape[0], dtype=np.int64)
    for position in range(order.shape[0]):
        kernel = order[position]
        profile[position] = live + step_bytes(flat, kernel, touched)
        live += move_delta(flat, kernel, touched, 1)
        apply_move(flat, kernel, touched, 1)
    return profile


@compiled
def flat_peak(flat: FlatGraph, order: Ints) -> int:
    """Peak live bytes of a topological `order`; equals kernel_graph.peak_of."""
    peak = input_bytes(flat)
    touched = flat.edge_base.copy()
    live = peak
    for kernel in order:
        peak = max(peak, live + step_bytes(flat, kernel, touched))
        live += move_delta(flat, kernel, touched, 1)
        apply_move(flat, kernel, touched, 1)
    return peak
