"""Layouts of a network: which are chosen, how a Config writes them down, and what is wrong with some."""

from collections.abc import Mapping

import numpy as np
import pytest

from tests.compiler_core.test_layouts import IN_BLOCKS, LAST, three_steps
from tests.targets import small_target
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.lowering.pipeline import compile_graph, plan_groups
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.transforms.fuse import Group
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import (
    LAYOUTS,
    layouts_from,
    layouts_text,
    network_config,
    network_schedule,
    numbered,
)
from tilewright.tuner.answer.check import random_inputs
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.planning.layouts import lay_out

GRAPH, TARGET, GROUPS = three_steps(), small_target(), ((0,), (1,), (2,))


def test_the_cheapest_kind_is_chosen_for_all_values() -> None:
    def price(group: Group, layouts: Mapping[int, Layout]) -> float:
        return 10.0 - sum(layout == LAST for layout in layouts.values())

    assert lay_out(GRAPH, GROUPS, price) == {1: LAST, 2: LAST}


def test_values_change_apart_from_the_rest_where_that_pays() -> None:
    def price(group: Group, layouts: Mapping[int, Layout]) -> float:
        """Value 1 is best last; value 2, which the last two groups touch, in blocks."""
        first, second = layouts.get(1) == LAST, layouts.get(2) == IN_BLOCKS
        return {0: 10.0 - 4.0 * first, 1: 10.0, 2: 10.0 - 3.0 * second}[group[0]]

    assert lay_out(GRAPH, GROUPS, price) == {1: LAST, 2: IN_BLOCKS}


def test_the_model_s_order_stays_where_nothing_is_cheaper() -> None:
    assert lay_out(GRAPH, GROUPS, lambda group, layouts: 1.0 + len(layouts)) == {}


def test_a_config_says_how_values_lie_and_its_program_is_right() -> None:
    network = numbered(GRAPH)
    plan = plan_groups(GRAPH, GROUPS, TARGET, layouts={1: LAST, 2: IN_BLOCKS})
    chosen = {digest: KernelTask(regions, TARGET).default for digest, regions in plan.regions.items()}
    config = network_config(plan, chosen, network)
    assert dict(config.items)[LAYOUTS] == "0:0.2.3.1|1:0.1.2.3.1x16"
    again, schedule = network_schedule(network.task, config, TARGET)
    graph = network.task.graph
    assert sorted(map(str, again.layouts.values())) == ["0.1.2.3.1x16", "0.2.3.1"]
    program = compile_graph(graph, schedule, TARGET, again)
    assert verify_program(graph, program, TARGET) == []
    inputs = random_inputs(graph, 0)
    (output,) = graph.outputs
    np.testing.assert_array_equal(emulate(graph, program, inputs)[output], interpret(graph, inputs)[output])


@pytest.mark.parametrize("text", ["0", "0:", "9:0.2.3.1", "x:0.2.3.1", "0:0.2", "0:0.2.3.1|", "0:0.2.3.1:1"])
def test_what_lists_no_layouts_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="lists its layouts as"):
        layouts_from(text, GRAPH)


def test_a_config_with_an_impossible_layout_is_refused() -> None:
    network = numbered(GRAPH)
    with pytest.raises(ConfigError, match="cannot have layout"):
        network_schedule(network.task, Config((("groups", "0|1|2"), (LAYOUTS, "0:0.1"))), TARGET)


def test_no_layouts_are_no_text() -> None:
    plan = plan_groups(GRAPH, GROUPS, TARGET)
    assert layouts_text(plan) == ""
    assert layouts_from("", GRAPH) == {}
