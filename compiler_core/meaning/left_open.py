"""Elements of which the standard leaves open what they are, so that two right programs may differ there.

An order of numbers has no place for NaN (some take it for the largest, some pass over it), and an integer
beyond its type may wrap around or stop at the end. Which ops have such a gap is a column of the op table
(ir/ops.py). An element is open where its op meets the gap, or reads an element that is open.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import SUM, Array, AxisKind, Undefined, Unit
from tilewright.compiler_core.meaning.bounded import in_float64, part_of
from tilewright.compiler_core.meaning.evaluate import Box, Held, evaluate, read_over

_REAL = TensorType((), DType.F64)


def left_open(
    op: Op, operands: Sequence[Array], before: Sequence[Array | None], result: TensorType, box: Box
) -> Array | None:
    """The open elements of a result over `box`, as booleans; None where there are none.

    `before` has the open elements of the operands, as booleans of their shapes.
    """
    marks = list(before)
    if op.row.gap is Undefined.ORDER:
        marks = [_either(own, _nan(array)) for own, array in zip(before, operands, strict=True)]
    read = _reading(op, operands, marks, box) if any(mark is not None for mark in marks) else None
    found = _either(read, _beyond(op, operands, result, box) if op.row.gap is Undefined.RANGE else None)
    return found if found is not None and found.any() else None


def _nan(array: Array) -> Array | None:
    """The elements in which an operand is NaN."""
    if array.dtype.kind in "iub":
        return None
    found = np.isnan(array)
    return found if found.any() else None


def _either(one: Array | None, other: Array | None) -> Array | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other


def _beyond(op: Op, operands: Sequence[Array], result: TensorType, box: Box) -> Array | None:
    """The integers that their type does not hold; of a sum the magnitudes of its terms are added up, because
    it may be taken in any order.
    """
    if result.dtype.is_float or result.dtype is DType.BOOL:
        return None
    lowest, highest = result.dtype.limits
    reals = [in_float64(array).astype(np.float64, copy=False) for array in operands]
    if op.row.reducer is SUM:
        reals = [np.abs(array) for array in reals]
        axes = zip(op.extents, op.axis_kinds, strict=True)
        terms = math.prod(extent for extent, kind in axes if kind is not AxisKind.PARALLEL)
        if terms * math.prod(float(np.max(array, initial=0.0)) for array in reals) <= highest:
            return None
    attributes = tuple((name, "float64" if name == "to" else own) for name, own in op.attributes)
    held = [part_of(access, array, box) for access, array in zip(op.operands, reals, strict=True)]
    with np.errstate(all="ignore"):
        made = np.trunc(evaluate(replace(op, attributes=attributes), box, held, _REAL))
        return ~((made >= lowest) & (made <= highest))


def _reading(op: Op, operands: Sequence[Array], marks: Sequence[Array | None], box: Box) -> Array:
    """The results over `box` that read an element that is marked."""
    shape = tuple(high - low for low, high in box[: op.rank])
    if op.row.unit is Unit.HOST:
        return np.full(shape, any(mark is not None and mark.any() for mark in marks))
    if op.row.contraction:
        return _multiplying(op, operands, marks, box, shape)
    places = [part_of(access, array, box) for access, array in zip(op.operands, operands, strict=True)]
    read: list[Array] = [np.zeros(())] * len(operands)
    found: Array = np.zeros([high - low for low, high in box], np.bool_)
    for index in reversed(range(len(operands))):  # an index is an operand behind what it indexes
        access, mark = op.operands[index], marks[index]
        read[index] = read_over(access, places[index], box, read)
        if mark is not None:
            there = replace(access, pad=None if access.pad is None else 0.0)
            found = found | read_over(there, part_of(there, mark, box), box, read)
    found = np.any(found, axis=tuple(op.reduction_axes), keepdims=True)
    for axis in range(op.rank):
        if op.axis_kinds[axis] is AxisKind.SCAN:
            found = np.logical_or.accumulate(found, axis=axis)
    return found.reshape(shape)


def _multiplying(
    op: Op, operands: Sequence[Array], marks: Sequence[Array | None], box: Box, shape: tuple[int, ...]
) -> Array:
    """The same of a sum of products: where the count of marked factors is not zero."""
    found: Array = np.zeros(shape, np.bool_)
    counting = replace(op, operands=tuple(replace(a, pad=a.pad and 0.0) for a in op.operands))
    for index, mark in enumerate(marks):
        if mark is not None:
            factors = [np.ones(array.shape) for array in operands]
            factors[index] = mark.astype(np.float64)
            held: list[Held] = [part_of(a, f, box) for a, f in zip(op.operands, factors, strict=True)]
            found = found | (evaluate(counting, box, held, _REAL) > 0)
    return found
