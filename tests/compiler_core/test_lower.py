"""Lowering: what it accounts for, and which tilings it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from tests.small_networks import residual, split_matmul, stored_inside, window_chain
from tests.targets import small_target
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.lowering.lower import ALIGNMENT_BYTES, lower_kernel
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.lowering.steps import Action
from tilewright.compiler_core.lowering.tile import default_tiling
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

WHOLE = Tiling((12, 10), (40,), (0, 1))


def _matmul() -> Regions:
    return Regions(split_matmul().kernel().workload)


def test_every_slot_counts_and_none_overlap() -> None:
    kernel = split_matmul().kernel()
    held = {buffer.storage: buffer.slots * buffer.slot_bytes for buffer in kernel.buffers}
    assert kernel.l1_bytes == sum(held.values())
    assert all(buffer.slot_bytes % ALIGNMENT_BYTES == 0 for buffer in kernel.buffers)


def test_sums_are_kept_in_the_accumulator_type() -> None:
    """f32 is stored as f16 on this chip, its sums in f32: 5 x 10 x 4 bytes, rounded up to whole lines."""
    kernel = split_matmul().kernel()
    assert [buffer.element_bytes for buffer in kernel.buffers] == [2, 2, 4, 2, 2, 2]
    assert kernel.buffers[2].slot_bytes == 224


def test_accumulators_live_in_their_own_memory_where_there_is_one() -> None:
    target = small_target(accumulator_kib=1)
    kernel = lower_kernel(_matmul(), WHOLE, 1, target)
    assert [buffer.accumulator for buffer in kernel.buffers] == [b.value == 3 for b in kernel.buffers]
    assert kernel.l1_bytes == sum(b.slots * b.slot_bytes for b in kernel.buffers if not b.accumulator)
    with pytest.raises(ConfigError, match="needs 1344 bytes of accumulator memory, a core has 1024"):
        lower_kernel(_matmul(), Tiling((11, 10), (40,), (0, 1), 2, 3, 2), 1, target)


def test_what_does_not_move_has_one_slot() -> None:
    """A whole kernel is one tile: nothing to overlap with, so double buffering would only take room."""
    assert {buffer.slots for buffer in lower_kernel(_matmul(), WHOLE, 1, small_target()).buffers} == {1}
    cut = lower_kernel(_matmul(), Tiling((5, 10), (40,), (0, 1), 3, 1, 2), 1, small_target())
    assert [buffer.slots for buffer in cut.buffers] == [3, 1, 1, 1, 1, 2]


def test_loops_run_in_the_order_given_serial_ones_inside() -> None:
    kernel = lower_kernel(_matmul(), Tiling((5, 4), (16,), (1, 0)), 2, small_target())
    assert [loop.dim for loop in kernel.loops] == [1, 0, 2]
    assert [loop.parallel for loop in kernel.loops] == [True, True, False]
    assert (kernel.parallel_tiles, kernel.serial_steps) == (9, 3)
    assert [list(kernel.tiles_of(core)) for core in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]


def test_short_lived_values_take_turns() -> None:
    kernel = window_chain().kernel()
    assert kernel.buffers[1].storage == kernel.buffers[3].storage != kernel.buffers[2].storage


def test_a_value_still_to_be_read_shares_with_nobody() -> None:
    kernel = residual().kernel()
    kept = kernel.steps[1].buffer
    between = [step.buffer for step in kernel.steps[2:4] if step.action is Action.COMPUTE]
    assert all(kernel.buffers[b].storage != kernel.buffers[kept].storage for b in between)


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        (Tiling((13, 10), (40,), (0, 1)), "tile size 13 is outside 1..12"),
        (Tiling((0, 10), (40,), (0, 1)), "tile size 0 is outside 1..12"),
        (Tiling((12, 10), (), (0, 1)), "a tiling of 2 sizes does not fit a kernel of 3 loops"),
        (Tiling((12, 10), (40,), (0, 0)), "does not fit a kernel"),
        (WHOLE, "needs 2784 bytes of L1, a core has 2048"),
    ],
)
def test_an_impossible_tiling_is_refused_with_its_reason(tiling: Tiling, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lower_kernel(_matmul(), tiling, 1, small_target(l1_kib=2))


def test_an_inner_value_is_stored_only_where_its_tiles_are_disjoint() -> None:
    case = window_chain()
    graph = replace(case.graph, outputs=(*case.graph.outputs, case.graph.ops[2].result))
    overlapping = replace(case, graph=graph, tilings=(Tiling((1, 2, 4, 8), (3, 3), (0, 1, 2, 3)),))
    with pytest.raises(ConfigError, match="not cut into disjoint tiles"):
        overlapping.compile()
    whole = replace(overlapping, tilings=(Tiling((1, 1, 9, 8), (3, 3), (0, 1, 2, 3)),))
    assert len([step for step in whole.kernel().steps if step.action is Action.STORE]) == 2


def test_both_outputs_of_a_kernel_are_stored() -> None:
    kernel = stored_inside().kernel()
    stored = [kernel.buffers[s.buffer].value for s in kernel.steps if s.action is Action.STORE]
    assert stored == list(kernel.workload.graph.outputs)


def test_hardware_that_takes_turns_in_its_buffers_asks_no_tiling_how_many() -> None:
    tiling = Tiling((6, 5), (20,), (0, 1), load_slots=3, accumulator_slots=1, store_slots=1)
    free, fixed = (lower_kernel(_matmul(), tiling, 1, small_target(fixed_slots=n)) for n in (0, 2))
    assert [b.slots for b in free.buffers] == [3, 3, 1, 3, 1, 1]
    assert [b.slots for b in fixed.buffers] == [2, 2, 2, 2, 1, 1]
    offered = [{k.name for k in KnobLayout(_matmul(), small_target(fixed_slots=n)).knobs} for n in (0, 2)]
    assert offered[0] - offered[1] == {"load_slots", "accumulator_slots"}


def test_a_tile_has_no_more_columns_than_a_block_of_the_matrix_unit() -> None:
    target = small_target(largest_n=4)
    assert lower_kernel(_matmul(), Tiling((12, 4), (40,), (0, 1)), 1, target).parallel_tiles == 3
    with pytest.raises(ConfigError, match="more columns than the matrix unit takes at once"):
        lower_kernel(_matmul(), Tiling((12, 5), (40,), (0, 1)), 1, target)
    assert default_tiling(_matmul(), target).tile[1] <= 4
    layout = KnobLayout(_matmul(), target)
    rows = sample(kernel_space(layout), 64, np.random.default_rng(0))
    assert len(rows) > 0
    assert all(tiling_of(kernel_space(layout).decode(row), _matmul())[0].tile[1] <= 4 for row in rows)
