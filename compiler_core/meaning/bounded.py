"""The float64 meaning of an op, and the allowed error of the op in its own dtype: a running error bound.

A `Bounded` value has a slack for each element: the effect of its operands' slacks, and the error of one more
op (tolerance.py). The bound follows from the op itself, not from its name:

    sums of terms     what independent slacks come to, and the tolerance of a sum of these magnitudes
    everything else   how far the result moves when operands move by their slack, up or down

So terms that cancel are judged by their own size, a step that a rounding may take the other way is a slack of
that whole step, at this element only, and so is whatever a later op makes of it. Values that a network stores
exactly (integers, floats of one byte) have no slack of their own.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, clamped_interval, unclamped_interval
from tilewright.compiler_core.ir.ops import PROD, SUM, Array, AxisKind, Unit
from tilewright.compiler_core.meaning.evaluate import Box, Held, evaluate
from tilewright.compiler_core.meaning.tolerance import (
    TOGETHER,
    absolute_tolerance,
    epsilon,
    growing_tolerance,
    is_rounded,
    relative_tolerance,
    summing_tolerance,
)

MOST_CORNERS = 8
"""Combinations of operands up and down that are looked at; above it all move alike."""
INEXACT = 4.0
"""Epsilons by which the operands of a rounded step may move besides their slack: a quotient before it."""
BLOCK = 1 << 21
"""Elements of a result that are worked on at once."""
READ = 1 << 24
"""Elements of one operand that are read at once, where the results can be cut so that fewer are."""


@dataclass(frozen=True, eq=False)
class Bounded:
    """`value`: an operand as it is given, or a result in float64 if it is a float. `slack`: float64 of its
    shape, or None for none. `own` is the part of the slack that is there however exact the operands are.
    """

    value: Array
    slack: Array | None = None
    own: Array | None = None


def blocks(op: Op) -> Iterator[Box]:
    """The domain of `op` in boxes of at most BLOCK results, as far as it can be cut: reductions whole.

    They are cut further where a box reads more than READ elements of an operand and half of it reads fewer.
    """
    box = [(0, extent) for extent in op.extents]
    cut = [index for index in op.result_axes if op.axis_kinds[index] is AxisKind.PARALLEL]
    if op.row.unit is Unit.HOST:
        yield box
        return
    for part in _halved(box, cut, op.rank):
        yield from _reading_less(op, list(part), cut)


def _reading_less(op: Op, box: list[tuple[int, int]], axes: Sequence[int]) -> Iterator[Box]:
    reads = _most_read(op, box)
    if reads > READ:
        halves = [_halves(box, axis) for axis in axes if box[axis][1] - box[axis][0] > 1]
        first, second = min(halves, key=lambda pair: _most_read(op, pair[0]), default=(box, box))
        if 2 * _most_read(op, first) <= reads + READ // 8:
            yield from _reading_less(op, first, axes)
            yield from _reading_less(op, second, axes)
            return
    yield box


def _halves(box: list[tuple[int, int]], axis: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    low, high = box[axis]
    middle = (low + high) // 2
    first, second = ([*box[:axis], half, *box[axis + 1 :]] for half in ((low, middle), (middle, high)))
    return first, second


def _most_read(op: Op, box: Box) -> int:
    """Elements of the operand of which a box reads most, of those it does not read by data."""
    return max((_read(access, box) for access in op.operands), default=0)


def _read(access: Access, box: Box) -> int:
    if not all(expr.is_affine for expr in access.exprs):
        return 0
    reach = [unclamped_interval(expr, list(box), 0) for expr in access.exprs]
    return math.prod(max(0, int(high) - int(low)) for low, high in reach)


def boxes(shape: Sequence[int]) -> Iterator[Box]:
    """An array of `shape` in boxes of at most BLOCK elements."""
    yield from _halved([(0, extent) for extent in shape], range(len(shape)), len(shape))


def _halved(box: list[tuple[int, int]], axes: Sequence[int], rank: int) -> Iterator[Box]:
    sizes = [high - low for low, high in box[:rank]]
    longest = max(axes, key=lambda axis: sizes[axis], default=-1)
    if longest < 0 or sizes[longest] < 2 or math.prod(sizes) <= BLOCK:
        yield box
        return
    for half in _halves(box, longest):
        yield from _halved(half, axes, rank)


def place_of(op: Op, box: Box) -> tuple[slice, ...]:
    """The place of a box's results."""
    return tuple(slice(low, high) for low, high in box[: op.rank])


