"""Backward region inference, against regions worked by hand and against what a brute force reads."""

from itertools import product

import numpy as np
import pytest

from tests.small_networks import CASES, inner_reduction, residual, scan_inside, split_matmul, window_chain
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.program import Loop
from tilewright.compiler_core.lowering.regions import NO_ANCHOR, Regions, Span


def _intervals(span: Span) -> list[tuple[int, int]]:
    return list(zip(np.ravel(span[0]).tolist(), np.ravel(span[1]).tolist(), strict=True))


def test_halos_of_a_window_chain_grow_by_one_a_window_and_stop_at_the_border() -> None:
    """Rows 0-4, 4-8 and 8-9 of nine: the last window's operand, then the one before, then before that."""
    regions = Regions(window_chain().kernel().workload)
    sizes = (1, 2, 4, 8, 3, 3)
    assert _intervals(regions.axis_span(3, 2, sizes)) == [(0, 4), (4, 8), (8, 9)]
    assert _intervals(regions.axis_span(2, 2, sizes)) == [(0, 5), (3, 9), (7, 9)]
    assert _intervals(regions.axis_span(1, 2, sizes)) == [(0, 6), (2, 9), (6, 9)]
    assert _intervals(regions.axis_span(0, 2, sizes)) == [(0, 7), (1, 9), (5, 9)]
    assert _intervals(regions.value_span(0, 2, sizes, early=True)) == [(0, 8), (0, 9), (4, 9)]
    assert regions.widest(0, 2, sizes, True) == 9
    assert regions.buffer_elements(0, sizes, True) == 1 * 2 * 9 * 8


def test_the_anchor_is_the_contraction_and_its_reduction_is_a_loop() -> None:
    regions = Regions(split_matmul().kernel().workload)
    assert regions.anchor == 0
    assert [(loop.extent, loop.kind) for loop in regions.loops] == [
        (12, AxisKind.PARALLEL),
        (10, AxisKind.PARALLEL),
        (40, AxisKind.REDUCTION),
    ]
    assert regions.early == {0}
    assert _intervals(regions.axis_span(0, 2, (5, 10, 16))) == [(0, 16), (16, 32), (32, 40)]


def test_the_anchor_is_the_last_reduction_where_nothing_multiplies() -> None:
    assert Regions(window_chain().kernel().workload).anchor == 3


def test_a_reduction_is_not_split_while_another_op_needs_its_operand() -> None:
    assert Regions(residual().kernel().workload).anchor == NO_ANCHOR


def test_an_inner_reduction_is_whole_and_widens_what_it_reads() -> None:
    """The maximum wants all eight columns of x, the difference only the three of this reduction step."""
    regions = Regions(inner_reduction().kernel().workload)
    sizes = (2, 5, 3)
    assert _intervals(regions.axis_span(0, 2, sizes)) == [(0, 8)]
    assert _intervals(regions.axis_span(1, 1, sizes)) == [(0, 3), (3, 6), (6, 8)]
    assert _intervals(regions.value_span(0, 1, sizes, early=True)) == [(0, 8)] * 3


def test_an_inner_scan_starts_from_the_first_element() -> None:
    regions = Regions(scan_inside().kernel().workload)
    assert _intervals(regions.axis_span(0, 3, (1, 1, 4, 5, 3, 3))) == [(0, 6), (0, 11), (0, 12)]


@pytest.mark.parametrize("name", CASES)
def test_regions_hold_every_index_that_is_read_and_no_border_is_crossed(name: str) -> None:
    """Every op's box, point by point, through its index maps: inside what it reads, at every tile."""
    case = CASES[name]()
    for place in range(len(case.groups)):
        kernel = case.kernel(place)
        graph = kernel.workload.graph
        for position in product(*(range(count) for count in _counts(kernel.loops))):
            for step in kernel.steps:
                if step.op < 0:
                    continue
                op = graph.ops[step.op]
                box = [kernel.at(span, position) for span in kernel.domains[step.op]]
                points = np.stack(np.meshgrid(*(np.arange(*b) for b in box), indexing="ij"), -1)
                for access, read in zip(op.operands, step.reads, strict=True):
                    for dim, expr in enumerate(access.exprs):
                        index = np.full(points.shape[:-1], int(str(expr.offset)))
                        for axis, coefficient in expr.terms:
                            index = index + int(str(coefficient)) * points[..., axis]
                        extent = graph.shape(access.value)[dim]
                        inside = index[(index >= 0) & (index < extent)]
                        low, high = kernel.at(kernel.buffers[read].region[dim], position)
                        assert 0 <= low <= high <= extent
                        assert inside.size == 0 or (low <= inside.min() and inside.max() < high)


def _counts(loops: tuple[Loop, ...]) -> list[int]:
    counts = [1] * len(loops)
    for loop in loops:
        counts[loop.dim] = loop.count
    return counts


def test_answers_do_not_depend_on_what_was_asked_before() -> None:
    workload: Workload = window_chain().kernel().workload
    used, fresh = Regions(workload), Regions(workload)
    for tile in (9, 1, 4, 2):
        used.axis_span(0, 2, (1, 2, tile, 8, 3, 3))
    assert _intervals(used.axis_span(0, 2, (1, 2, 4, 3, 3, 3))) == _intervals(
        fresh.axis_span(0, 2, (1, 2, 4, 3, 3, 3))
    )
