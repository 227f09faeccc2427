"""Tile sizes worth trying, and the default tiling: the largest tiles that fit and still use every core."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.lower import fits_matrix_unit, room_of, storable, storages_of
from tilewright.compiler_core.lowering.outline import buffer_outline
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.lowering.steps import BufferOutline
from tilewright.compiler_core.lowering.widths import BufferKey, Widths
from tilewright.compiler_core.target_model.target import CubeUnit, SimdUnit, Target

MOST_SIZES = 24
MOST_COUNTS = 4096
"""Numbers of tiles that a size is sought for; a loop of more tiles takes a multiple of the granule."""
MOST_TILES = 1 << 20
"""Tiles of one loop: every one of them is an entry in the tables of a lowered kernel."""
MOST_TOGETHER = 1 << 22
"""Tiles of all loops that one dim moves with: the same of a table of that dim."""


def useful_sizes(extent: int, granule: int, most_tiles: int = MOST_TILES) -> tuple[int, ...]:
    """Tile sizes of an axis that differ in effect, ascending.

    A size matters when it changes the number of tiles (the smallest size for each count: all others only pad
    the last tile) or fills a unit of `granule`. Where that leaves more than MOST_SIZES, small counts and
    multiples of the granule are kept, then evenly spread ones. No size makes more than `most_tiles` tiles.

        56, granule 16  ->  1 2 3 4 5 6 7 8 10 12 14 16 19 28 32 48 56
    """
    if extent <= 1:
        return (1,)
    least = -(-extent // most_tiles)
    counts = {-(-extent // tiles) for tiles in range(1, min(extent, MOST_COUNTS, most_tiles) + 1)} | {least}
    first = -(-least // granule) * granule
    filled = range(first, extent, granule)  # listed only where short: an extent may be 2**40
    sizes = sorted(counts.union(filled[: MOST_SIZES + 1]))
    if len(sizes) <= MOST_SIZES:
        return tuple(sizes)
    return tuple(sorted({extent, least, *_spread(least, extent, sorted(counts), granule)}))


def _spread(least: int, extent: int, counts: Sequence[int], granule: int) -> Iterator[int]:
    """About MOST_SIZES multiples of the granule, evenly in ratio; one of `counts` where none is near."""
    for low, high in pairwise(np.geomspace(least, extent, MOST_SIZES)):
        filled = int(high) // granule * granule
        nearest = filled if filled >= low else counts[bisect_right(counts, high) - 1]
        if nearest >= low:
            yield nearest


def granule_of(target: Target) -> int:
    """The unit width tile sizes should be multiples of where they can."""
    matrix = target.matrix
    if isinstance(matrix, CubeUnit):
        return matrix.shapes[0].n
    if isinstance(matrix, SimdUnit):
        return matrix.lanes(target.dtypes[0][0])
    return min(matrix.rows, matrix.cols)


def loop_sizes(regions: Regions, target: Target) -> tuple[tuple[int, ...], ...]:
    """The useful sizes of every loop of a kernel, ascending."""
    granule, most = granule_of(target), _most_tiles(regions)
    return tuple(
        useful_sizes(loop.extent, granule, tiles) for loop, tiles in zip(regions.loops, most, strict=True)
    )


def _most_tiles(regions: Regions) -> list[int]:
    """Per loop, how many tiles it may have: of loops that one dim moves with, short ones are cut freely."""
    together = {moves for op in regions.moves for moves in op if len(moves) > 1}
    for value in regions.graph.inputs:
        for dim in range(regions.rank_of(value)):
            together |= {frozenset(regions.buffer_moves(value, dim, early)) for early in (True, False)}
    most = [MOST_TILES] * len(regions.loops)
    for moves in together:
        left = MOST_TOGETHER
        for loop in sorted(moves, key=lambda at: regions.loops[at].extent):
            most[loop] = min(most[loop], max(1, left))
            left //= max(1, min(regions.loops[loop].extent, left))
    return most


def default_tiling(regions: Regions, target: Target, widths: Widths | None = None) -> Tiling:
    """The -O0 tiling: from the whole kernel as one tile, cut until it fits and every core has work.

    Of the loops that can be cut further, the one whose cut costs the least L1 traffic is; a cut that leaves a
    matrix unit half empty is taken last. ConfigError when even the smallest tiles do not fit. `widths` are
    those of the kernel under `loop_sizes`, where they are known already.
    """
    cutting = _Cutting(widths or Widths(regions, loop_sizes(regions, target)), target)
    if target.caches and sum(op.row.reducer is not None for op in regions.graph.ops) > 1:
        # The result of one fold should stay near for the next, where some tile allows it.
        near = replace(target, caches=(), l1_kib=target.caches[0].kib)
        try:
            return _cut(replace(cutting, target=near))
        except ConfigError:
            return _cut(cutting)
    return _cut(cutting)


def _cut(cutting: "_Cutting") -> Tiling:
    target = cutting.target
    at = [len(sizes) - 1 for sizes in cutting.widths.sizes]
    while True:
        fits = cutting.fits(at)
        if fits and cutting.parallel_tiles(at) >= target.cores:
            return cutting.tiling(at)
        moves = list(cutting.cuts(at, fits=fits))
        if not moves:
            if fits:
                return cutting.tiling(at)
            raise ConfigError(
                f"no tile of this kernel fits the {target.l1_bytes} bytes of L1 of {target.name}"
            )
        at = min(moves)[1]


@dataclass(frozen=True, eq=False)
class _Cutting:
    """Tilings of a kernel by position of each loop's size, with double buffering."""

    widths: Widths
    target: Target

    @property
    def regions(self) -> Regions:
        return self.widths.regions

    def sizes(self, at: Sequence[int]) -> tuple[int, ...]:
        return tuple([sizes[index] for sizes, index in zip(self.widths.sizes, at, strict=True)])

    def tiling(self, at: Sequence[int]) -> Tiling:
        sizes, rank = self.sizes(at), self.regions.graph.ops[self.regions.root].rank
        return Tiling(sizes[:rank], sizes[rank:], tuple(range(rank)))

    def fits(self, at: Sequence[int]) -> bool:
        """Whether the kernel can be lowered so."""
        regions, target, sizes = self.regions, self.target, self.sizes(at)
        cut = frozenset(d for d, loop in enumerate(regions.loops) if sizes[d] < loop.extent)
        if not storable(regions, cut, sizes) or not fits_matrix_unit(regions, sizes, target):
            return False
        plan = buffer_outline(regions, cut, target)
        storages = storages_of(plan, lambda buffer: self._elements(buffer, at), self.tiling(at), target)
        l1_bytes, accumulator_bytes = room_of(storages)
        return l1_bytes <= target.l1_bytes and accumulator_bytes <= target.accumulator_bytes

    def _elements(self, buffer: BufferOutline, at: Sequence[int]) -> int:
        return self.widths.elements(BufferKey(buffer.value, buffer.read_early), at)

    def tiles(self, at: Sequence[int]) -> Iterator[int]:
        """Tiles of every loop."""
        for loop, size in zip(self.regions.loops, self.sizes(at), strict=True):
            yield -(-loop.extent // size)

    def parallel_tiles(self, at: Sequence[int]) -> int:
        """Tiles to share out among cores."""
        loops = zip(self.regions.loops, self.tiles(at), strict=True)
        return prod([max(1, tiles) for loop, tiles in loops if loop.kind is AxisKind.PARALLEL])

    def cuts(self, at: list[int], *, fits: bool) -> Iterator[tuple[tuple[bool, int, int], list[int]]]:
        """Every way to cut one loop further, with its price: wasteful or not, elements loaded, loop."""
        granule = granule_of(self.target)
        for loop, index in enumerate(at):
            if index == 0 or (fits and self.regions.loops[loop].kind is not AxisKind.PARALLEL):
                continue
            choices = self.widths.sizes[loop]
            smaller = [i for i in range(index) if choices[i] <= max(1, choices[index] // 2)]
            following = [*at]
            following[loop] = smaller[-1] if smaller else 0
            # Lanes may lie along any axis: none has to keep a granule.
            lanes_move = isinstance(self.target.matrix, SimdUnit)
            wasteful = not lanes_move and choices[following[loop]] < granule <= choices[index]
            yield (wasteful, self._elements_loaded(following), loop), following

    def _elements_loaded(self, at: Sequence[int]) -> int:
        """Elements that pass from the LLB to L1 if every tile loads its operands anew."""
        loaded = [key for key in self.widths.buffers if key.read_early is not None]
        return prod(self.tiles(at)) * sum([self.widths.elements(key, at) for key in loaded])
