"""Random lowered kernels, for laws of the simulator that must hold of all of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tests.property.random_graphs import graphs
from tests.property.random_layouts import layouts
from tests.property.test_law import groupings
from tests.targets import small_target
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import plan_groups
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.target_model.target import Overheads, Target

Draw = Callable[..., Any]


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    graph: Graph
    regions: Regions
    tiling: Tiling
    target: Target
    program: KernelProgram


@st.composite
def chips(draw: Draw) -> Target:
    """Small chips whose units, ports and overheads take turns in being the bottleneck."""
    target = small_target(
        cores=draw(st.integers(1, 5)), l1_kib=1024, accumulator_kib=draw(st.sampled_from([0, 64]))
    )
    return replace(
        target,
        llb=replace(
            target.llb, gbps=draw(st.sampled_from([1.0, 7.3, 1000.0])), kib=draw(st.sampled_from([0, 1, 64]))
        ),
        dram=replace(target.dram, gbps=draw(st.sampled_from([0.5, 100.0]))),
        dma=replace(target.dma, setup_cycles=draw(st.sampled_from([0, 10]))),
        vector=replace(target.vector, bits=draw(st.sampled_from([16, 2048]))),
        overheads=Overheads(0.0, 10, draw(st.sampled_from([0, 1, 30, 200]))),
    )


@st.composite
def kernels(draw: Draw) -> Case:
    """One kernel of a random network, tiled at random."""
    graph, _ = draw(graphs(most_steps=5))
    target = draw(chips())
    groups = draw(groupings(graph))
    plan = plan_groups(graph, groups, target, layouts=draw(layouts(graph)))
    regions = draw(st.sampled_from([plan.regions[d] for d in sorted(plan.regions)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    for _ in range(8):
        sizes = [
            int(rng.integers(1, max(1, loop.extent // int(rng.integers(1, 3))) + 1)) for loop in regions.loops
        ]
        rank = regions.graph.ops[regions.root].rank
        order = tuple(int(axis) for axis in rng.permutation(rank))
        slots = [int(rng.integers(1, 4)) for _ in range(3)]
        slots.append(int(rng.integers(1, 3)))  # tiles in flight
        tiling = Tiling(tuple(sizes[:rank]), tuple(sizes[rank:]), order, *slots)
        try:
            program = lower_kernel(regions, tiling, int(rng.integers(1, target.cores + 1)), target)
        except ConfigError:
            continue
        return Case(graph, regions, tiling, target, program)
    assume(False)
    raise AssertionError
