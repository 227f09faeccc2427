"""The knob of two tiles in flight: where it is offered, what is feasible, what Configs without it mean."""

import numpy as np
import pytest

from benchmarks.search.kernel_tasks import CASES
from tests.small_networks import product_chain, split_matmul
from tests.targets import small_target
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.turns import handovers_of, in_flight
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.knobs import Config
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import IN_FLIGHT, KnobLayout
from tilewright.search_space.validity import kernel_space


def chain() -> Regions:
    graph = product_chain().graph
    return Regions(kernel_of(graph, range(len(graph.ops)), {}).workload)


def test_a_chain_has_turns_and_a_product_with_its_epilogue_has_one() -> None:
    assert handovers_of(chain().graph, small_target()) == (0, 1, 2, 3)
    assert handovers_of(split_matmul().graph, small_target()) == (0, 1, 1)


@pytest.mark.parametrize(
    ("turns", "order"), [((0, 1), [0, 1]), ((0, 1, 2), [0, 2, 1]), ((0, 1, 2, 3), [0, 2, 1, 3])]
)
def test_turns_of_two_tiles_alternate(turns: tuple[int, ...], order: list[int]) -> None:
    places = in_flight(turns)
    assert sorted(turns, key=lambda turn: places[turn].rank) == order
    assert [place.lag for place in places] == sorted(place.lag for place in places)


def test_the_knob_is_offered_where_units_take_turns() -> None:
    graph = split_matmul().graph
    product = Regions(kernel_of(graph, range(len(graph.ops)), {}).workload)
    assert KnobLayout(product, small_target()).column(IN_FLIGHT) < 0
    assert KnobLayout(chain(), small_target(fixed_slots=2)).column(IN_FLIGHT) < 0
    assert KnobLayout(chain(), small_target()).column(IN_FLIGHT) >= 0


def test_two_tiles_are_in_flight_only_where_a_core_has_two() -> None:
    layout = KnobLayout(chain(), small_target(cores=4))
    space, at = kernel_space(layout), layout.column(IN_FLIGHT)
    rows = sample(space, 200, np.random.default_rng(0))
    tilings = [tiling_of(space.decode(row), layout.regions) for row in rows[rows[:, at] == 1]]
    assert tilings
    for tiling, cores in tilings:
        tiles = -(-12 // tiling.tile[0]) * -(-10 // tiling.tile[1])
        assert tiles > cores or tiling.reduction_tile[0] < 8


def test_a_config_from_before_the_knob_means_one_tile() -> None:
    layout = KnobLayout(chain(), small_target())
    space = kernel_space(layout)
    row = sample(space, 1, np.random.default_rng(0))[0]
    row[layout.column(IN_FLIGHT)] = 0
    older = Config(tuple(item for item in space.decode(row) if item[0] != "tiles_in_flight"))
    assert space.encode(older).tolist() == row.tolist()
    assert tiling_of(older, layout.regions) == tiling_of(space.decode(row), layout.regions)


def test_draft_and_device_agree_on_what_the_knob_gains() -> None:
    """Attention, on rows that differ in nothing else: two tiles take no longer, and often a sixth less."""
    case = next(case for case in CASES if case.key == "ascend910/bert_base_attention")
    task, device = case.task(), case.device(nominal=True)
    at = task.layout.column(IN_FLIGHT)
    two = sample(task.space, 80, np.random.default_rng(1))
    two = two[two[:, at] == 1]
    one = two.copy()
    one[:, at] = 0
    assert len(two) > 20
    assert (task.model.draft_log(two) <= task.model.draft_log(one)).all()
    together, alone = (
        np.array(
            [each.latency_us for each in device.measure(task.workload, [task.space.decode(r) for r in rows])]
        )
        for rows in (two, one)
    )
    assert (together <= 1.01 * alone).all()
    assert np.mean(together < 0.85 * alone) > 0.3
