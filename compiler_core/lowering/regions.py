"""Backward region inference: the region of every op and value of a kernel for one tile of the root.

Intervals are int64 arrays with one dim a loop, of size 1 where the interval does not move with that loop, so
they broadcast: `low[i, 0, j]` is the bound at tile i of loop 0 and tile j of loop 2. Each interval depends on
the tile sizes of few loops only and is remembered by them, so a search that has seen the sizes before pays
for dictionary lookups.

A loop may also be cut by several sizes at once: its tiles by the first size, then those by the next. So one
pass over the index maps gives the regions for all sizes (widths.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import IndexExpr, clamped_interval
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.steps import Outline, OutlineKey, Skeleton, SkeletonKey

Bounds = npt.NDArray[np.int64]
Size = int | tuple[int, ...]
"""The cut of a loop: a tile size, or several whose tiles lie one behind the other."""
SpanKey = tuple[Size, ...]
"""An op or value, its axis or dim, its reader, and the sizes of the loops it moves with."""
OF_OP = -1
"""In place of the reader, where the interval is that of an op's axis."""
NO_ANCHOR = -1


class _Bounds(NamedTuple):
    low: Bounds
    high: Bounds


class Span(_Bounds):
    """The interval [low, high) of every tile. An object equals itself alone, so caches may be keyed by it."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@dataclass(frozen=True)
class LoopAxis:
    """One loop of a kernel: over an axis of the root's result, or of the anchor's reduction."""

    op: int
    axis: int
    extent: int
    kind: AxisKind


def _tile_span(extent: int, size: Size, loop: int, loops: int) -> Span:
    parts = [
        (np.arange(0, max(extent, 1), tile, dtype=np.int64), tile)
        for tile in (size if isinstance(size, tuple) else (size,))
    ]
    low = np.concatenate([part for part, _ in parts])
    high = np.minimum(np.concatenate([part + tile for part, tile in parts]), extent)
    shape = [1] * loops
    shape[loop] = len(low)
    return Span(low.reshape(shape), high.reshape(shape))


def _whole_span(extent: int, loops: int) -> Span:
    zero = np.zeros((1,) * loops, dtype=np.int64)
    return Span(zero, zero + extent)


@dataclass(frozen=True, eq=False)
class Regions:
    """The dependence structure of one Workload, and its regions for any tile sizes.

    `anchor` is the op whose reduction may be split in time, or NO_ANCHOR. Tile sizes are one per entry of
    `loops`. `early` ops run at every step of the anchor's reduction, the others once after its last.
    Intervals, widths and outlines made before are kept: that changes the cost of an answer, never the answer.
    """

    workload: Workload
    outlines: dict[OutlineKey, Outline] = field(default_factory=dict)
    skeletons: dict[SkeletonKey, Skeleton] = field(default_factory=dict)
    _spans: dict[SpanKey, Span] = field(default_factory=dict)
    _widest: dict[SpanKey, int] = field(default_factory=dict)
    _buffer_moves: dict[tuple[int, int, bool | None], tuple[int, ...]] = field(default_factory=dict)
    _value_moves: dict[tuple[int, bool], frozenset[int]] = field(default_factory=dict)

    def forget(self) -> None:
        """Let intervals and widths go, the most of what is kept; they are made again where asked for."""
        self._spans.clear()
        self._widest.clear()

    @property
    def graph(self) -> Graph:
        """The kernel's ops over canonical values."""
        return self.workload.graph

    @property
    def root(self) -> int:
        """Position of the root op: the last one."""
        return len(self.graph.ops) - 1

    @cached_property
    def anchor(self) -> int:
        """The last contraction, else the last reduction, whose reduction can be split; or NO_ANCHOR."""
        ops = self.graph.ops
        reducing = [index for index in range(len(ops)) if ops[index].reduction_axes]
        for op in sorted(reducing, key=lambda at: (not ops[at].row.contraction, -at)):
            if self._splittable(op):
                return op
        return NO_ANCHOR

    def _splittable(self, at: int) -> bool:
        """Whether nothing outside the ops above `at` needs one of their values, but `at`'s own result."""
        cone = self._above(at)
        inner = cone - {at}
        return all(
            self.graph.ops[op].result not in self.graph.outputs
            and set(self.graph.readers.get(self.graph.ops[op].result, ())) <= cone
            for op in inner
        )

    def _above(self, at: int) -> frozenset[int]:
        """`at` and every op it depends on."""
        found: set[int] = set()
        pending = [at]
        while pending:
            op = pending.pop()
            if op not in found:
                found.add(op)
                pending.extend(
                    self.graph.producer[access.value]
                    for access in self.graph.ops[op].operands
                    if access.value in self.graph.producer
                )
        return frozenset(found)

    @cached_property
    def early(self) -> frozenset[int]:
        """Ops that run at every reduction step: the anchor and all above it; without an anchor, every op."""
        if self.anchor == NO_ANCHOR:
            return frozenset(range(len(self.graph.ops)))
        return self._above(self.anchor)

    @cached_property
    def loops(self) -> tuple[LoopAxis, ...]:
        """The root's result axes, then the anchor's reduction axes."""
        root = self.graph.ops[self.root]
        loops = [LoopAxis(self.root, a, root.extents[a], root.axis_kinds[a]) for a in root.result_axes]
        if self.anchor != NO_ANCHOR:
            op = self.graph.ops[self.anchor]
            loops += [LoopAxis(self.anchor, a, op.extents[a], AxisKind.REDUCTION) for a in op.reduction_axes]
        return tuple(loops)

    @cached_property
    def tile_loops(self) -> frozenset[int]:
        """The loops that cut the root's result."""
        return frozenset(
            index for index, loop in enumerate(self.loops) if loop.kind is not AxisKind.REDUCTION
        )

    @cached_property
    def _loop_at(self) -> dict[tuple[int, int], int]:
        return {(loop.op, loop.axis): index for index, loop in enumerate(self.loops)}

    @cached_property
    def moves(self) -> tuple[tuple[frozenset[int], ...], ...]:
        """Per op and axis: the loops its interval moves with."""
        moves: list[tuple[frozenset[int], ...]] = [()] * len(self.graph.ops)
        for index in reversed(range(len(self.graph.ops))):
            op = self.graph.ops[index]
            own: list[frozenset[int]] = []
            for axis in range(len(op.domain)):
                if (index, axis) in self._loop_at:
                    own.append(frozenset({self._loop_at[index, axis]}))
                elif axis in op.reduction_axes:
                    own.append(frozenset())
                else:
                    own.append(self._dim_moves(op.result, axis, moves))
            moves[index] = tuple(own)
        return tuple(moves)

    @cached_property
    def op_moves(self) -> tuple[frozenset[int], ...]:
        """Per op: the loops that any of its axes moves with."""
        return tuple(frozenset[int]().union(*axes) for axes in self.moves)

    @cached_property
    def _sorted_moves(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        return tuple(tuple(tuple(sorted(axis)) for axis in op) for op in self.moves)

    def _dim_moves(
        self, value: int, dim: int, moves: Sequence[tuple[frozenset[int], ...]], early: bool | None = None
    ) -> frozenset[int]:
        """The loops one dim of a value moves with, as read by early, late or (None) all ops."""
        return frozenset[int]().union(
            *(moves[reader][axis] for reader, expr in self._reads(value, dim, early) for axis in expr.axes)
        )

    def value_moves(self, value: int, early: bool) -> frozenset[int]:
        """The loops with which the region of an outer operand moves, as read by early or late ops."""
        found = self._value_moves.get((value, early))
        if found is None:
            dims = [self.buffer_moves(value, dim, early) for dim in range(self.rank_of(value))]
            found = self._value_moves[value, early] = frozenset[int]().union(*dims)
        return found

    def _reads(self, value: int, dim: int, early: bool | None = None) -> list[tuple[int, IndexExpr]]:
        return [
            (reader, access.exprs[dim])
            for reader in self.graph.readers.get(value, ())
            if early is None or (reader in self.early) == early
            for access in self.graph.ops[reader].operands
            if access.value == value
        ]

    def axis_moves(self, at: int, axis: int) -> tuple[int, ...]:
        """The loops with which the interval of one axis of op `at` moves, ascending."""
        return self._sorted_moves[at][axis]

    def axis_span(
        self, at: int, axis: int, sizes: Sequence[Size], known: dict[SpanKey, Span] | None = None
    ) -> Span:
        """The interval of one domain axis of op `at`, per tile. Made intervals are kept in `known`."""
        spans = self._spans if known is None else known
        key = (at, axis, OF_OP, *[sizes[loop] for loop in self._sorted_moves[at][axis]])
        span = spans.get(key)
        if span is None:
            span = spans[key] = self._axis_span(self.graph.ops[at], at, axis, sizes, spans)
        return span

    def _axis_span(
        self, op: Op, at: int, axis: int, sizes: Sequence[Size], known: dict[SpanKey, Span]
    ) -> Span:
        loop = self._loop_at.get((at, axis))
        if loop is not None:
            return _tile_span(self.loops[loop].extent, sizes[loop], loop, len(self.loops))
        if axis in op.reduction_axes:
            return _whole_span(op.extents[axis], len(self.loops))
        low, high = self._hull(op.result, axis, sizes, None, known)
        if op.axis_kinds[axis] is AxisKind.SCAN:
            # A scan that is not the root has no carry between tiles: every tile starts it anew.
            low = np.zeros_like(low)
        return Span(low, high)

    def value_span(
        self,
        value: int,
        dim: int,
        sizes: Sequence[Size],
        early: bool,
        known: dict[SpanKey, Span] | None = None,
    ) -> Span:
        """The interval of one dim of an outer operand that early (or late) ops read, per tile."""
        spans = self._spans if known is None else known
        key = (value, dim, early, *[sizes[loop] for loop in self.buffer_moves(value, dim, early)])
        span = spans.get(key)
        if span is None:
            span = spans[key] = self._hull(value, dim, sizes, early, spans)
        return span

    def is_read(self, value: int, early: bool) -> bool:
        """Whether early (or late) ops read a value."""
        return any((reader in self.early) == early for reader in self.graph.readers.get(value, ()))

    def rank_of(self, value: int) -> int:
        """Number of dims of a value."""
        return len(self.graph.values[value].shape)

    def buffer_span(
        self,
        value: int,
        dim: int,
        sizes: Sequence[Size],
        read_early: bool | None,
        known: dict[SpanKey, Span] | None = None,
    ) -> Span:
        """The interval an L1 buffer holds: computed (None), or loaded for early or for late ops."""
        if read_early is None:
            return self.axis_span(self.graph.producer[value], dim, sizes, known)
        return self.value_span(value, dim, sizes, read_early, known)

    def buffer_elements(self, value: int, sizes: tuple[int, ...], read_early: bool | None) -> int:
        """The most elements an L1 buffer holds in any tile, as the product of its widest intervals."""
        elements = 1
        for dim in range(self.rank_of(value)):
            elements *= self.widest(value, dim, sizes, read_early)
        return elements

    def widest(self, value: int, dim: int, sizes: tuple[int, ...], read_early: bool | None) -> int:
        """The widest interval of one dim of an L1 buffer over all tiles."""
        moves = self.buffer_moves(value, dim, read_early)
        key = (value, dim, OF_OP if read_early is None else read_early, *[sizes[loop] for loop in moves])
        found = self._widest.get(key)
        if found is None:
            low, high = self.buffer_span(value, dim, sizes, read_early)
            found = self._widest[key] = int((high - low).max())
        return found

    def buffer_moves(self, value: int, dim: int, read_early: bool | None) -> tuple[int, ...]:
        """The loops with which one dim of an L1 buffer moves, ascending."""
        key = (value, dim, read_early)
        found = self._buffer_moves.get(key)
        if found is None:
            if read_early is None:
                moves = self.moves[self.graph.producer[value]][dim]
            else:
                moves = self._dim_moves(value, dim, self.moves, read_early)
            found = self._buffer_moves[key] = tuple(sorted(moves))
        return found

    def _hull(
        self, value: int, dim: int, sizes: Sequence[Size], early: bool | None, known: dict[SpanKey, Span]
    ) -> Span:
        extent = self.graph.shape(value)[dim]
        hull: Span | None = None
        reads = self._reads(value, dim, early)
        if len(reads) == 1:
            # Read by one op, point by point: the same interval, which is inside the value already.
            reader, expr = reads[0]
            axis = expr.projected_axis
            if axis is not None and self.graph.ops[reader].extents[axis] == extent:
                return self.axis_span(reader, axis, sizes, known)
        for reader, expr in reads:
            box = {axis: self.axis_span(reader, axis, sizes, known) for axis in expr.axes}
            low, high = clamped_interval(expr, box, extent)
            low, high = (
                np.asarray(bound, dtype=np.int64).reshape(np.shape(bound) or (1,) * len(self.loops))
                for bound in (low, high)
            )
            part = Span(low, high)
            hull = part if hull is None else _union(hull, part)
        assert hull is not None, "every value of a kernel but the root's has a reader"
        return hull


def _union(one: Span, other: Span) -> Span:
    """The smallest interval over both; an empty one does not widen it."""
    one_empty, other_empty = one[1] <= one[0], other[1] <= other[0]
    low = np.where(one_empty, other[0], np.where(other_empty, one[0], np.minimum(one[0], other[0])))
    high = np.where(one_empty, other[1], np.where(other_empty, one[1], np.maximum(one[1], other[1])))
    return Span(low, high)
