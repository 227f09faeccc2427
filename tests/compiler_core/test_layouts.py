"""Layouts: how elements lie in memory, which values may have one, and what it does to a key."""

import numpy as np
import pytest

from tests.property.random_graphs import Builder, same
from tests.targets import small_target
from tilewright.compiler_core.errors import ConfigError, RecordError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.graph_json import workload_from_json, workload_to_json
from tilewright.compiler_core.ir.layouts import Layout, layout_from, layouts_of, may_be_laid_out
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.pipeline import compile_graph, default_schedule, plan_groups
from tilewright.compiler_core.lowering.schedule import Schedule

LAST = Layout((0, 2, 3, 1))
IN_BLOCKS = Layout((0, 1, 2, 3), 1, 16)


def three_steps() -> Graph:
    """x, its relu, minus that, and the relu of it: one value between each two kernels."""
    builder = Builder(DType.F32, 0)
    value = builder.input((2, 32, 5, 7))
    for kind in ("relu", "neg", "relu"):
        value = builder.op(kind, builder.shape(value), (), (same(value, 4),))
    return builder.graph((value,))


@pytest.mark.parametrize("layout", [LAST, IN_BLOCKS, Layout((3, 0, 2, 1), 2, 5), Layout((1, 0, 3, 2))])
def test_unpack_undoes_pack_and_text_is_read_back(layout: Layout) -> None:
    array = np.arange(2 * 32 * 5 * 7).reshape(2, 32, 5, 7)
    assert layout.fits(array.shape)
    packed = layout.pack(array)
    assert packed.flags.c_contiguous
    assert packed.size == array.size
    np.testing.assert_array_equal(layout.unpack(packed), array)
    assert layout_from(str(layout)) == layout


def test_channels_lie_last_or_in_blocks() -> None:
    array = np.arange(2 * 32 * 5 * 7).reshape(2, 32, 5, 7)
    assert LAST.pack(array)[1, 4, 6, 9] == array[1, 9, 4, 6]
    assert IN_BLOCKS.pack(array)[1, 1, 4, 6, 9] == array[1, 25, 4, 6]
    assert (str(LAST), str(IN_BLOCKS)) == ("0.2.3.1", "0.1.2.3.1x16")


@pytest.mark.parametrize(
    "text", ["", "0.0", "0.2", "1.0.2x4", "0.1.1x0", "0.1.1x1", "0.1.x", "-1.0", "0.1.1x2x3"]
)
def test_what_is_no_layout_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="not a layout"):
        layout_from(text)


def test_only_values_between_kernels_are_laid_out() -> None:
    graph = three_steps()
    assert [may_be_laid_out(graph, value) for value in range(4)] == [False, True, True, False]
    assert [str(layout) for layout in layouts_of(graph, 1)] == ["0.2.3.1", "0.1.2.3.1x16", "0.1.2.3.1x32"]
    assert not list(layouts_of(graph, 0))


def test_a_layout_is_part_of_the_key_and_travels_with_the_workload() -> None:
    graph, target = three_steps(), small_target()
    plain = plan_groups(graph, [(0,), (1,), (2,)], target)
    laid = plan_groups(graph, [(0,), (1,), (2,)], target, layouts={1: LAST})
    digests = [
        [kernel.workload.digest for kernel in plan.kernels if kernel is not None] for plan in (plain, laid)
    ]
    assert [one == other for one, other in zip(*digests, strict=True)] == [False, False, True]
    kernel = laid.kernels[1]
    assert kernel is not None
    assert kernel.workload.placement == ("llb:0.2.3.1", "llb")
    assert workload_from_json(workload_to_json(kernel.workload)).digest == kernel.workload.digest
    assert kernel.workload.laid({}).digest == digests[0][1]


def test_a_layout_inside_a_kernel_is_left_out() -> None:
    graph, target = three_steps(), small_target()
    assert plan_groups(graph, [(0, 1, 2)], target, layouts={1: LAST}).layouts == {}


@pytest.mark.parametrize(
    ("value", "layout", "reason"),
    [
        (0, LAST, "it is used outside kernels"),
        (3, LAST, "it is used outside kernels"),
        (1, Layout((0, 1)), "cannot have layout"),
        (1, Layout((0, 1, 2, 3), 2, 2), "cannot have layout"),
    ],
)
def test_a_schedule_with_an_illegal_layout_is_refused(value: int, layout: Layout, reason: str) -> None:
    graph, target = three_steps(), small_target()
    plan = plan_groups(graph, [(0,), (1,), (2,)], target)
    sound = default_schedule(plan, target)
    broken = Schedule(sound.groups, sound.stages, sound.tilings, sound.levels, {value: layout})
    with pytest.raises(ConfigError, match=reason):
        compile_graph(graph, broken, target)


@pytest.mark.parametrize("layouts", [{"0": "0.1"}, {"9": "0.2.3.1"}, {"1": "x"}, {"a": "0.1.2.3"}, ["0"]])
def test_a_recorded_workload_with_an_impossible_layout_is_refused(layouts: object) -> None:
    kernel = plan_groups(three_steps(), [(0,), (1,), (2,)], small_target()).kernels[0]
    assert kernel is not None
    form = workload_to_json(kernel.workload)
    assert isinstance(form, dict)
    with pytest.raises(RecordError):
        workload_from_json({**form, "layouts": layouts})


def test_a_value_that_stays_inside_a_kernel_lies_nowhere() -> None:
    graph = three_steps()
    together = kernel_of(graph, (0, 1), {}, {1: LAST, 2: LAST}).workload
    assert together.layouts.keys() == set(together.graph.outputs)
    assert together.digest == kernel_of(graph, (0, 1), {}, {2: LAST}).workload.digest
