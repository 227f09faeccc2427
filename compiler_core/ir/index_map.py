"""Index maps: which element of an operand an op reads at a point of its iteration domain.

One quasi-affine form an operand dim,

    index = ((sum of coefficient * axis) + offset) // divisor % modulus

clamped to the operand's extent (a read outside gives the access's pad value), or data-dependent: the index is
the value another operand of the same op has at that point, and the region is the whole extent. Everything
else - halos, bytes, legality of a tile, backward region inference, digests - follows from these forms.

    convolution, rows      input[n, c, 2*y + r - 1, ...]     terms ((y, 2), (r, 1)), offset -1
    nearest resize by 2    input[n, c, y // 2, ...]          terms ((y, 1)), divisor 2
    reshape [6] -> [2, 3]  input[3*i + j]                    terms ((i, 3), (j, 1))
    reshape [2, 3] -> [6]  input[i // 3, i % 3]              divisor 3; modulus 3
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np

from tilewright.compiler_core.ir.dims import Dim, Shape, bind, known, symbols_in

Bound: TypeAlias = Any
"""An int, or an int64 array of one bound per tile; arrays broadcast over tile loops."""
Interval: TypeAlias = tuple[Bound, Bound]
"""[low, high): integers of a box, one pair an axis or dim. Empty when high <= low."""


@dataclass(frozen=True)
class IndexExpr:
    """The index of one operand dim. `source` >= 0 makes it data-dependent on that operand of the op."""

    terms: tuple[tuple[int, Dim], ...] = ()
    offset: Dim = 0
    divisor: Dim = 1
    modulus: Dim = 0
    source: int = -1

    @property
    def is_affine(self) -> bool:
        """A plain sum: no division, no modulus, not data-dependent."""
        return self.divisor == 1 and self.modulus == 0 and self.source < 0

    @property
    def projected_axis(self) -> int | None:
        """The axis this index is equal to, or None when it is anything but a plain axis."""
        if self.is_affine and self.offset == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            return self.terms[0][0]
        return None

    @cached_property
    def axes(self) -> frozenset[int]:
        """The axes this index moves with."""
        return frozenset([axis for axis, _ in self.terms])

    @cached_property
    def is_symbolic(self) -> bool:
        """Whether a coefficient, the offset, the divisor or the modulus depends on an unbound symbol."""
        numbers = [self.offset, self.divisor, self.modulus, *[coefficient for _, coefficient in self.terms]]
        return not all(isinstance(number, int) for number in numbers)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Names of the unbound symbols in any of its numbers."""
        return symbols_in((self.offset, self.divisor, self.modulus, *(number for _, number in self.terms)))

    def bound_to(self, values: Mapping[str, int]) -> "IndexExpr":
        """The same form with symbols replaced."""
        if not self.is_symbolic:
            return self
        return IndexExpr(
            tuple((axis, bind(coefficient, values)) for axis, coefficient in self.terms),
            bind(self.offset, values),
            bind(self.divisor, values),
            bind(self.modulus, values),
            self.source,
        )


@lru_cache(maxsize=256)
def axis_index(axis: int) -> IndexExpr:
    """The index that is equal to `axis`."""
    return IndexExpr(((axis, 1),))


def constant_index(at: Dim) -> IndexExpr:
    """The same index at every point."""
    return IndexExpr((), at)


def affine(*terms: tuple[int, Dim], offset: Dim = 0, divisor: Dim = 1, modulus: Dim = 0) -> IndexExpr:
    """The quasi-affine form, terms in any order; zero coefficients drop out."""
    kept = sorted(((a, c) for a, c in terms if c != 0), key=lambda term: term[0])
    return IndexExpr(tuple(kept), offset, divisor, modulus)


@dataclass(frozen=True)
class Access:
    """A read of one operand: the value and one IndexExpr per dim of it.

    `pad` is the value of a read outside the operand's extents; None means that no read ever falls outside.
    """

    value: int
    exprs: tuple[IndexExpr, ...]
    pad: float | None = None

    @property
    def axes(self) -> frozenset[int]:
        """Every axis this access moves with."""
        return frozenset().union(*(expr.axes for expr in self.exprs))

    @property
    def is_data_dependent(self) -> bool:
        """Whether any dim is indexed by another operand's value."""
        return any(expr.source >= 0 for expr in self.exprs)

    def is_identity(self, rank: int) -> bool:
        """Whether this reads, at every point, the element with the point's own result index."""
        return [expr.projected_axis for expr in self.exprs] == list(range(rank))


