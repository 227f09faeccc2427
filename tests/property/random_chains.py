"""Random chains of products with vector work between them, as one kernel with two tiles in flight."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tests.property.random_graphs import (
    Builder,
    binary,
    concat,
    convolution,
    cumulative_sum,
    gather,
    matmul,
    pooling,
    reduction,
    same,
    view,
)
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import Plan, plan_groups
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.lowering.turns import turns_of
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import (
    FusionPolicy,
    Group,
    group_greedily,
    in_data_order,
    merged,
)
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.moves import random_grid
from tilewright.search_space.rules import IN_FLIGHT, KnobLayout
from tilewright.search_space.validity import kernel_space

Draw = Callable[..., Any]


def relu(b: Builder, x: int, draw: Draw) -> int:
    return b.op("relu", b.shape(x), (), (same(x, len(b.shape(x))),))


PRODUCTS = (convolution, convolution, matmul)
BETWEEN = (relu, binary, binary, reduction, pooling, view, concat, cumulative_sum, gather)


@st.composite
def chains(draw: Draw) -> tuple[Graph, dict[int, np.ndarray[Any, Any]]]:
    """Two to four products, one or two ops between two of them, some of which read what is further back.

    No op of it rounds, so that any value may be read again.
    """
    b = Builder(DType.F32, draw(st.integers(0, 2**31)))
    made = [b.input(draw(st.sampled_from([(1, 3, 9, 8), (2, 2, 5, 7), (5, 7), (3, 4, 6)])))]
    for _ in range(draw(st.integers(2, 4))):
        for kinds, most in ((PRODUCTS, 1), (BETWEEN, 2)):
            for _ in range(draw(st.integers(1, most))):
                source = made[-1] if draw(st.integers(0, 5)) else draw(st.sampled_from(made))
                result = draw(st.sampled_from(kinds))(b, source, draw)
                if result is not None and 0 < np.prod(b.shape(result)) <= 3000:
                    made.append(result)
    assume(b.ops)
    unread = {op.result for op in b.ops} - {access.value for op in b.ops for access in op.operands}
    return b.graph(tuple(sorted(unread))), b.data


def as_few_groups(graph: Graph) -> tuple[Group, ...]:
    """The greedy groups, merged for as long as two of them are legal as one."""
    groups = group_greedily(graph, FusionPolicy())
    for _ in range(len(groups)):
        unions = [
            [union, *(group for group in groups if group not in (one, other))]
            for one, other in permutations(groups, 2)
            if (union := merged(graph, one, other)) is not None
        ]
        ordered = (in_data_order(graph, union) for union in unions)
        groups = next((order for order in ordered if order is not None), groups)
    return groups


Chosen = dict[str, tuple[Tiling, int]]


@st.composite
def overlapped(draw: Draw, target: Target) -> tuple[Graph, dict[int, np.ndarray[Any, Any]], Plan, Chosen]:
    """A chain, its inputs, its kernels and a Config each, with two tiles in flight where one has."""
    graph, inputs = draw(chains())
    plan = plan_groups(graph, as_few_groups(graph), target)
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    chosen = {}
    assume(any(max(turns_of(regions.graph, target)) for regions in plan.regions.values()))
    for digest, regions in plan.regions.items():
        layout = KnobLayout(regions, target)
        space = kernel_space(layout)
        rows = random_grid(space, 64, rng)
        rows[:48, layout.column(IN_FLIGHT)] = 1 if layout.column(IN_FLIGHT) >= 0 else rows[:48, -1]
        rows = space.settle(rows)
        assume(len(rows))
        chosen[digest] = tiling_of(space.decode(rows[0]), regions)
    return graph, inputs, plan, chosen