def bounded(
    op: Op, operands: Sequence[Bounded], kinds: Sequence[TensorType], result: TensorType, box: Box
) -> Bounded:
    """The results of `op` over `box`; `kinds` are its operands' types in the model, `result` its own."""
    wide = _Wide(op, [operand.value for operand in operands], result, box)
    slacks = [wide.part(index, operand.slack) for index, operand in enumerate(operands)]
    before = _before_a_step(op, wide.values, kinds, result)
    with np.errstate(all="ignore"):
        value = wide.run(wide.values)
        local = _local(wide, value, result)
        own = _tidy(_added(_moved(wide, before, value), local), value)
        slack = own
        if any(each is not None for each in slacks):
            both = [_added(one, step) for one, step in zip(slacks, before, strict=True)]
            slack = _tidy(_added(_moved(wide, both, value), local), value)
    return Bounded(value, slack, own)


def sum_with_least_slack(op: Op, operands: Sequence[Array], result: TensorType, box: Box) -> Bounded | None:
    """The results over `box` of an op that adds floats, with a part of their slack that is had for little:
    without the magnitudes of terms. None for other ops.
    """
    if not _adds(op) or not _errs(op, result):
        return None
    wide = _Wide(op, operands, result, box)
    with np.errstate(all="ignore"):
        value = wide.run(wide.values)
        return Bounded(value, _least(op, value, result))


def plainly(op: Op, operands: Sequence[Array], result: TensorType) -> Array:
    """The whole result of `op` in float64, without a bound."""
    shape = tuple(op.extents[: op.rank])
    whole = np.empty(shape, _wide_type(result).dtype.numpy)
    for box in blocks(op):
        wide = _Wide(op, operands, result, box)
        whole[place_of(op, box)] = wide.run(wide.values)
    return whole


def in_float64(array: Array) -> Array:
    """Floats in float64, other values unchanged."""
    stands = array.dtype.kind in "iub" or array.dtype == np.float64
    return array if stands else array.astype(np.float64)


def part_of(access: Access, array: Array, box: Box) -> Held:
    """The part of an operand that an op reads over a box; all of it where that depends on data."""
    if not all(expr.is_affine for expr in access.exprs):
        return Held(array, (0,) * array.ndim, array.shape)
    spans = [clamped_interval(expr, list(box), n) for expr, n in zip(access.exprs, array.shape, strict=True)]
    held = array[tuple(slice(int(low), int(high)) for low, high in spans)]
    return Held(held, tuple(int(low) for low, _ in spans), array.shape)


def _widened(graph: Graph) -> Graph:
    """`graph` with its rounded values in float64; constants are read as they are."""
    return replace(
        graph,
        values=tuple(_wide_type(kind) for kind in graph.values),
        ops=tuple(_wide_op(op, graph.values[op.result]) for op in graph.ops),
    )


def _wide_type(kind: TensorType) -> TensorType:
    return replace(kind, dtype=DType.F64) if is_rounded(kind.dtype) else kind


def _wide_op(op: Op, result: TensorType) -> Op:
    attributes = tuple(
        (name, "float64" if name == "to" and is_rounded(result.dtype) else own) for name, own in op.attributes
    )
    return replace(op, attributes=attributes, body=None if op.body is None else _widened(op.body))


class _Wide:
    """Evaluates an op in float64 over a box of its domain; `values` are the parts of operands it reads."""

    def __init__(self, op: Op, operands: Sequence[Array], result: TensorType, box: Box) -> None:
        self.op = _wide_op(op, result)
        self._result = _wide_type(result)
        self._box = box
        self._held = [part_of(a, array, box) for a, array in zip(op.operands, operands, strict=True)]
        self.values = [in_float64(held.elements) for held in self._held]

    def part(self, at: int, array: Array | None) -> Array | None:
        """The part of an array that goes with operand `at`."""
        return None if array is None else part_of(self.op.operands[at], array, self._box).elements

    def run(self, values: Sequence[Array]) -> Array:
        """The results on `values`."""
        return in_float64(evaluate(self.op, self._box, self._placed(values), self._result))

    def size(self, sizes: Sequence[Array], unpadded: int = -1) -> Array:
        """The fold of magnitudes, in float64; outside an operand lies its pad's, 0 for operand `unpadded`."""
        operands = tuple(
            a if a.pad is None else replace(a, pad=0.0 if index == unpadded else abs(a.pad))
            for index, a in enumerate(self.op.operands)
        )
        wide = replace(self._result, dtype=DType.F64)
        return evaluate(replace(self.op, operands=operands), self._box, self._placed(sizes), wide)

    def _placed(self, values: Sequence[Array]) -> list[Held]:
        return [replace(held, elements=value) for held, value in zip(self._held, values, strict=True)]