def unclamped_interval(
    expr: IndexExpr, box: Mapping[int, Interval] | list[Interval], extent: int
) -> Interval:
    """The hull [low, high) of the indices `expr` takes over a box of axis intervals, before clamping.

    A sum over a box has its extremes at corners; floor division is monotone; a modulus keeps an interval
    inside one period and otherwise covers the whole period. Works on ints and on arrays of bounds.
    """
    if expr.source >= 0:
        return 0, extent
    low: Bound = known(expr.offset, "an index offset")
    last: Bound = low
    for axis, coefficient in expr.terms:
        step = known(coefficient, "an index coefficient")
        axis_low, axis_high = box[axis]
        if step > 0:
            low, last = low + step * axis_low, last + step * (axis_high - 1)
        else:
            low, last = low + step * (axis_high - 1), last + step * axis_low
    divisor = known(expr.divisor, "an index divisor")
    if divisor != 1:
        low, last = low // divisor, last // divisor
    modulus = known(expr.modulus, "an index modulus")
    if modulus:
        same_period = low // modulus == last // modulus
        low, last = (
            np.where(same_period, low % modulus, 0),
            np.where(same_period, last % modulus, modulus - 1),
        )
    return low, last + 1


def clamped_interval(expr: IndexExpr, box: Mapping[int, Interval] | list[Interval], extent: int) -> Interval:
    """The part of `unclamped_interval` that lies inside [0, extent); (x, x) when none does."""
    low, high = unclamped_interval(expr, box, extent)
    low = np.minimum(np.maximum(low, 0), extent)
    return low, np.maximum(np.minimum(high, extent), low)


def reshape_exprs(source: Shape, result: Shape) -> tuple[IndexExpr, ...]:
    """Index per dim of a row-major tensor `source` read as `result` (equal element counts).

    Dims are matched greedily into the smallest runs of equal size, so that a dim that only moved stays a
    plain axis and a dim that was split or merged involves just its own parts.
    """
    exprs: list[IndexExpr] = []
    for source_run, result_run in _matching_runs(source, result):
        stride: Dim = 1
        terms: list[tuple[int, Dim]] = []
        for axis in reversed(result_run):
            if result[axis] != 1:
                terms.append((axis, stride))
            stride = stride * result[axis]
        divisor: Dim = 1
        reversed_exprs: list[IndexExpr] = []
        for position, dim in enumerate(reversed(source_run)):
            outermost = position == len(source_run) - 1
            if source[dim] == 1:
                reversed_exprs.append(constant_index(0))
            else:
                reversed_exprs.append(_digit(terms, divisor, 0 if outermost else source[dim], result))
            divisor = divisor * source[dim]
        exprs.extend(reversed(reversed_exprs))
    return tuple(exprs)


def _digit(terms: list[tuple[int, Dim]], divisor: Dim, modulus: Dim, result: Shape) -> IndexExpr:
    """`(sum of terms) // divisor % modulus` with terms that cannot matter left out.

    A term whose stride is a multiple of divisor * modulus changes nothing modulo; a tail of terms that stays
    below the divisor changes nothing after the division.
    """
    if isinstance(divisor, int) and isinstance(modulus, int):
        numbers = [(a, s) for a, s in terms if isinstance(s, int) and isinstance(result[a], int)]
        if len(numbers) == len(terms):
            period = divisor * modulus
            kept = [(a, s) for a, s in numbers if not (modulus and s % period == 0)]
            tail = sum((known(result[a], "extent") - 1) * s for a, s in kept if s % divisor)
            if tail < divisor:
                whole = [(a, s // divisor) for a, s in kept if s % divisor == 0]
                reach = sum((known(result[a], "extent") - 1) * s for a, s in whole)
                return affine(*whole, modulus=0 if not modulus or reach < modulus else modulus)
            reach = sum((known(result[a], "extent") - 1) * s for a, s in kept)
            return affine(*kept, divisor=divisor, modulus=0 if not modulus or reach < period else modulus)
    return affine(*terms, divisor=divisor, modulus=modulus)


def _matching_runs(source: Shape, result: Shape) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of dims of `source` and `result` whose products agree, in order."""
    runs: list[tuple[list[int], list[int]]] = []
    at_source = at_result = 0
    while at_source < len(source) or at_result < len(result):
        left: list[int] = []
        right: list[int] = []
        left_size: Dim = 1
        right_size: Dim = 1
        if at_source < len(source):
            left.append(at_source)
            left_size = source[at_source]
            at_source += 1
        if at_result < len(result):
            right.append(at_result)
            right_size = result[at_result]
            at_result += 1
        while left_size != right_size:
            grow_left = _smaller(left_size, right_size)
            if (grow_left and at_source < len(source)) or at_result == len(result):
                if at_source == len(source):
                    break
                left.append(at_source)
                left_size = left_size * source[at_source]
                at_source += 1
            else:
                right.append(at_result)
                right_size = right_size * result[at_result]
                at_result += 1
        runs.append((left, right))
    return runs


def _smaller(left: Dim, right: Dim) -> bool:
    """Whether to grow the left run next: numbers by size, symbolic products by their number of factors."""
    if isinstance(left, int) and isinstance(right, int):
        return left < right
    if isinstance(left, int):
        return True
    if isinstance(right, int):
        return False
    return max(len(m) for m, _ in left.terms) < max(len(m) for m, _ in right.terms)
