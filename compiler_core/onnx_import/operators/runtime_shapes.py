"""Operators whose result extents are computed from data: the same operators, run on the host.

Each wraps the builder for known parameters. Extents that depend on data become named symbols.
"""

from collections.abc import Mapping, Sequence

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.onnx_import.building.builder import MAX_RANK, Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axis,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.sources import SOURCES


def _unless_known(places: Sequence[int], known: Build, otherwise: Build) -> Build:
    """`known` while the inputs at `places` are constants or shapes, `otherwise` when one depends on data."""

    def build(context: Context, node: Node, inputs: Inputs) -> Tensor | Sequence[Tensor]:
        given = [optional(inputs, index) for index in places]
        if any(tensor is not None and context.builder.content(tensor) is None for tensor in given):
            return otherwise(context, node, inputs)
        return known(context, node, inputs)

    return build


def _fresh_shape(context: Context, node: Node, rank: int) -> list[Dim]:
    return [context.fresh(node, f"dim_{index}") for index in range(rank)]


def _length(tensor: Tensor, what: str) -> int:
    if tensor.rank != 1 or not isinstance(tensor.shape[0], int):
        raise ModelError(f"{what} is computed from data and its length is not known; bind it with --input")
    if tensor.shape[0] > MAX_RANK:
        raise ModelError(f"{what} has {tensor.shape[0]} elements, above the limit of {MAX_RANK} for a rank")
    return tensor.shape[0]


def _reshape(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    x, shape = required(inputs, 0), required(inputs, 1)
    extents = _fresh_shape(context, node, _length(shape, "the shape"))
    return context.host(
        node, "reshape", [x, shape], [(extents, x.dtype)], allowzero=node.integer("allowzero", 0)
    )


def _expand(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    x, shape = required(inputs, 0), required(inputs, 1)
    extents = _fresh_shape(context, node, max(x.rank, _length(shape, "the shape")))
    return context.host(node, "expand", [x, shape], [(extents, x.dtype)])


def _tile(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    x = required(inputs, 0)
    return context.host(
        node, "tile", [x, required(inputs, 1)], [(_fresh_shape(context, node, x.rank), x.dtype)]
    )


def _slice(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    x = required(inputs, 0)
    axes = context.builder.content(optional(inputs, 3))
    if optional(inputs, 3) is None:
        cut = set(range(_length(required(inputs, 1), "starts")))
    elif axes is None:
        cut = set(range(x.rank))
    else:
        cut = {checked_axis(int(axis), x.rank) for axis in axes.ravel()}
    extents = [
        context.fresh(node, f"dim_{index}") if index in cut else extent
        for index, extent in enumerate(x.shape)
    ]
    return context.host(node, "slice", inputs, [(extents, x.dtype)])


def _range(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    ends = [required(inputs, index) for index in range(3)]
    return context.host(node, "range", ends, [((context.fresh(node, "count"),), ends[0].dtype)])


def _constant_of_shape(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    shape = required(inputs, 0)
    extents = _fresh_shape(context, node, _length(shape, "the shape"))
    fill = SOURCES["ConstantOfShape"](context, node, [context.builder.extents([1], (1,))])
    one = fill if isinstance(fill, Tensor) else fill[0]
    return context.host(node, "expand", [one, shape], [(extents, one.dtype)])


def _pad(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    x = required(inputs, 0)
    if (axes := optional(inputs, 3)) is not None:
        raise context.data_decides(axes, "pads of some axes")
    extents = _fresh_shape(context, node, x.rank)
    return context.host(node, "pad", inputs[:3], [(extents, x.dtype)], mode=node.text("mode", "constant"))


def _one_hot(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    indices, _, values = (required(inputs, index) for index in range(3))
    axis = checked_axis(node.integer("axis", -1), indices.rank + 1)
    extents: list[Dim] = list(indices.shape)
    extents.insert(axis, context.fresh(node, "depth"))
    return context.host(node, "one_hot", inputs, [(extents, values.dtype)], axis=axis)


def _top_k(context: Context, node: Node, inputs: Inputs) -> Sequence[Tensor]:
    x = required(inputs, 0)
    axis = checked_axis(node.integer("axis", -1), x.rank)
    count = context.fresh(node, "k")
    extents = [count if index == axis else extent for index, extent in enumerate(x.shape)]
    return context.host(
        node,
        "top_k",
        inputs[:2],
        [(extents, x.dtype), (extents, DType.I64)],
        axis=axis,
        largest=node.integer("largest", 1),
    )


_LATE: Mapping[str, tuple[Sequence[int], Build]] = {
    "ConstantOfShape": ((0,), _constant_of_shape),
    "Expand": ((1,), _expand),
    "OneHot": ((1,), _one_hot),
    "Pad": ((1, 2), _pad),
    "Range": ((0, 1, 2), _range),
    "Reshape": ((1,), _reshape),
    "Slice": ((1, 2, 3, 4), _slice),
    "Tile": ((1,), _tile),
    "TopK": ((1,), _top_k),
}


def with_runtime_shapes(builders: Mapping[str, Build]) -> dict[str, Build]:
    """The same builders, those of operators that may meet parameters computed from data wrapped."""
    return {
        op_type: _unless_known(_LATE[op_type][0], build, _LATE[op_type][1]) if op_type in _LATE else build
        for op_type, build in builders.items()
    }
