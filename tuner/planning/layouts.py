"""Layouts of the values between kernels: those under which their kernels promise to be fastest."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.layouts import Layout, layouts_of
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.pipeline import is_host
from tilewright.compiler_core.transforms.fuse import Group

Layouts = Mapping[int, Layout]
WORTH = 0.005
"""Share of the network's time that another layout of some values has to save to be worth pricing."""


def lay_out(graph: Graph, groups: Sequence[Group], price: Callable[[Group, Layouts], float]) -> Layouts:
    """The cheapest Layouts found for the values that `groups` store.

    The best single kind of layout for all values, or none; then, largest first, values that the same
    kernels touch (those of repeated layers) change together, where prices so far leave hope that it pays.
    `price` answers microseconds of a group whose operands lie so.
    """
    touching = _touching(graph, groups)
    offered = {value: {_kind(layout): layout for layout in layouts_of(graph, value)} for value in touching}
    kinds = dict.fromkeys(kind for layouts in offered.values() for kind in layouts)
    starts: list[Layouts] = [{}]
    starts += [{v: offered[v][kind] for v in touching if kind in offered[v]} for kind in kinds]
    priced = [{group: price(group, start) for group in groups} for start in starts]
    totals_us = [sum(each.values()) for each in priced]
    layouts = starts[totals_us.index(min(totals_us))]
    hoped_us = {group: min(each[group] for each in priced) for group in groups}
    worth_us = WORTH * min(totals_us)
    for alike in _alike(graph, touching):
        touched = list(dict.fromkeys(group for value in alike for group in touching[value]))
        best_us = sum(price(group, layouts) for group in touched)
        if best_us - sum(hoped_us[group] for group in touched) < worth_us:
            continue
        for kind in (None, *offered[alike[0]]):
            tried = {value: layout for value, layout in layouts.items() if value not in alike}
            tried |= {value: offered[value][kind] for value in alike if kind}
            tried_us = sum(price(group, tried) for group in touched)
            if tried_us < best_us:
                layouts, best_us = tried, tried_us
    return layouts


def _kind(layout: Layout) -> tuple[bool, int]:
    """The common kind of two layouts of values of different rank."""
    return layout.order[-1] == 1, layout.block


def _touching(graph: Graph, groups: Sequence[Group]) -> Mapping[int, tuple[Group, ...]]:
    """The groups that store or read each value that may lie otherwise than in the model's order."""
    touching: dict[int, tuple[Group, ...]] = {}
    for group in groups:
        if not is_host(graph, group):
            kernel = kernel_of(graph, group, {})
            for value in kernel.workload.outer:
                outer = kernel.values[value]
                touching[outer] = (*touching.get(outer, ()), group)
    return {value: found for value, found in touching.items() if any(layouts_of(graph, value))}


def _alike(graph: Graph, touching: Mapping[int, tuple[Group, ...]]) -> list[list[int]]:
    """Values of one shape that the same kernels touch, the largest first."""
    digest = {
        group: kernel_of(graph, group, {}).workload.family_digest
        for groups in touching.values()
        for group in groups
    }

    def likeness(value: int) -> tuple[int, list[str]]:
        return -graph.elements(value), [digest[group] for group in touching[value]]

    return [list(alike) for _, alike in groupby(sorted(touching, key=likeness), key=likeness)]
