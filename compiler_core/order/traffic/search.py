"""The order that moves the fewest DRAM bytes in a limited buffer: list schedules, then local moves.

Candidates are the given order, the named list schedules, and schedules of randomly drawn weights. From the
best of them, a kernel or a short run of kernels moves to another place where its operands are ready and its
results not yet needed, or a tensor is barred from the buffer or let in again; a move that costs a little is
sometimes kept (simulated annealing, Kirkpatrick 1983). The answer is never worse than the given order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.flat import Bytes8, FlatGraph, Ints
from tilewright.compiler_core.order.kernel_graph import KernelGraph
from tilewright.compiler_core.order.portfolio import POLICIES, ListWeights, list_order
from tilewright.compiler_core.order.traffic.count import compulsory_bytes
from tilewright.compiler_core.order.traffic.walk import TrafficGraph, traffic_bytes, traffic_graph

Floats = NDArray[np.float64]
_LONGEST_RUN = 16
_BARRING = 0.2
"""Share of the moves that bar a tensor or let it in."""
_RESTARTS = 3
_WARMTH = 0.003
"""Share of the bytes above the compulsory ones that a move may cost at first."""


@dataclass(frozen=True)
class TrafficBudget:
    """Work, not time, so that results repeat: list schedules of drawn weights, local moves tried."""

    schedules: int = 64
    moves: int = 60_000


@dataclass(frozen=True)
class TrafficPlan:
    """An order and the DRAM bytes that it and the given order 0, 1, 2... move in `capacity_bytes`.

    `streamed` are the tensors that the order never holds in the buffer.
    """

    order: tuple[int, ...]
    streamed: tuple[int, ...]
    total_bytes: int
    given_bytes: int
    capacity_bytes: int

    @property
    def saved(self) -> float:
        """Share of the given order's DRAM bytes that is saved."""
        return 1 - self.total_bytes / self.given_bytes if self.given_bytes else 0.0


def least_traffic(
    graph: KernelGraph,
    capacity_bytes: int,
    budget: TrafficBudget = TrafficBudget(),
    seed: int = 0,
    known: Sequence[Sequence[int]] = (),
) -> TrafficPlan:
    """The order of least traffic found within `budget`; the given one where none is better.

    Orders `known` from elsewhere are starts as the given one is: the answer is no worse than any of them.
    """
    arrays, given = traffic_graph(graph), np.arange(graph.kernels)
    none = np.zeros(len(graph.tensors), dtype=np.int8)
    given_bytes = traffic_bytes(arrays, given, none, capacity_bytes)
    enough = compulsory_bytes(graph)
    found = [(given_bytes, 0, given, none)]
    generator = np.random.default_rng(seed)
    for order in _schedules(arrays.flat, budget.schedules, generator):
        if min(found)[0] == enough:
            break
        found.append((traffic_bytes(arrays, order, none, capacity_bytes), len(found), order, none))
    starts = list({each[1]: each for each in [*sorted(found)[: _RESTARTS - 1], found[0]]}.values())
    moves = budget.moves // len(starts)
    for each in known:
        start = np.array(each, dtype=given.dtype)
        starts.append((traffic_bytes(arrays, start, none, capacity_bytes), len(found), start, none))
        found.append(starts[-1])
    for _, _, order, _ in starts:
        if min(found)[0] > enough:
            draws = generator.random((moves, 5))
            order, streamed = _improve(arrays, order, capacity_bytes, enough, draws)
            found.append(
                (traffic_bytes(arrays, order, streamed, capacity_bytes), len(found), order, streamed)
            )
    least, _, order, streamed = min(found)
    barred = tuple(np.flatnonzero(streamed).tolist())
    return TrafficPlan(tuple(order.tolist()), barred, least, given_bytes, capacity_bytes)


def _schedules(flat: FlatGraph, drawn: int, generator: np.random.Generator) -> Iterator[Ints]:
    for weights in POLICIES.values():
        yield list_order(flat, weights)
    for _ in range(drawn):
        signs = np.array([1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
        values = (signs * generator.random(6) ** 3 * 10.0 ** generator.uniform(-2, 1, 6)).tolist()
        growth, transient, release, recency, depth, given = values
        backward = bool(generator.random() < 0.5)
        yield list_order(flat, ListWeights(growth, transient, release, recency, depth, given, backward))


@compiled
def _room_to_move(flat: FlatGraph, order: Ints, place: Ints, first: int, last: int) -> tuple[int, int]:
    """The earliest start and latest end of the run order[first : last + 1], as (first, last) steps."""
    earliest, latest = 0, order.shape[0] - 1
    for step in range(first, last + 1):
        kernel = order[step]
        for i in range(flat.before_start[kernel], flat.before_start[kernel + 1]):
            if place[flat.before[i]] < first:
                earliest = max(earliest, place[flat.before[i]] + 1)
        for i in range(flat.after_start[kernel], flat.after_start[kernel + 1]):
            if place[flat.after[i]] > last:
                latest = min(latest, place[flat.after[i]] - 1)
    return earliest, latest


@compiled
def _move_run(flat: FlatGraph, now: Ints, place: Ints, trial: Ints, draw: Floats) -> tuple[int, int]:
    """Moves a run of kernels in `trial`, until now equal to `now`; returns the steps that changed."""
    count = now.shape[0]
    first = int(draw[0] * count)
    last = min(count - 1, first + int(_LONGEST_RUN ** draw[1]) - 1)
    earliest, latest = _room_to_move(flat, now, place, first, last)
    length = last - first + 1
    choices = latest - earliest + 1 - length  # steps to begin at, other than the present one
    if choices <= 0:
        return first, first
    begin = earliest + int(draw[2] * choices)
    if begin < first:
        trial[begin : begin + length] = now[first : last + 1]
        trial[begin + length : last + 1] = now[begin:first]
        return begin, last
    begin += 1
    trial[begin : begin + length] = now[first : last + 1]
    trial[first:begin] = now[last + 1 : begin + length]
    return first, begin + length - 1


@compiled
def _improve(
    graph: TrafficGraph, order: Ints, capacity_bytes: int, enough: int, draws: Floats
) -> tuple[Ints, Bytes8]:
    """The best order, and tensors never resident with it, met on a walk of one move a draw from `order`."""
    flat = graph.flat
    now, trial = order.copy(), order.copy()
    streamed = np.zeros(flat.edge_bytes.shape[0], dtype=np.int8)
    best, best_streamed = now.copy(), streamed.copy()
    cost = traffic_bytes(graph, now, streamed, capacity_bytes)
    best_cost = cost
    place = np.empty(order.shape[0], dtype=np.int64)
    place[order] = np.arange(order.shape[0])
    for number in range(draws.shape[0]):
        if best_cost <= enough:
            break
        draw = draws[number]
        edge, low, high = -1, 0, 0
        if draw[4] < _BARRING:
            edge = int(draw[0] * streamed.shape[0])
            streamed[edge] = 1 - streamed[edge]
        else:
            low, high = _move_run(flat, now, place, trial, draw)
            if low == high:
                continue
        after = traffic_bytes(graph, trial, streamed, capacity_bytes)
        heat = _WARMTH * (1 - number / draws.shape[0]) * (best_cost - enough)
        if after <= cost - heat * np.log(1 - draw[3]):
            cost = after
            for step in range(low, high + 1):
                now[step] = trial[step]
                place[now[step]] = step
            if cost < best_cost:
                best_cost = cost
                best[:] = now
                best_streamed[:] = streamed
        else:
            trial[low : high + 1] = now[low : high + 1]
            if edge >= 0:
                streamed[edge] = 1 - streamed[edge]
    return best, best_streamed
