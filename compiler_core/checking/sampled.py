"""Run a few tiles of every kernel, to check a Program that is too large to emulate whole. The sample has all
distinct tile shapes, in the interior, on edges and in corners, and a few more tiles at random. Operands come
from the values of the whole network, which the caller has from the interpreter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from tilewright.compiler_core.checking.emulate import StoredBox, run_tiles
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.lowering.program import KernelCall, KernelProgram, Loop, Program

MORE_TILES = 8
"""Tiles a kernel that are drawn at random beside the distinct shapes."""


@dataclass(frozen=True)
class Sampled:
    """The sample: `tiles` of `of_tiles` parallel tiles of `kernels` kernels, with every distinct shape."""

    kernels: int
    tiles: int
    of_tiles: int

    def __str__(self) -> str:
        return f"{self.tiles} of {self.of_tiles} tiles of {self.kernels} kernels, every distinct tile shape"


def sample_of(program: Program, seed: int) -> tuple[Sampled, tuple[tuple[KernelCall, tuple[int, ...]], ...]]:
    """The kernel calls of `program` with the parallel tiles to run of each, and their count."""
    rng = np.random.default_rng(seed)
    chosen = tuple(
        (call, sampled_tiles(call.program, rng))
        for stage in program.stages
        for call in stage
        if isinstance(call, KernelCall)
    )
    tiles = sum(len(tiles) for _, tiles in chosen)
    of_tiles = sum(call.program.parallel_tiles for call, _ in chosen)
    return Sampled(len(chosen), tiles, of_tiles), chosen


def emulate_sample(
    graph: Graph, known: Mapping[int, Array], chosen: tuple[tuple[KernelCall, tuple[int, ...]], ...]
) -> Iterator[tuple[StoredBox, Array]]:
    """Every box that the chosen tiles store, with the elements of `known` (the network's values) there."""
    for call, tiles in chosen:
        for box in run_tiles(graph, call, known, tiles):
            yield box, known[box.value][box.place]


def sampled_tiles(program: KernelProgram, rng: np.random.Generator) -> tuple[int, ...]:
    """Parallel tiles that meet every distinct tile shape, ascending, and up to MORE_TILES others."""
    loops = [loop for loop in program.loops if loop.parallel]
    tiles = {_number(loops, place) for place in product(*(_representatives(program, loop) for loop in loops))}
    drawn = rng.integers(0, program.parallel_tiles, MORE_TILES).tolist() if program.parallel_tiles else []
    return tuple(sorted(tiles | set(drawn)))


def _representatives(program: KernelProgram, loop: Loop) -> list[int]:
    """The first, a middle and the last tile of a loop, and the first of each set of equal widths."""
    spans = [span for buffer in program.buffers for span in buffer.region]
    spans += [span for domain in program.domains for span in domain]
    widths = [np.moveaxis(high - low, loop.dim, 0).reshape(-1) for low, high in spans if _moves(low, loop)]
    rows = [column.reshape(loop.count, -1) for column in widths]
    first: dict[bytes, int] = {}
    for tile in range(loop.count):
        first.setdefault(b"".join(row[tile].tobytes() for row in rows), tile)
    return sorted({0, loop.count // 2, loop.count - 1, *first.values()})


def _moves(bound: Array, loop: Loop) -> bool:
    return bool(bound.shape[loop.dim] > 1)


def _number(loops: list[Loop], place: tuple[int, ...]) -> int:
    """The parallel tile at these positions of the loops, outermost first."""
    number = 0
    for loop, index in zip(loops, place, strict=True):
        number = number * loop.count + index
    return number
