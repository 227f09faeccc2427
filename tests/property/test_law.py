"""The law of the house: emulate(compile(graph, any config)) equals interpret(graph), bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.property.random_graphs import DRAWN_BY_MAP, ELEMENTWISE, graphs
from tests.property.random_layouts import layouts
from tests.property.random_rewrites import rewrites
from tests.targets import small_target
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import OPS
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import Plan, compile_graph, plan_groups, schedule_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Schedule, Stage, Tiling
from tilewright.compiler_core.lowering.stages import Ancestry, in_stage_order, needs_of, side_by_side
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.meaning.loops import written_out
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import (
    FusionPolicy,
    Group,
    group_greedily,
    in_data_order,
    merged,
)
from tilewright.compiler_core.transforms.rewrites import rewritten
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

Draw = Callable[..., Any]


@st.composite
def groupings(draw: Draw, graph: Graph) -> tuple[Group, ...]:
    """The greedy groups, or single ops, with some legal pairs merged."""
    groups = group_greedily(graph, FusionPolicy(epilogues=draw(st.booleans())))
    for _ in range(draw(st.integers(0, 4))):
        pairs = [
            (p, c)
            for p in groups
            for c in groups
            if p is not c and merged(graph, p, c) and _reads(graph, p, c)
        ]
        if not pairs:
            break
        producer, consumer = draw(st.sampled_from(pairs))
        union = merged(graph, producer, consumer)
        assert union is not None
        tried = in_data_order(graph, [union, *(g for g in groups if g not in (producer, consumer))])
        groups = groups if tried is None else tried
    return groups


def _reads(graph: Graph, producer: Group, consumer: Group) -> bool:
    root = graph.ops[max(producer)].result
    return any(access.value == root for index in consumer for access in graph.ops[index].operands)


@st.composite
def targets(draw: Draw) -> Target:
    return small_target(
        cores=draw(st.integers(1, 5)),
        l1_kib=draw(st.sampled_from([1, 2, 8, 1024])),
        accumulator_kib=draw(st.sampled_from([0, 0, 1, 8])),
        streams_operands=draw(st.booleans()),
        fixed_slots=draw(st.sampled_from([0, 2])),
        largest_n=draw(st.sampled_from([0, 0, 3])),
    )


@st.composite
def stagings(draw: Draw, graph: Graph, groups: tuple[Group, ...], target: Target) -> tuple[Stage, ...]:
    """The groups one after the other, or some that need nothing of each other side by side."""
    needs = needs_of(graph, groups)
    ancestry = Ancestry(needs)
    for _ in range(draw(st.integers(0, 3))):
        stages = sorted(ancestry.members)
        pairs = [
            (one, other)
            for one in stages
            for other in stages
            if one < other
            and ancestry.independent(one, other)
            and len(ancestry.members[one]) + len(ancestry.members[other]) <= target.cores
        ]
        if pairs:
            ancestry.join(*draw(st.sampled_from(pairs)))
    ordered = in_stage_order(needs, [ancestry.members[stage] for stage in sorted(ancestry.members)])
    assert ordered is not None
    stages_drawn = []
    for members in ordered:
        if len(members) == 1:
            stages_drawn.append(side_by_side(members, [target.cores]))
            continue
        cores: list[int] = []
        for behind in range(len(members) - 1, -1, -1):
            cores.append(draw(st.integers(1, target.cores - sum(cores) - behind)))
        stages_drawn.append(side_by_side(members, cores))
    return tuple(stages_drawn)


@st.composite
def schedules(draw: Draw, graph: Graph, target: Target) -> tuple[Plan, Schedule]:
    """Random groups in random stages, random layouts between them, for every kernel a random Config."""
    groups = draw(groupings(graph))
    plan = plan_groups(
        graph, groups, target, layouts=draw(layouts(graph)), stages=draw(stagings(graph, groups, target))
    )

    def drawn(regions: Regions, cores: int) -> tuple[Tiling, int]:
        space = kernel_space(KnobLayout(regions, replace(target, cores=cores)))
        rows = sample(space, 1, np.random.default_rng(draw(st.integers(0, 2**31))), attempts=8)
        assume(len(rows) == 1)
        return tiling_of(space.decode(rows[0]), regions)

    chosen = {digest: drawn(regions, target.cores) for digest, regions in plan.regions.items()}
    beside = {
        co_placement: drawn(plan.regions[co_placement.digest], co_placement.cores)
        for co_placement in plan.co_placements
    }
    return plan, schedule_of(plan, chosen, beside)


def test_every_row_of_the_table_can_be_drawn() -> None:
    assert {*ELEMENTWISE, *DRAWN_BY_MAP} == set(OPS)


@given(st.data())
def test_every_schedule_computes_what_the_graph_means(data: Any) -> None:
    drawn, inputs = data.draw(graphs())
    graph = data.draw(st.sampled_from([written_out(drawn), drawn]))
    graph = rewritten(graph, data.draw(rewrites(graph)))
    target = data.draw(targets())
    plan, schedule = data.draw(schedules(graph, target))
    program = compile_graph(graph, schedule, target, plan)
    assert verify_program(graph, program, target) == []
    expected = interpret(drawn, inputs)
    meant = {**interpret(graph, inputs), **expected}
    for value, got in emulate(graph, program, inputs).items():
        np.testing.assert_array_equal(got, meant[value], err_msg=f"value {value}")


@given(st.data())
def test_static_validity_is_what_the_lowering_accepts(data: Any) -> None:
    graph, _ = data.draw(graphs(most_steps=4))
    target = data.draw(targets())
    plan = plan_groups(graph, data.draw(groupings(graph)), target)
    for regions in plan.regions.values():
        space = kernel_space(KnobLayout(regions, target))
        rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
        rows = rng.integers(0, space.widths, size=(8, len(space.knobs)), dtype=np.int32)
        for row, feasible in zip(rows, space.feasible(rows), strict=True):
            tiling, cores = tiling_of(space.decode(row), regions)
            try:
                lower_kernel(regions, tiling, cores, target)
            except ConfigError:
                assert not feasible
