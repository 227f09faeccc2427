"""The widths of the tiles of a kernel, for every combination of useful tile sizes: tables, made in one pass.

The width of one dim of a buffer depends on the sizes of the few loops the dim moves with. All sizes of a loop
are put through the index maps at once, their tiles one behind the other; the widest tile of each size is what
a table holds.

    7 rows by 2, 3, 7     tiles 2 2 2 1 | 3 3 1 | 7      rows of the input they need, halo 1:  4 | 5 | 7
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.lowering.regions import Regions, Size, Span, SpanKey

Counts = npt.NDArray[np.int64]
MOST_AT_ONCE = 1 << 16
"""Tiles, over all loops of a dim, that are put through the index maps at once."""


class BufferKey(NamedTuple):
    """A value as it lies in L1: computed (`read_early` None), or loaded for early or for late ops."""

    value: int
    read_early: bool | None


class _Dim(NamedTuple):
    key: BufferKey
    dim: int


class WidthTable(NamedTuple):
    """The widest interval of a dim by position of the size of each loop that it `moves` with."""

    widths: Counts
    moves: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Widths:
    """The widest intervals of a kernel's buffers by position of the tile sizes in `sizes` [loops][sizes]."""

    regions: Regions
    sizes: tuple[tuple[int, ...], ...]

    @cached_property
    def buffers(self) -> dict[BufferKey, int]:
        """Every buffer that a kernel may have, numbered."""
        regions = self.regions
        read = [
            BufferKey(value, early)
            for value in regions.graph.inputs
            for early in (True, False)
            if regions.is_read(value, early)
        ]
        made = [BufferKey(op.result, None) for op in regions.graph.ops]
        return {key: index for index, key in enumerate((*read, *made))}

    @cached_property
    def tables(self) -> tuple[tuple[WidthTable, ...], ...]:
        """By number of a buffer, a table a dim.

        Dims that move with the same loops are done together: what they have in common is inferred once.
        """
        alike: dict[tuple[int, ...], list[_Dim]] = {}
        for key in self.buffers:
            for dim in range(self.regions.rank_of(key.value)):
                moves = self.regions.buffer_moves(key.value, dim, key.read_early)
                alike.setdefault(moves, []).append(_Dim(key, dim))
        spans: dict[SpanKey, Span] = {}
        made: dict[_Dim, WidthTable] = {}
        for moves, dims in alike.items():
            tables = self._tables(moves, dims, spans)
            made |= {dim: WidthTable(table, moves) for dim, table in zip(dims, tables, strict=True)}
        return tuple(
            tuple(made[_Dim(key, dim)] for dim in range(self.regions.rank_of(key.value)))
            for key in self.buffers
        )

    def widest(self, key: BufferKey, dim: int, positions: Sequence[int]) -> int:
        """The widest interval of one dim of a buffer, at a position in `sizes` for every loop."""
        table = self.tables[self.buffers[key]][dim]
        return int(table.widths[tuple([positions[loop] for loop in table.moves])])

    def elements(self, key: BufferKey, positions: Sequence[int]) -> int:
        """The most elements a buffer holds in any tile, as the product of its widest intervals."""
        return prod([self.widest(key, dim, positions) for dim in range(self.regions.rank_of(key.value))])

    def _tables(
        self, moves: tuple[int, ...], dims: "Sequence[_Dim]", spans: dict[SpanKey, Span]
    ) -> list[Counts]:
        """The tables of dims that move with the same loops."""
        at_once = self._at_once(moves)
        shape = [len(self.sizes[loop]) if loop in at_once else 1 for loop in range(len(self.sizes))]
        tables = [np.empty([len(self.sizes[loop]) for loop in moves], dtype=np.int64) for _ in dims]
        for index, sizes in self._cuts(moves, at_once):
            known = spans if len(at_once) == len(moves) else {}
            widest: dict[Span, Counts] = {}
            for (key, dim), table in zip(dims, tables, strict=True):
                span = self.regions.buffer_span(key.value, dim, sizes, key.read_early, known)
                if span not in widest:
                    widest[span] = self._widest_of_each(span.high - span.low, at_once)
                table[index] = np.broadcast_to(widest[span], shape).reshape(
                    [shape[loop] for loop in moves if loop in at_once]
                )
        return tables

    def _widest_of_each(self, widths: Counts, at_once: frozenset[int]) -> Counts:
        """The widest of the tiles of every size of the loops `at_once`, and of all tiles of the others."""
        for loop, tiles in enumerate(widths.shape):
            if tiles > 1 and loop in at_once:
                widths = np.maximum.reduceat(widths, self._starts[loop], axis=loop)
            elif tiles > 1:
                widths = widths.max(axis=loop, keepdims=True)
        return widths

    @cached_property
    def _starts(self) -> tuple[Counts, ...]:
        """Per loop, where the tiles of each size begin when all lie one behind the other."""
        counts = [
            [max(1, -(-loop.extent // size)) for size in sizes]
            for loop, sizes in zip(self.regions.loops, self.sizes, strict=True)
        ]
        return tuple(np.cumsum([0, *each[:-1]], dtype=np.int64) for each in counts)

    def _tiles(self, loop: int) -> int:
        """Tiles of a loop over all its sizes."""
        extent = self.regions.loops[loop].extent
        return sum(max(1, -(-extent // size)) for size in self.sizes[loop])

    def _at_once(self, moves: Sequence[int]) -> frozenset[int]:
        """The loops whose sizes are put through the index maps together."""
        chosen: set[int] = set()
        tiles = 1
        for loop in sorted(moves, key=self._tiles):
            tiles *= self._tiles(loop)
            if tiles <= MOST_AT_ONCE:
                chosen.add(loop)
        return frozenset(chosen)

    def _cuts(
        self, moves: Sequence[int], at_once: frozenset[int]
    ) -> Iterator[tuple[tuple[int | slice, ...], list[Size]]]:
        """The places in a table, and their sizes: every size of the other loops, all of those `at_once`."""
        places: list[Sequence[int | slice]] = [
            [slice(None)] if loop in at_once else range(len(self.sizes[loop])) for loop in moves
        ]
        for index in product(*places):
            sizes: list[Size] = [values[-1] for values in self.sizes]
            for loop, position in zip(moves, index, strict=True):
                sizes[loop] = self.sizes[loop] if isinstance(position, slice) else self.sizes[loop][position]
            yield index, sizes
