"""The share of every value that is needed: a bound may count no more of it than the outputs depend on.

    y = crop(relu(x)), half of it   ->    needed of relu(x): 1/2, of x: 1/2

A reader that needs a share of its own outputs needs no less than that share of what it touches for all of
them: each element that it reads serves at most as many outputs as any other, or lies in a window beside one.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod

import numpy as np

from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr

MOST_LISTED = 1 << 20
"""Points of a box whose indices are listed one by one."""
MOST_COUNTED = 1 << 14


def needed_shares(graph: Graph) -> Mapping[int, float]:
    """By value, a share of its elements that any schedule reads or computes; 1 for the outputs."""
    shares = dict.fromkeys(range(len(graph.values)), 0.0)
    shares |= dict.fromkeys(graph.outputs, 1.0)
    for op in reversed(graph.ops):
        for access in op.operands:
            elements = max(1, graph.elements(access.value))
            touched = min(1.0, touched_elements(graph, op, access) / elements)
            shares[access.value] = max(shares[access.value], shares[op.result] * touched)
    return shares


def touched_elements(graph: Graph, op: Op, access: Access) -> int:
    """The number of elements of an operand that the whole domain of an op reads.

    Dims that share an axis (a diagonal) count only their widest; data-dependent dims count one element.
    """
    counts = [
        _distinct(expr, op.extents, extent)
        for expr, extent in zip(access.exprs, graph.shape(access.value), strict=True)
    ]
    axes = [axis for expr in access.exprs for axis in expr.axes]
    shared = len(axes) != len(set(axes))
    return max(counts, default=1) if shared else prod(counts)


def _distinct(expr: IndexExpr, extents: Sequence[int], limit: int) -> int:
    """The number of indices inside [0, limit) that an expression takes; a lower bound if its box is too
    large.
    """
    if expr.source >= 0:
        return min(1, limit)
    if expr.projected_axis is not None:
        return min(extents[expr.projected_axis], limit)
    return _counted(expr, tuple(extents), limit)


@lru_cache(maxsize=MOST_COUNTED)
def _counted(expr: IndexExpr, extents: tuple[int, ...], limit: int) -> int:
    """`_distinct` of several axes, which layers of one shape ask for again and again."""
    if prod(max(1, extents[axis]) for axis, _ in expr.terms) > MOST_LISTED:
        return reached(expr, extents, limit)
    index = np.array([int(str(expr.offset))], dtype=np.int64)
    for axis, coefficient in expr.terms:
        along = np.arange(extents[axis], dtype=np.int64) * int(str(coefficient))
        index = np.unique((index[:, None] + along[None, :]).reshape(-1))
    index = index // int(str(expr.divisor))
    modulus = int(str(expr.modulus))
    index = index % modulus if modulus else index
    return len(np.unique(index[(index >= 0) & (index < limit)]))


def reached(expr: IndexExpr, extents: Sequence[int], limit: int) -> int:
    """A number of indices inside [0, limit) that an affine expression takes at least, without a list of them.

    Axes by stride: while no stride is longer than what the shorter ones fill, they fill a run without a gap.
    One axis of a longer stride repeats the run; further ones stand at their first point.
    """
    divisor, modulus = int(str(expr.divisor)), int(str(expr.modulus))
    low, run, stride, times = int(str(expr.offset)), 1, 0, 1
    for coefficient, axis in sorted(((int(str(c)), a) for a, c in expr.terms), key=lambda term: abs(term[0])):
        steps = extents[axis] - 1
        if steps < 0:
            return 0
        if abs(coefficient) <= run and not stride:
            low, run = low + min(0, coefficient * steps), run + abs(coefficient) * steps
        elif not stride and divisor == 1 and not modulus:
            low, stride, times = low + min(0, coefficient * steps), abs(coefficient), steps + 1
    if modulus:
        within = min((low + run - 1) // divisor - low // divisor + 1, modulus)
        return max(0, within - max(0, modulus - limit))
    if stride:
        first, last = max(0, -(low // stride)), min(times - 1, (limit - run - low) // stride)
        return max(0, last - first + 1) * run
    return max(0, min(limit, (low + run - 1) // divisor + 1) - max(0, low // divisor))
