"""Tile sizes worth trying, and the default tiling: the largest tiles that fit and still use every core."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.target_model.target import CubeUnit, Target

MOST_SIZES = 24


def useful_sizes(extent: int, granule: int) -> tuple[int, ...]:
    """Tile sizes of an axis that differ in effect, ascending.

    A size matters when it changes the number of tiles (the smallest size for each count: all others only pad
    the last tile) or fills a unit of `granule`. Where that leaves more than MOST_SIZES, small counts and
    multiples of the granule are kept, then evenly spread ones.

        56, granule 16  ->  1 2 3 4 5 6 7 8 10 12 14 16 19 28 32 48 56
    """
    if extent <= 1:
        return (1,)
    counts = {-(-extent // tiles) for tiles in range(1, min(extent, 4096) + 1)} | {1}
    filled = set(range(granule, extent, granule))
    sizes = sorted(counts | filled)
    if len(sizes) <= MOST_SIZES:
        return tuple(sizes)
    return tuple(sorted({extent, 1, *_spread(sizes, granule)}))


def _spread(sizes: list[int], granule: int) -> list[int]:
    """About MOST_SIZES of `sizes`, evenly in ratio, preferring those that fill a unit."""
    steps = np.geomspace(sizes[0], sizes[-1], MOST_SIZES)
    chosen: list[int] = []
    for low, high in pairwise(steps):
        between = [size for size in sizes if low <= size <= high]
        filled = [size for size in between if size % granule == 0]
        if between:
            chosen.append((filled or between)[-1])
    return chosen


def granule_of(target: Target) -> int:
    """The unit width tile sizes should be multiples of where they can."""
    matrix = target.matrix
    return matrix.shapes[0].n if isinstance(matrix, CubeUnit) else min(matrix.rows, matrix.cols)


def loop_sizes(regions: Regions, target: Target) -> tuple[tuple[int, ...], ...]:
    """The useful sizes of every loop of a kernel, ascending."""
    return tuple(useful_sizes(loop.extent, granule_of(target)) for loop in regions.loops)


def default_tiling(regions: Regions, target: Target) -> Tiling:
    """The -O0 tiling: from the whole kernel as one tile, cut until it fits and every core has work.

    Of the loops that can be cut further, the one whose cut costs the least L1 traffic is; a cut that leaves a
    matrix unit half empty is taken last. ConfigError when even the smallest tiles do not fit.
    """
    rank = regions.graph.ops[regions.root].rank
    choices = loop_sizes(regions, target)
    at = [len(sizes) - 1 for sizes in choices]
    while True:
        tiling = _tiling(regions, choices, at, rank)
        program = _try(regions, tiling, target)
        if program is not None and program.parallel_tiles >= target.cores:
            return tiling
        moves = list(_cuts(regions, choices, at, rank, target, fits=program is not None))
        if not moves:
            if program is not None:
                return tiling
            raise ConfigError(
                f"no tile of this kernel fits the {target.l1_bytes} bytes of L1 of {target.name}"
            )
        at = min(moves)[1]


def _tiling(regions: Regions, choices: tuple[tuple[int, ...], ...], at: list[int], rank: int) -> Tiling:
    sizes = [values[index] for values, index in zip(choices, at, strict=True)]
    return Tiling(tuple(sizes[:rank]), tuple(sizes[rank:]), tuple(range(rank)))


def _try(regions: Regions, tiling: Tiling, target: Target) -> KernelProgram | None:
    """The kernel lowered with double buffering, or None when it does not fit."""
    try:
        return lower_kernel(regions, tiling, target.cores, target)
    except ConfigError:
        return None


def _cuts(
    regions: Regions,
    choices: tuple[tuple[int, ...], ...],
    at: list[int],
    rank: int,
    target: Target,
    *,
    fits: bool,
) -> Iterator[tuple[tuple[bool, int, int], list[int]]]:
    """Every way to cut one loop further, with its price: wasteful or not, then elements loaded, then loop."""
    granule = granule_of(target)
    for loop, index in enumerate(at):
        if index == 0 or (fits and regions.loops[loop].kind is not AxisKind.PARALLEL):
            continue
        size = choices[loop][index]
        smaller = [i for i in range(index) if choices[loop][i] <= max(1, size // 2)]
        following = [*at]
        following[loop] = smaller[-1] if smaller else 0
        new_size = choices[loop][following[loop]]
        wasteful = new_size < granule <= size
        sizes = tuple(values[i] for values, i in zip(choices, following, strict=True))
        yield (wasteful, _elements_loaded(regions, sizes), loop), following


def _elements_loaded(regions: Regions, sizes: tuple[int, ...]) -> int:
    """Elements that pass from the LLB to L1 if every tile loads its operands anew."""
    tiles = 1
    for loop, size in zip(regions.loops, sizes, strict=True):
        tiles *= -(-loop.extent // size)
    return tiles * sum(
        regions.buffer_elements(value, sizes, early)
        for value in regions.graph.inputs
        for early in (True, False)
        if regions.is_read(value, early)
    )