def _sizes(values: Sequence[Array]) -> list[Array]:
    return [np.abs(value.astype(np.float64)) for value in values]


def _before_a_step(
    op: Op, values: Sequence[Array], kinds: Sequence[TensorType], result: TensorType
) -> list[Array | None]:
    """The slacks that stand for the arithmetic before a result is rounded to steps; none elsewhere."""
    if is_rounded(result.dtype) or op.row.exact:
        return [None] * len(values)
    return [
        INEXACT * epsilon(kind.dtype) * np.abs(value) if is_rounded(kind.dtype) else None
        for value, kind in zip(values, kinds, strict=True)
    ]


def _adds(op: Op) -> bool:
    return op.row.contraction or op.row.reducer is SUM


def _moved(wide: _Wide, slacks: Sequence[Array | None], value: Array) -> Array | None:
    """The change of the result when the operands change by their slack."""
    if all(slack is None for slack in slacks):
        return None
    if _adds(wide.op):
        return _moved_sum(wide, slacks)
    if wide.op.row.reducer is PROD:
        (size,), (slack,) = _sizes(wide.values), slacks
        return wide.size([size + slack]) - wide.size([size])
    furthest: Array = np.zeros(value.shape)
    for corner in _corners(wide.values, slacks):
        step = np.abs(wide.run(corner).astype(np.float64) - value.astype(np.float64))
        furthest = np.fmax(furthest, step)
    return furthest


def _moved_sum(wide: _Wide, slacks: Sequence[Array | None]) -> Array:
    """Of a sum of terms or of products: slacks of one operand against the magnitudes of the others."""
    total: Array = np.zeros(())
    reached = _sizes(wide.values)
    for index, slack in enumerate(slacks):
        if slack is not None:
            squares = [np.square(each) for each in (*reached[:index], slack, *reached[index + 1 :])]
            total = total + TOGETHER * np.sqrt(wide.size(squares, unpadded=index))
            reached[index] = reached[index] + slack
    return total


def _corners(values: Sequence[Array], slacks: Sequence[Array | None]) -> Iterator[list[Array]]:
    loose = [index for index, slack in enumerate(slacks) if slack is not None]
    signs = list(product((-1, 1), repeat=len(loose))) if 2 ** len(loose) <= MOST_CORNERS else []
    for corner in signs or [(sign,) * len(loose) for sign in (-1, 1)]:
        moved = list(values)
        for index, sign in zip(loose, corner, strict=True):
            slack = slacks[index]
            assert slack is not None, "only what is loose moves"
            moved[index] = _within(values[index] + sign * slack, values[index].dtype)
        yield moved


def _within(array: Array, dtype: np.dtype[Any]) -> Array:
    """`array` as elements of an operand's dtype, its extremes kept to."""
    if dtype == np.bool_:
        return array > 0.5
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(array), float(limits.min), float(limits.max)).astype(dtype)
    return array.astype(dtype)


def _local(wide: _Wide, value: Array, result: TensorType) -> Array | None:
    """The op's own contribution to the error of its result."""
    op = wide.op
    if not _errs(op, result):
        return None
    least = _least(op, value, result)
    if _adds(op):
        least += summing_tolerance(result.dtype) * wide.size(_sizes(wide.values))
    return least


def _errs(op: Op, result: TensorType) -> bool:
    """Whether an op rounds what it makes."""
    return is_rounded(result.dtype) and op.row.unit not in (Unit.NONE, Unit.DMA)


def _least(op: Op, value: Array, result: TensorType) -> Array:
    """That contribution as far as it grows with the result itself."""
    relative = relative_tolerance(result.dtype)
    if op.row.reducer is not None:
        axes = zip(op.extents, op.axis_kinds, strict=True)
        terms = math.prod(extent for extent, kind in axes if kind is not AxisKind.PARALLEL)
        relative += growing_tolerance(result.dtype, terms)
    slack = np.abs(value)
    slack *= relative
    slack += absolute_tolerance(result.dtype)
    return slack


def _tidy(slack: Array | None, value: Array) -> Array | None:
    """Infinities and NaN must be equal; where nothing is known of a slack it is infinite."""
    if slack is None:
        return None
    return np.where(np.isfinite(value), np.nan_to_num(slack, nan=np.inf, posinf=np.inf), 0.0)


def _added(one: Array | None, other: Array | None) -> Array | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
