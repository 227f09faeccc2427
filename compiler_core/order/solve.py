"""The order of least peak memory, with a proof: portfolio, cut bound, set bound, bottleneck search."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np

from tilewright.compiler_core.order.bounds import cut_bound, set_bound
from tilewright.compiler_core.order.flat import FlatGraph, Ints, flatten
from tilewright.compiler_core.order.kernel_graph import KernelGraph, peak_of
from tilewright.compiler_core.order.portfolio import POLICIES, list_order
from tilewright.compiler_core.order.search import FOUND, may_search_backward, search
from tilewright.compiler_core.order.walk import flat_peak, flat_profile
from tilewright.compiler_core.order.witness import PeakPlan, SetWitness, Status, Witness

_FEW_CUTS = 64
_NEAR_STEPS = 64
_FIRST_STATES = 512
_MORE_STATES = 8


@dataclass(frozen=True)
class PeakBudget:
    """Work, not time, so that results repeat: kernels visited by a bound, down-sets entered in searches."""

    bound_visits: int = 200_000_000
    search_states: int = 200_000


def solve_peak(
    graph: KernelGraph,
    budget: PeakBudget = PeakBudget(),
    stop: Callable[[], bool] = lambda: False,
) -> PeakPlan:
    """The order of least peak memory of `graph`, as far as `budget` reaches; `stop` is asked between steps.

    Deterministic unless stopped. The steps get dearer; the first that makes peak and bound meet is the last.
    """
    if graph.kernels == 0:
        inputs = peak_of(graph, ())
        return PeakPlan((), inputs, inputs, SetWitness("last", (), ()), "optimal")
    flat = flatten(graph)
    orders = [list_order(flat, weights) for weights in POLICIES.values()]
    best = min(orders, key=lambda order: flat_peak(flat, order))
    state = _State(best, flat_peak(flat, best), -1, SetWitness("last", (), ()), budget.search_states)
    status: Status = "open"
    for step in _steps(flat, budget):
        state = _repeat(step, state, stop)
        if state.bound == state.peak:
            status = "optimal"
            break
        if stop():
            status = "stopped"
            break
    return PeakPlan(tuple(state.order.tolist()), state.peak, state.bound, state.witness, status)


@dataclass(frozen=True)
class _State:
    """The best order and the best bound so far, and the down-sets that searches may still enter."""

    order: Ints
    peak: int
    bound: int
    witness: Witness
    states_left: int


_Step: TypeAlias = Callable[[_State], _State]


def _repeat(step: _Step, state: _State, stop: Callable[[], bool]) -> _State:
    """Takes `step` until it no longer helps."""
    while True:
        after = step(state)
        if (after.peak, after.bound) == (state.peak, state.bound) or after.bound == after.peak or stop():
            return after
        state = after


def _steps(flat: FlatGraph, budget: PeakBudget) -> Iterator[_Step]:
    """The solvers to try, in turn."""
    cuts = max(_FEW_CUTS, budget.bound_visits // flat.kernels)
    yield partial(_by_cuts, flat, cuts=_FEW_CUTS)
    yield partial(_by_sets, flat, near=_NEAR_STEPS, cuts=cuts)
    yield partial(_by_cuts, flat, cuts=cuts)
    yield partial(_by_sets, flat, near=flat.kernels, cuts=cuts)
    states = _FIRST_STATES
    while states < _MORE_STATES * budget.search_states:
        yield partial(_by_search, flat, max_states=states)
        states *= _MORE_STATES


def _by_cuts(flat: FlatGraph, state: _State, cuts: int) -> _State:
    """Cut bounds of the kernels where the best order stands highest."""
    highest_first = np.argsort(-flat_profile(flat, state.order), kind="stable")
    bound = cut_bound(flat, state.order[highest_first[:cuts]])
    return replace(state, bound=bound.bytes, witness=bound.witness) if bound.bytes > state.bound else state


def _by_sets(flat: FlatGraph, state: _State, near: int, cuts: int) -> _State:
    """Set bounds over sets that end or start within `near` steps of the best order's peak."""
    at = int(np.argmax(flat_profile(flat, state.order)))
    window = slice(max(0, at - near), at + near + 1)
    bound = set_bound(flat, state.order, window, state.bound, state.peak, cuts)
    return replace(state, bound=bound.bytes, witness=bound.witness) if bound else state


def _by_search(flat: FlatGraph, state: _State, max_states: int) -> _State:
    """Searches halfway between bound and peak, else at the bound, else just below the peak."""
    ways = (1, -1) if may_search_backward(flat) else (1,)
    for limit in dict.fromkeys(((state.bound + state.peak - 1) // 2, state.bound, state.peak - 1)):
        for way in ways:
            if state.states_left <= 0:
                return state
            result = search(flat, limit, way, min(max_states, state.states_left))
            state = replace(state, states_left=state.states_left - result.entered)
            if result.outcome == FOUND:
                return replace(state, order=result.order, peak=flat_peak(flat, result.order))
            if result.witness is not None:
                return replace(state, bound=result.next_limit, witness=result.witness)
    return state
