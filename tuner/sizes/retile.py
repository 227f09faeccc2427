"""A kernel's Config at another size: candidates for its tiles there, then the best near one.

    tile 24 of 96, four tiles   ->   at 50: 24 (as large), 13 (as many), and what lies around
    tile 96 of 96, not cut      ->   at 50: 50, not cut;   at 500: not cut where that fits, else 96

The draft chooses among them: a tile that does not fit at a size is made anew, and a lookup measures nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.knobs import Config, Rows
from tilewright.search_space.moves import distinct, neighbours
from tilewright.search_space.rules import IN_FLIGHT, KnobLayout, core_counts, order_text
from tilewright.tuner.kernel.task import KernelTask

MOST_MEANINGS = 2048
"""The limit on combinations of each loop's candidates; beyond, all loops take the same kind."""
MOST_STEPS = 6
"""Steps of the climb from the best meaning."""


@dataclass(frozen=True)
class Tuned:
    """A tuned kernel: its Config, and the extents of its loops."""

    config: Config
    extents: tuple[int, ...]


def retiled(task: KernelTask, tuned: Tuned) -> Config | None:
    """The Config of lowest draft near the candidates from `tuned` for `task`; None where none fits.

    ConfigError where the kernel has other loops than the tuned one.
    """
    rows = task.space.settle(_meanings(task.layout, tuned))
    if not len(rows):
        return None
    draft_log = task.model.draft_log
    best = rows[np.argmin(draft_log(rows))]
    for _ in range(MOST_STEPS):
        near = distinct(np.concatenate([best[None, :], neighbours(task.space, best)]))
        following = near[np.argmin(draft_log(near))]
        if (following == best).all():
            break
        best = following
    return task.space.decode(best)


def _meanings(layout: KnobLayout, tuned: Tuned) -> Rows:
    """Rows of the candidates, with the tuned slots and with one slot each; feasible or not."""
    regions = layout.regions
    tiling, _ = tiling_of(tuned.config, regions)
    sizes = (*tiling.tile, *tiling.reduction_tile)
    if len(sizes) != len(tuned.extents) or len(sizes) != len(regions.loops):
        raise ConfigError("a kernel of a range has other loops at this size of the network")
    choices = [
        _positions(size, extent, loop.extent, useful)
        for size, extent, loop, useful in zip(sizes, tuned.extents, regions.loops, layout.sizes, strict=True)
    ]
    if prod(map(len, choices)) > MOST_MEANINGS:
        most = max(map(len, choices))
        combined = [[each[min(index, len(each) - 1)] for each in choices] for index in range(most)]
    else:
        combined = [list(each) for each in product(*choices)]
    positions = np.array(combined, dtype=np.int64).reshape(len(combined), len(sizes))
    plain = Tiling(tiling.tile, tiling.reduction_tile, tiling.loop_order)
    return np.concatenate([_rows(layout, positions, each) for each in (tiling, plain)])


def _positions(size: int, tuned_extent: int, extent: int, useful: Sequence[int]) -> list[int]:
    """Positions of the useful sizes that a tile of `size` may mean: as many, as large, whole."""
    tiles = -(-tuned_extent // size) if size else 1
    as_many = -(-extent // tiles) if tiles else extent
    at_least = [index for index, each in enumerate(useful) if each >= as_many]
    smaller = [index for index, each in enumerate(useful) if each <= size]
    larger = [index for index, each in enumerate(useful) if each >= size]
    found = [at_least[0] if at_least else len(useful) - 1]
    found += smaller[-1:] + larger[:1]
    return list(dict.fromkeys(found))


def _rows(layout: KnobLayout, positions: npt.NDArray[np.int64], tiling: Tiling) -> Rows:
    """Rows with these tiles, the order and the slots of `tiling`, and as many cores as find work."""
    rows = np.zeros((len(positions), len(layout.knobs)), dtype=np.int32)
    for column, loop in enumerate(layout.tiled_loops):
        rows[:, column] = positions[:, loop]
    rows[:, layout.column("order")] = _order(layout, tiling.loop_order)
    slots = {
        "load": tiling.load_slots,
        "accumulator": tiling.accumulator_slots,
        "store": tiling.store_slots,
        IN_FLIGHT: tiling.tiles_in_flight,
    }
    for kind, count in slots.items():
        if (column := layout.column(kind)) >= 0:
            rows[:, column] = min(count, len(layout.knobs[column].values)) - 1
    counts = np.array(core_counts(layout.target.cores))
    with_work = np.searchsorted(counts, layout.parallel_tiles(positions))
    rows[:, layout.column("cores")] = np.minimum(with_work, len(counts) - 1)
    return rows


def _order(layout: KnobLayout, wanted: Sequence[int]) -> int:
    """The position of the loop order that is the wanted one among the axes that can be cut at this size.

    Where not every order is offered, that of the same innermost loop.
    """
    present = set(layout.orders[0]) if layout.orders else set()
    order = tuple(axis for axis in wanted if axis in present)
    texts = [order_text(each) for each in layout.orders]
    if order_text(order) in texts:
        return texts.index(order_text(order))
    return next((index for index, each in enumerate(layout.orders) if each[-1:] == order[-1:]), 0)


def loop_extents(regions: Regions) -> tuple[int, ...]:
    """The extents of a kernel's loops."""
    return tuple(loop.extent for loop in regions.loops)
