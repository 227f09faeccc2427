"""What part each axis of a contraction plays on a matrix unit, read off its index maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from compiler_core.graph import Op

Whole: TypeAlias = Any
"""int, or int64 array of one extent a tile."""


@dataclass(frozen=True)
class Roles:
    """The axes of a contraction by role, in domain order.

    `batch` axes move both operands (or neither), `rows` the left, `columns` the right. Of the folded axes
    `taps` slide along an axis of the result (a window), `depth` ones do not.
    """

    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    taps: tuple[int, ...]
    depth: tuple[int, ...]

    def extents(self, sizes: Sequence[Whole]) -> tuple[Whole, Whole, Whole, Whole, Whole, Whole]:
        """(batch, m_outer, m, n, taps, k) as units.py counts them, from the size of each domain axis.

        The two innermost row axes are m_outer and m; further ones repeat the product like a batch.
        """
        batch = _product(sizes, (*self.batch, *self.rows[:-2]))
        m_outer = _product(sizes, self.rows[-2:-1])
        m = _product(sizes, self.rows[-1:])
        n = _product(sizes, self.columns)
        return batch, m_outer, m, n, _product(sizes, self.taps), _product(sizes, self.depth)


@lru_cache(maxsize=4096)
def roles_of(op: Op) -> Roles:
    """The roles of a contraction's axes."""
    left, right = op.operands[0].axes, op.operands[1].axes
    slides = {
        axis
        for access in op.operands
        for expr in access.exprs
        if any(other in op.result_axes for other in expr.axes)
        for axis in expr.axes
        if axis in op.reduction_axes
    }
    return Roles(
        batch=tuple(a for a in op.result_axes if (a in left) == (a in right)),
        rows=tuple(a for a in op.result_axes if a in left and a not in right),
        columns=tuple(a for a in op.result_axes if a in right and a not in left),
        taps=tuple(a for a in op.reduction_axes if a in slides),
        depth=tuple(a for a in op.reduction_axes if a not in slides),
    )


def _product(sizes: Sequence[Whole], axes: Sequence[int]) -> Whole:
    total: Whole = 1
    for axis in axes:
        total = total * sizes[axis]
    return total
