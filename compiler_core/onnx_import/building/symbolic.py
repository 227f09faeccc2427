"""Shape arithmetic over extents that are not numbers yet.

Each entry of FOLDS computes the elements of a result from the elements of its inputs, where at least one
element is a symbolic extent. An entry returns None where the symbols would have to be known.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, SymDim, at_most, floordiv, maximum, minimum, truncdiv
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.context import checked_axis
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.tensor_data import DTYPES

Fold = Callable[[Node, Sequence[Array]], Array | None]


class Undecided(Exception):  # noqa: N818 - a decision not made, not an error
    """The answer depends on symbols."""


def _exact(value: Any) -> Dim:
    if isinstance(value, SymDim):
        return value
    if isinstance(value, float) and not value.is_integer():
        raise Undecided
    return int(value)


def _truth(answer: bool | None) -> bool:
    if answer is None:
        raise Undecided
    return answer


def _divide(left: Dim, right: Dim) -> Dim:
    quotient = truncdiv(left, right)
    if quotient is None:
        raise Undecided
    return quotient


def _floor(left: Dim, right: Dim) -> Dim:
    if right == 0:
        raise Undecided
    return floordiv(left, right)


def _modulo(node: Node, contents: Sequence[Array]) -> Array | None:
    """The remainder has the sign of the divisor, or (`fmod`) of the dividend."""
    divide = _divide if node.integer("fmod", 0) else _floor
    return _pointwise(lambda a, b: a - divide(a, b) * b)(node, contents)


def _equal(left: Dim, right: Dim) -> bool:
    if left == right:
        return True
    if at_most(left + 1, right) or at_most(right + 1, left):
        return False
    raise Undecided


def _pointwise(function: Callable[..., Any]) -> Fold:
    def fold(node: Node, contents: Sequence[Array]) -> Array | None:
        exact = [np.frompyfunc(_exact, 1, 1)(np.asarray(content, dtype=object)) for content in contents]
        return np.asarray(np.frompyfunc(function, len(exact), 1)(*exact), dtype=object)

    return fold


def _chain(function: Callable[[Dim, Dim], Dim]) -> Fold:
    def fold(node: Node, contents: Sequence[Array]) -> Array | None:
        total: Array | None = contents[0]
        for content in contents[1:]:
            if total is not None:
                total = _pointwise(function)(node, [total, content])
        return total

    return fold


def _where(node: Node, contents: Sequence[Array]) -> Array | None:
    return np.where(contents[0].astype(bool), contents[1], contents[2])


def _gather(node: Node, contents: Sequence[Array]) -> Array | None:
    data, indices = contents
    axis = checked_axis(node.integer("axis", 0), data.ndim)
    return np.asarray(np.take(data, indices.astype(np.int64), axis=axis), dtype=object)


def _slice(node: Node, contents: Sequence[Array]) -> Array | None:
    data = contents[0]
    if node.version < 10:
        starts, ends = node.integers("starts"), node.integers("ends")
        axes, steps = node.integers("axes", list(range(len(starts)))), [1] * len(starts)
    else:
        lists = [[int(_exact_number(v)) for v in content.ravel()] for content in contents[1:]]
        starts, ends = lists[0], lists[1]
        axes = lists[2] if len(lists) > 2 else list(range(len(starts)))
        steps = lists[3] if len(lists) > 3 else [1] * len(starts)
    cut = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if step < 0 and end < -data.shape[checked_axis(axis, data.ndim)] else end
        cut[checked_axis(axis, data.ndim)] = slice(start, stop, step)
    return data[tuple(cut)]


def _exact_number(value: Any) -> int:
    if isinstance(value, SymDim):
        raise Undecided
    return int(value)


def _axes(node: Node, contents: Sequence[Array]) -> list[int] | None:
    if len(contents) > 1:
        return [_exact_number(value) for value in contents[1].ravel()]
    return node.integers("axes") if node.has("axes") else None


def _unsqueeze(node: Node, contents: Sequence[Array]) -> Array | None:
    axes = _axes(node, contents) or []
    rank = contents[0].ndim + len(axes)
    return np.expand_dims(contents[0], tuple(checked_axis(axis, rank) for axis in axes))


def _squeeze(node: Node, contents: Sequence[Array]) -> Array | None:
    axes = _axes(node, contents)
    return np.squeeze(contents[0], None if axes is None else tuple(axes))


def _concat(node: Node, contents: Sequence[Array]) -> Array | None:
    axis = checked_axis(node.integer("axis"), contents[0].ndim)
    return np.concatenate([content.astype(object) for content in contents], axis=axis)


def _reshape(node: Node, contents: Sequence[Array]) -> Array | None:
    shape = [_exact_number(value) for value in contents[1].ravel()]
    return contents[0].reshape([n or contents[0].shape[index] for index, n in enumerate(shape)])


def _expand(node: Node, contents: Sequence[Array]) -> Array | None:
    shape = [_exact_number(value) for value in contents[1].ravel()]
    return np.broadcast_to(contents[0], np.broadcast_shapes(contents[0].shape, shape))


def _reduced(function: Callable[[Dim, Dim], Dim]) -> Fold:
    def fold(node: Node, contents: Sequence[Array]) -> Array | None:
        axes = _axes(node, contents)
        if axes is not None and contents[0].ndim != 1:
            return None
        total: Dim = contents[0].ravel()[0]
        for dim in contents[0].ravel()[1:]:
            total = function(total, dim)
        result = np.empty((1,) * contents[0].ndim if node.integer("keepdims", 1) else (), dtype=object)
        result[...] = total
        return result

    return fold


FOLDS: Mapping[str, Fold] = {
    "Cast": _pointwise(lambda a: a),
    "Add": _pointwise(lambda a, b: a + b),
    "Sub": _pointwise(lambda a, b: a - b),
    "Mul": _pointwise(lambda a, b: a * b),
    "Div": _pointwise(_divide),
    "Mod": _modulo,
    "Neg": _pointwise(lambda a: a * -1),
    "Floor": _pointwise(lambda a: a),
    "Ceil": _pointwise(lambda a: a),
    "Min": _chain(minimum),
    "Max": _chain(maximum),
    "Equal": _pointwise(_equal),
    "Less": _pointwise(lambda a, b: _truth(at_most(a + 1, b))),
    "LessOrEqual": _pointwise(lambda a, b: _truth(at_most(a, b))),
    "Greater": _pointwise(lambda a, b: _truth(at_most(b + 1, a))),
    "GreaterOrEqual": _pointwise(lambda a, b: _truth(at_most(b, a))),
    "Where": _where,
    "Gather": _gather,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Concat": _concat,
    "Reshape": _reshape,
    "Expand": _expand,
    "ReduceProd": _reduced(lambda a, b: a * b),
    "ReduceSum": _reduced(lambda a, b: a + b),
    "ReduceMax": _reduced(maximum),
    "ReduceMin": _reduced(minimum),
}

_COMPARISONS = frozenset({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"})


def fold(node: Node, contents: Sequence[Array], dtypes: Sequence[DType]) -> tuple[Array, DType] | None:
    """Elements and dtype of a node's result, or None where symbols decide it or the op has no fold.

    A division of a symbolic extent is folded for integers only: real quotients do not stay extents.
    """
    if node.op_type not in FOLDS:
        return None
    if node.op_type == "Div" and dtypes[0].is_float:
        return _even_quotient(contents, dtypes[0])
    try:
        result = FOLDS[node.op_type](node, contents)
    except Undecided:
        return None
    except (IndexError, ValueError, TypeError) as error:
        raise ModelError(f"shape arithmetic fails ({str(error).splitlines()[0]})") from error
    if result is None:
        return None
    if node.op_type in _COMPARISONS:
        return result, DType.BOOL
    if node.op_type == "Cast":
        dtype = DTYPES.get(node.integer("to"))
        return None if dtype is None or dtype is DType.BOOL else (result, dtype)
    return result, dtypes[1] if node.op_type == "Where" else dtypes[0]


def _even_quotient(contents: Sequence[Array], dtype: DType) -> tuple[Array, DType] | None:
    left, right = np.broadcast_arrays(*(np.asarray(c, dtype=object) for c in contents))
    result = np.empty(left.shape, dtype=object)
    for index in np.ndindex(left.shape):
        try:
            top, bottom = _exact(left[index]), _exact(right[index])
        except Undecided:
            return None
        quotient = _divide(top, bottom) if bottom != 0 else None
        if quotient is None or quotient * bottom != top:
            return None
        result[index] = quotient
    return result, dtype
