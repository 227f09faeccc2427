"""Operators that only rename elements: their results are views of their input."""

from collections.abc import Mapping, Sequence

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import (
    LOCAL,
    Dim,
    at_most,
    ceildiv,
    floordiv,
    maximum,
    minimum,
    product_of,
    symbols_in,
)
from tilewright.compiler_core.ir.index_map import affine, axis_index, constant_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axes,
    checked_axis,
    known_dims,
    known_integers,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node


def _reshape(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    if node.has("shape"):
        wanted: list[Dim] = list(node.integers("shape"))
    else:
        wanted = known_dims(context, required(inputs, 1), "the shape")
    if not node.integer("allowzero", 0):
        if any(extent == 0 and index >= x.rank for index, extent in enumerate(wanted)):
            raise ModelError("the shape copies a dim that the input does not have")
        wanted = [x.shape[index] if extent == 0 else extent for index, extent in enumerate(wanted)]
    unknown = [index for index, extent in enumerate(wanted) if extent == -1]
    if len(unknown) > 1:
        raise ModelError("the shape leaves more than one extent open")
    if any(isinstance(extent, int) and extent < -1 for extent in wanted):
        raise ModelError(f"the shape {wanted} has a negative extent")
    if unknown:
        others = product_of(tuple(extent for extent in wanted if extent != -1))
        total = product_of(x.shape)
        if others == 0:
            raise ModelError("an open extent beside an extent of 0 is ambiguous")
        if isinstance(total, int) and isinstance(others, int) and total % others:
            raise ModelError(f"{total} elements do not fit the shape {wanted}")
        wanted[unknown[0]] = floordiv(total, others)
    return context.builder.reshape(x, wanted)


def _flatten(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    axis = node.integer("axis", 1)
    axis = x.rank if axis == x.rank else checked_axis(axis, x.rank) if x.rank else 0
    return context.builder.reshape(x, (product_of(x.shape[:axis]), product_of(x.shape[axis:])))


def _squeeze(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    axes = known_integers(context, node, inputs, 1, "axes")
    if axes is None:
        told = symbols_in(x.shape) - context.decided
        if open_dims := sorted(name for name in told if not name.startswith(LOCAL)):
            raise ModelError(f"which dims of {list(x.shape)} are 1 depends on {', '.join(open_dims)}")
        dims = [dim for dim, extent in enumerate(x.shape) if extent == 1]
    else:
        dims = checked_axes(axes, x.rank)
    for dim in dims:
        context.builder.equal(x.shape[dim], 1, f"dim {dim} to squeeze and 1")
    kept = [axis for axis in range(x.rank) if axis not in dims]
    place = {dim: index for index, dim in enumerate(kept)}
    exprs = [axis_index(place[dim]) if dim in place else constant_index(0) for dim in range(x.rank)]
    return context.builder.view(x, [x.shape[dim] for dim in kept], exprs)


def _unsqueeze(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    axes = known_integers(context, node, inputs, 1, "axes")
    if axes is None:
        raise ModelError("axes are missing")
    added = checked_axes(axes, x.rank + len(axes))
    kept = [index for index in range(x.rank + len(axes)) if index not in added]
    shape: list[Dim] = [1] * (x.rank + len(axes))
    for dim, index in enumerate(kept):
        shape[index] = x.shape[dim]
    return context.builder.view(x, shape, [axis_index(index) for index in kept])


def _transpose(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    return context.builder.transpose(x, node.integers("perm", list(reversed(range(x.rank)))))


def _expand(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    wanted = tuple(known_dims(context, required(inputs, 1), "the shape"))
    return builder.expand(x, builder.broadcast([x.shape, wanted]))


def _tile(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    repeats = known_dims(context, required(inputs, 1), "repeats")
    if len(repeats) != x.rank:
        raise ModelError(f"{len(repeats)} repeats for a rank of {x.rank}")
    exprs = [
        axis_index(dim)
        if count == 1
        else affine((dim, 1), modulus=extent)
        if extent != 1
        else constant_index(0)
        for dim, (extent, count) in enumerate(zip(x.shape, repeats, strict=True))
    ]
    shape = [extent * count for extent, count in zip(x.shape, repeats, strict=True)]
    return context.builder.view(x, shape, exprs)


def slice_view(builder: Builder, x: Tensor, dim: int, start: Dim, count: Dim, step: int = 1) -> Tensor:
    """Elements start, start + step, ... of one dim, as a view."""
    exprs = [axis_index(index) for index in range(x.rank)]
    exprs[dim] = affine((dim, step), offset=start)
    return builder.view(x, [count if index == dim else extent for index, extent in enumerate(x.shape)], exprs)


def _slice(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    steps = [1]
    if node.version < 10:
        starts: list[Dim] = list(node.integers("starts"))
        ends: list[Dim] = list(node.integers("ends"))
        axes = node.integers("axes", list(range(len(starts))))
    else:
        starts = known_dims(context, required(inputs, 1), "starts")
        ends = known_dims(context, required(inputs, 2), "ends")
        given = known_integers(context, node, inputs, 3, "axes")
        axes = list(range(len(starts))) if given is None else given
        steps = known_integers(context, node, inputs, 4, "steps") or steps
    steps = steps * len(starts) if len(steps) == 1 else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ModelError("starts, ends, axes and steps differ in length")
    dims = checked_axes(axes, x.rank)
    for dim, start, end, step in zip(dims, starts, ends, steps, strict=True):
        if step == 0:
            raise ModelError("a step is 0")
        first, count = _slice_range(x.shape[dim], start, end, step)
        x = slice_view(context.builder, x, dim, first, count, step)
    return x


def _slice_range(extent: Dim, start: Dim, end: Dim, step: int) -> tuple[Dim, Dim]:
    """First index and number of elements of start:end:step over `extent`, clamped as ONNX says."""
    if step > 0:
        first, last = _clamped(start, extent, 0, extent), _clamped(end, extent, 0, extent)
        count = ceildiv(last - first, step)
    else:
        first, last = _clamped(start, extent, 0, extent - 1), _clamped(end, extent, -1, extent - 1)
        count = ceildiv(first - last, -step)
        # The clamp of an empty axis leaves the element between 0 and -1.
        count = count if at_most(count, extent) else minimum(count, extent)
    return first, count if at_most(0, count) else maximum(0, count)


def _clamped(index: Dim, extent: Dim, low: Dim, high: Dim) -> Dim:
    """`index`, counted from the end where negative, clamped to [low, high]; symbols are taken to fit."""
    if isinstance(index, int):
        if index > 1 << 30:
            return high
        if index < -(1 << 30):
            return low
        index = index + extent if index < 0 else index
    bounded = index if at_most(index, high) else minimum(index, high)
    return bounded if at_most(low, bounded) else maximum(low, bounded)


def _split(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x, builder = required(inputs, 0), context.builder
    axis = checked_axis(node.integer("axis", 0), x.rank)
    parts = optional(inputs, 1)
    if parts is not None:
        sizes = known_dims(context, parts, "split")
    elif node.has("split"):
        sizes = list(node.integers("split"))
    else:
        count = node.integer("num_outputs", len(node.outputs))
        if count < 1 or count > 1 << 16:
            raise ModelError(f"a split in {count} parts is not possible")
        size = ceildiv(x.shape[axis], count)
        sizes = [size] * (count - 1)
        sizes.append(x.shape[axis] - size * (count - 1))
    total: Dim = 0
    results: list[Tensor] = []
    for part in sizes:
        if isinstance(part, int) and part < 0:
            raise ModelError(f"a part of the split has {part} elements")
        results.append(slice_view(builder, x, axis, total, part))
        total = total + part
    builder.equal(total, x.shape[axis], "the sum of the parts and the extent that is split")
    return results


def _blocks(
    context: Context, x: Tensor, shape: Sequence[Dim], order: Sequence[int], result: Sequence[Dim]
) -> Tensor:
    builder = context.builder
    return builder.reshape(builder.transpose(builder.reshape(x, shape), order), result)


def _depth_to_space(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, block = required(inputs, 0), node.integer("blocksize")
    n, c, h, w = _image(x, block)
    depth = floordiv(c, block * block)
    result = (n, depth, h * block, w * block)
    if node.text("mode", "DCR") == "DCR":
        return _blocks(context, x, (n, block, block, depth, h, w), (0, 3, 4, 1, 5, 2), result)
    return _blocks(context, x, (n, depth, block, block, h, w), (0, 1, 4, 2, 5, 3), result)


def _space_to_depth(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, block = required(inputs, 0), node.integer("blocksize")
    n, c, h, w = _image(x, block)
    rows, columns = floordiv(h, block), floordiv(w, block)
    shape = (n, c, rows, block, columns, block)
    order = (0, 3, 5, 1, 2, 4) if node.text("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return _blocks(context, x, shape, order, (n, c * block * block, rows, columns))


def _image(x: Tensor, block: int) -> tuple[Dim, Dim, Dim, Dim]:
    if x.rank != 4 or not 1 <= block <= 1 << 16:
        raise ModelError(f"blocks of {block} of an input of rank {x.rank}; it must be an image [N, C, H, W]")
    return x.shape[0], x.shape[1], x.shape[2], x.shape[3]


VIEWS: Mapping[str, Build] = {
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
