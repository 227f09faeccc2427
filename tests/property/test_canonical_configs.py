"""Configs of one space that lower to the same Program are one Config, and keep their meaning in that form."""

from collections.abc import Hashable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.property.random_graphs import graphs
from tests.property.test_law import groupings, targets
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import plan_groups
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.search_space.codec import config_of, tiling_of
from tilewright.search_space.moves import neighbours, row_keys, sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space


def text_of(program: KernelProgram) -> Hashable:
    """Everything a Program says that two Configs of one kernel can differ in."""
    buffers = tuple((b.slots, b.slot_bytes, b.offset, b.storage) for b in program.buffers)
    steps = tuple((s.action, s.buffer, s.moves, s.late, s.op, s.reads, s.lag) for s in program.steps)
    return program.loops, buffers, steps, program.cores


@given(st.data())
def test_two_configs_of_a_space_never_lower_to_the_same_program(data: Any) -> None:
    graph, _ = data.draw(graphs(most_steps=4))
    target = data.draw(targets())
    plan = plan_groups(graph, data.draw(groupings(graph)), target)
    for regions in plan.regions.values():
        space = kernel_space(KnobLayout(regions, target))
        drawn = sample(space, 8, np.random.default_rng(data.draw(st.integers(0, 2**31))))
        rows = [near for row in drawn[:2] for near in neighbours(space, row)]
        programs: dict[Hashable, int] = {}
        for row, key in zip(
            rows, row_keys(np.array(rows, dtype=np.int32).reshape(-1, len(space.knobs))), strict=True
        ):
            program = lower_kernel(regions, *tiling_of(space.decode(row), regions), target)
            assert programs.setdefault(text_of(program), int(key)) == int(key)


@given(st.data())
def test_the_canonical_form_of_a_row_lowers_to_the_same_program(data: Any) -> None:
    graph, _ = data.draw(graphs(most_steps=4))
    target = data.draw(targets())
    plan = plan_groups(graph, data.draw(groupings(graph)), target)
    for regions in plan.regions.values():
        layout = KnobLayout(regions, target)
        space = kernel_space(layout)
        rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
        rows = rng.integers(0, space.widths, size=(8, len(space.knobs)), dtype=np.int32)
        settled = space.canonical(rows)
        np.testing.assert_array_equal(space.canonical(settled), settled)
        for row, form in zip(rows, settled, strict=True):
            if not space.feasible(form[None, :])[0]:
                continue
            tiling, cores = tiling_of(space.decode(row), regions)
            assert config_of(tiling, cores, space, layout) == space.decode(form)
            as_drawn = lower_kernel(regions, tiling, cores, target)
            assert text_of(as_drawn) == text_of(
                lower_kernel(regions, *tiling_of(space.decode(form), regions), target)
            )
