"""Operators on sequences and optionals: elements picked, put in, cut and joined while the model is read."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, SymDim
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import IndexExpr, axis_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Context,
    checked_axis,
    known_dims,
    known_number,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.tensor_data import element_type
from tilewright.compiler_core.onnx_import.building.values import (
    ABSENT,
    MAX_ELEMENTS,
    Absent,
    StackedSequence,
    TensorSequence,
    Value,
    tensor_of,
)
from tilewright.compiler_core.onnx_import.operators.movement import concat
from tilewright.compiler_core.onnx_import.operators.views import slice_view

Values: TypeAlias = Sequence[Value | None]
BuildValue: TypeAlias = Callable[[Context, Node, Values], Value]
AnySequence: TypeAlias = TensorSequence | StackedSequence


def _sequence(values: Values) -> AnySequence:
    value = values[0] if values else None
    if isinstance(value, TensorSequence | StackedSequence):
        return value
    raise ModelError("input 0 is not a sequence")


def _tensor(values: Values, at: int) -> Tensor | None:
    value = values[at] if at < len(values) else None
    return None if value is None else tensor_of(value, f"input {at}")


def _required(values: Values, at: int) -> Tensor:
    tensor = _tensor(values, at)
    if tensor is None:
        raise ModelError(f"input {at} is missing")
    return tensor


def unstacked(builder: Builder, sequence: AnySequence) -> TensorSequence:
    """The elements one by one; ModelError where their number is a symbol."""
    if isinstance(sequence, TensorSequence):
        return sequence
    stack, length = sequence.stack, sequence.length
    if not isinstance(length, int) or length > MAX_ELEMENTS:
        raise ModelError(f"a sequence of {length} elements is taken apart; bind it with --dim NAME=VALUE")
    elements = (_element(builder, stack, index) for index in range(length))
    return TensorSequence(tuple(elements), stack.dtype)


def _element(builder: Builder, stack: Tensor, at: Dim) -> Tensor:
    return builder.reshape(slice_view(builder, stack, 0, at, 1), stack.shape[1:])


def stacked(builder: Builder, sequence: AnySequence) -> StackedSequence:
    """The elements in one tensor; ModelError where their shapes differ, or there is none."""
    if isinstance(sequence, StackedSequence):
        return sequence
    rows = [builder.reshape(tensor, (1, *tensor.shape)) for tensor in sequence.known()]
    if not rows:
        raise ModelError("an empty sequence has no elements to take")
    return StackedSequence(concat(builder, rows, 0))


def _construct(context: Context, node: Node, values: Values) -> Value:
    tensors = tuple(_required(values, index) for index in range(len(values)))
    if any(tensor.dtype is not tensors[0].dtype for tensor in tensors):
        raise ModelError("the elements of a sequence differ in type")
    return TensorSequence(tensors, tensors[0].dtype)


def _empty(context: Context, node: Node, values: Values) -> Value:
    return TensorSequence((), element_type(node.integer("dtype", 1), "the sequence"))


def _place(context: Context, position: Tensor, length: int, last: int) -> int:
    at = int(known_number(context, position, "the position in a sequence"))
    if not -length <= at <= last:
        raise ModelError(f"position {at} lies outside a sequence of {length}")
    return at + length if at < 0 else at


def _at(context: Context, node: Node, values: Values) -> Value:
    builder, sequence, position = context.builder, _sequence(values), _required(values, 1)
    if builder.content(position) is not None:
        if isinstance(sequence, TensorSequence):
            return sequence.known()[_place(context, position, sequence.length, sequence.length - 1)]
        at = int(known_number(context, position, "the position in a sequence"))
        return _element(builder, sequence.stack, at if at >= 0 else sequence.length + at)
    # The position depends on data: a gather, where all have one shape.
    stack = stacked(builder, sequence).stack
    exprs = [IndexExpr(source=1), *(axis_index(dim) for dim in range(stack.rank - 1))]
    index = builder.reshape(position, ())
    return builder.op("gather", stack.shape[1:], [(stack, exprs), (index, [])], stack.dtype)


def _insert(context: Context, node: Node, values: Values) -> Value:
    builder, sequence, tensor = context.builder, _sequence(values), _required(values, 1)
    position = _tensor(values, 2)
    if isinstance(sequence, TensorSequence) and position is None:
        return sequence.appended(tensor)
    elements = list(unstacked(builder, sequence).known())
    length = len(elements)
    at = length if position is None else _place(context, position, length, length)
    elements.insert(at, tensor)
    return TensorSequence(tuple(elements), tensor.dtype)


def _erase(context: Context, node: Node, values: Values) -> Value:
    sequence, position = unstacked(context.builder, _sequence(values)), _tensor(values, 1)
    elements = list(sequence.known())
    last = len(elements) - 1
    del elements[last if position is None else _place(context, position, len(elements), last)]
    return TensorSequence(tuple(elements), sequence.dtype)


def _length(context: Context, node: Node, values: Values) -> Value:
    return context.builder.extents([_sequence(values).length], ())


def _concat(context: Context, node: Node, values: Values) -> Value:
    builder, sequence = context.builder, _sequence(values)
    new_axis = bool(node.integer("new_axis", 0))
    if isinstance(sequence, TensorSequence):
        return _joined(builder, sequence.known(), node.integer("axis"), new_axis)
    stack = sequence.stack
    axis = checked_axis(node.integer("axis"), stack.rank - (0 if new_axis else 1))
    order = [*range(1, axis + 1), 0, *range(axis + 1, stack.rank)]
    turned = builder.transpose(stack, order)
    if new_axis:
        return turned
    merged = (*turned.shape[:axis], turned.shape[axis] * turned.shape[axis + 1], *turned.shape[axis + 2 :])
    return builder.reshape(turned, merged)


def _joined(builder: Builder, elements: Sequence[Tensor], axis: int, new_axis: bool) -> Tensor:
    if not elements:
        raise ModelError("an empty sequence cannot be joined to a tensor")
    at = checked_axis(axis, elements[0].rank + new_axis)
    if new_axis:
        elements = [builder.reshape(t, (*t.shape[:at], 1, *t.shape[at:])) for t in elements]
    return concat(builder, elements, at)


def _split(context: Context, node: Node, values: Values) -> Value:
    builder, x, parts = context.builder, _required(values, 0), _tensor(values, 1)
    axis = checked_axis(node.integer("axis", 0), x.rank)
    extent = x.shape[axis]
    if parts is None and isinstance(extent, SymDim):
        return _rows(builder, x, axis, keep=bool(node.integer("keepdims", 1)))
    sizes = _sizes(context, extent, parts)
    squeeze = parts is None and not node.integer("keepdims", 1)
    elements: list[Tensor] = []
    total: Dim = 0
    for size in sizes:
        part = slice_view(builder, x, axis, total, size)
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        elements.append(builder.reshape(part, shape) if squeeze else part)
        total = total + size
    builder.equal(total, extent, "the sum of the parts and the extent that is split")
    return TensorSequence(tuple(elements), x.dtype)


def _rows(builder: Builder, x: Tensor, axis: int, *, keep: bool) -> StackedSequence:
    """A tensor cut into its rows along `axis`, a symbol saying how many."""
    stack = builder.transpose(x, [axis, *(dim for dim in range(x.rank) if dim != axis)])
    if keep:
        stack = builder.reshape(stack, (*stack.shape[: axis + 1], 1, *stack.shape[axis + 1 :]))
    return StackedSequence(stack)


def _sizes(context: Context, extent: Dim, parts: Tensor | None) -> list[Dim]:
    """The extents of the parts of a split: as listed, or all of one size and a shorter last one."""
    if parts is not None and parts.rank:
        return known_dims(context, parts, "split")
    size = 1 if parts is None else int(known_number(context, parts, "split"))
    if size < 1 or not isinstance(extent, int):
        raise ModelError(f"an extent of {extent} is split in parts of {size}; bind it with --dim NAME=VALUE")
    if extent > size * MAX_ELEMENTS:
        raise ModelError(f"a split of {extent} in parts of {size} makes more than {MAX_ELEMENTS}")
    return [min(size, extent - first) for first in range(0, extent, size)]


def _identity(context: Context, node: Node, values: Values) -> Value:
    given = values[0] if values else None
    if given is None:
        raise ModelError("input 0 is missing")
    return given


def _optional(context: Context, node: Node, values: Values) -> Value:
    given = values[0] if values else None
    return ABSENT if given is None else given


def _get_element(context: Context, node: Node, values: Values) -> Value:
    given = values[0] if values else None
    if given is None or isinstance(given, Absent):
        raise ModelError("the optional has no element to get")
    return given


def _has_element(context: Context, node: Node, values: Values) -> Value:
    given = values[0] if values else None
    return context.builder.scalar(not (given is None or isinstance(given, Absent)), DType.BOOL)


SEQUENCES: Mapping[str, BuildValue] = {
    "ConcatFromSequence": _concat,
    "Identity": _identity,
    "Optional": _optional,
    "OptionalGetElement": _get_element,
    "OptionalHasElement": _has_element,
    "SequenceAt": _at,
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": _length,
    "SplitToSequence": _split,
}
