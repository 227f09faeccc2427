"""Tables of widths hold what each tile size gives by itself, however many sizes are put through at once."""

import numpy as np
import pytest

from tests.small_networks import product_chain, split_matmul
from tests.targets import small_target
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering import widths
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.tile import loop_sizes
from tilewright.compiler_core.lowering.widths import Widths


@pytest.mark.parametrize("at_once", [1, 8, 1 << 16])
@pytest.mark.parametrize("graph", [product_chain().graph, split_matmul().graph])
def test_tables_hold_the_widest_tile_of_every_size(
    graph: Graph, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widths, "MOST_AT_ONCE", at_once)
    regions = Regions(kernel_of(graph, range(len(graph.ops)), {}).workload)
    made = Widths(regions, loop_sizes(regions, small_target()))
    moving = 0
    for key, number in made.buffers.items():
        for dim, (table, moves) in enumerate(made.tables[number]):
            moving += len(moves)
            for index in np.ndindex(*table.shape):
                sizes = [each[-1] for each in made.sizes]
                for loop, position in zip(moves, index, strict=True):
                    sizes[loop] = made.sizes[loop][position]
                assert table[index] == regions.widest(key.value, dim, tuple(sizes), key.read_early)
    assert moving
