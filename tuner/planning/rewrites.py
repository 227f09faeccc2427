"""Ops in another form where that promises to be faster: sums of few results in parts, windows written out.

    mean of (x - y)^2, one core adds 131 us   ->   32 parts 18 us, their sum 1.6 us

Forms are weighed alone: the kernels of a form against the kernel it would replace, epilogues fused. Whether
the network is faster with them is seen when its groups are merged.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

from tilewright.compiler_core.ir.graph import Graph, Rewrite
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.lowering.pipeline import Plan, plan_graph
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import Group
from tilewright.compiler_core.transforms.rewrites import Split, Unfold, places, rewritten
from tilewright.cost_model.analytic import op_work
from tilewright.cost_model.network_bound import contraction_work
from tilewright.tuner.planning.grouping import merge_while_it_pays

MOST_RESULTS = 8192
"""Elements of a result beyond which its tiles keep the cores busy without parts."""
LESS_WORK = 0.8
"""Share of the matrix work that windows written out may take at most to be worth pricing."""
WORTH = 0.95
"""Share of the time of an op's kernel that windows written out have to stay below."""

PriceIn = Callable[[Plan, Group], float]


@dataclass(frozen=True)
class Better:
    """Another form of an op, and the promised times of its kernels with and without it, in us."""

    rewrite: Rewrite
    form_us: float
    own_us: float


def better_forms(base: Plan, target: Target, price: PriceIn) -> Mapping[int, Better]:
    """The forms of ops that promise to be faster than the kernels of `base`, by op; the best of each op's.

    `price` answers microseconds of a group of a plan; values keep their numbers, so it may know layouts.
    In every turn each op is given the next of its forms.
    """
    graph = base.graph
    home = {op: group for group in base.groups for op in group}
    overheads_us = (target.launch_cycles + target.overheads.barrier_cycles) / target.cycles_per_us
    own_us: dict[int, float] = {}
    offers: dict[int, list[Rewrite]] = {}
    for index in range(len(graph.ops)):
        if offered := list(_offered(graph, index, target)):
            own_us[index] = price(base, home[index])
            offers[index] = [
                each for each in offered if _limit_us(each, own_us[index], overheads_us) > overheads_us
            ]
    better: dict[int, Better] = {}
    for turn in zip_longest(*offers.values()):
        forms = {op: rewrite for op, rewrite in zip(offers, turn, strict=True) if rewrite is not None}
        plan = plan_graph(rewritten(graph, forms), target)
        went = places(graph, forms)
        for index, rewrite in forms.items():
            groups = [group for group in plan.groups if set(group) & set(went[index])]
            form_us = merge_while_it_pays(plan.graph, groups, partial(price, plan)).price_us
            best_us = better[index].form_us if index in better else float("inf")
            if form_us < min(best_us, _limit_us(rewrite, own_us[index], overheads_us)):
                better[index] = Better(rewrite, form_us, own_us[index])
    return better


def _limit_us(rewrite: Rewrite, own_us: float, overheads_us: float) -> float:
    """The price that a form must beat: no fusion removes the boundary between parts and their sum, so a split
    has to save as much as a fusion would.
    """
    return own_us - overheads_us if isinstance(rewrite, Split) else WORTH * own_us


def _offered(graph: Graph, at: int, target: Target) -> Iterator[Rewrite]:
    """The forms of an op that are worth pricing."""
    op = graph.ops[at]
    if op.row.reducer is None or op.row.unit is Unit.HOST:
        return
    if target.cores > 1 and graph.elements(op.result) <= MOST_RESULTS:
        most = 2 * target.cores
        for axis in op.reduction_axes:
            divisors = [n for n in range(2, min(op.extents[axis], most) + 1) if op.extents[axis] % n == 0]
            wanted = (target.cores // 4, target.cores // 2, target.cores, most)
            sizes = {max((n for n in divisors if n <= size), default=0) for size in wanted} - {0}
            splits = (Split(axis, parts) for parts in sorted(sizes))
            yield from (split for split in splits if not split.objection(graph, op))
    if op.row.contraction:
        matrix, vector = op_work(graph, op, target).units[0]
        for unfold in map(Unfold, range(len(op.operands))):
            if not unfold.objection(graph, op):
                work = contraction_work(graph, at, unfold, target)[0]
                if work <= LESS_WORK * min(matrix, vector):
                    yield unfold
