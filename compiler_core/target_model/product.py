"""The axes of a contraction as rows, columns and depth of a matrix unit's product."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.target_model.target import CubeUnit, MatrixUnit, Target

Whole: TypeAlias = Any
"""An int, or an int64 array."""


@dataclass(frozen=True)
class ProductAxes:
    """The axes behind each extent that units.matrix_cycles takes; an extent is the product of its axes."""

    batch: tuple[int, ...]
    m_outer: tuple[int, ...]
    m: tuple[int, ...]
    n: tuple[int, ...]
    taps: tuple[int, ...]
    k: tuple[int, ...]

    @property
    def roles(self) -> tuple[tuple[int, ...], ...]:
        """In the order in which matrix_cycles takes them."""
        return self.batch, self.m_outer, self.m, self.n, self.taps, self.k

    def extents(self, sizes: Sequence[Whole]) -> tuple[Whole, Whole, Whole, Whole, Whole, Whole]:
        """(batch, m_outer, m, n, taps, k) from the size of every domain axis: ints, or arrays of tiles."""

        def extent(axes: tuple[int, ...]) -> Whole:
            total: Whole = 1
            for axis in axes:
                total = total * sizes[axis]
            return total

        batch, m_outer, m, n, taps, k = map(extent, self.roles)
        return batch, m_outer, m, n, taps, k


def limited_axes(op: Op, target: Target) -> tuple[int, ...]:
    """Result axes of a contraction whose tiles hold `largest_n` elements at most; none without a limit."""
    if not op.row.contraction or not isinstance(target.matrix, CubeUnit) or not target.matrix.largest_n:
        return ()
    axes = product_axes(op, target.matrix)
    return axes.n or axes.batch


def product_axes(op: Op, matrix: MatrixUnit) -> ProductAxes:
    """Sort the axes of a contraction by which operands move with them.

    Result axes of both operands (or neither) are the batch, of the left one rows, of the right one columns.
    Reduction axes that slide a window (share an index with another axis but the batch's) are taps, the others
    depth. Units that pad rows by two axes take the innermost two; further row axes repeat the product, like a
    batch.

        conv [n, m, y, x | c, r, s]     batch n, m_outer y, m x, n m, taps r s, k c
        grouped [n, g, m, y, x | c, r, s], reading channel c + 4 g     batch n g, the rest the same
        matmul [b, i, j | k]            batch b, m i, n j, k k
    """
    left, right = op.operands[0].axes, op.operands[1].axes
    batch = tuple(a for a in op.result_axes if (a in left) == (a in right))
    rows = tuple(a for a in op.result_axes if a in left and a not in right)
    columns = tuple(a for a in op.result_axes if a in right and a not in left)
    indices = [
        [axis for axis, _ in expr.terms if axis not in batch]
        for access in op.operands
        for expr in access.exprs
    ]
    sliding = {axis for index in indices if len(index) > 1 for axis in index}
    taps = tuple(a for a in op.reduction_axes if a in sliding)
    depth = tuple(a for a in op.reduction_axes if a not in sliding)
    pads_rows = isinstance(matrix, CubeUnit) and not matrix.joins_rows
    if pads_rows:
        batch, rows = batch + rows[:-2], rows[-2:]
    return ProductAxes(batch, rows[:-1], rows[-1:], columns, taps, depth)
