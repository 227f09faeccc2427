"""Operators that rename, pick, join or repeat elements: views, gathers, concat, pad, and constants."""

from collections.abc import Mapping, Sequence

import numpy as np

from compiler_core.dims import Dim, SymDim, at_most, ceildiv, floordiv, maximum, minimum, product_of
from compiler_core.dtypes import DType
from compiler_core.errors import ModelError
from compiler_core.index_map import IndexExpr, affine, axis_index, constant_index
from compiler_core.onnx_import.builder import Builder, Tensor, integers
from compiler_core.onnx_import.context import (
    Build,
    Context,
    Inputs,
    checked_axes,
    checked_axis,
    known_dims,
    known_integers,
    known_number,
    optional,
    required,
)
from compiler_core.onnx_import.node import Node
from compiler_core.onnx_import.tensor_data import constant_from, element_type
from compiler_core.ops import Array

MAX_RANGE_ELEMENTS = 1 << 32


def _constant(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    for name in ("value_int", "value_ints"):
        if node.has(name):
            numbers = [node.integer(name)] if name == "value_int" else node.integers(name)
            shape = () if name == "value_int" else (len(numbers),)
            return builder.constant(np.array(numbers, dtype=np.int64).reshape(shape))
    for name in ("value_float", "value_floats"):
        if node.has(name):
            reals = [node.number(name)] if name == "value_float" else node.numbers(name)
            shape = () if name == "value_float" else (len(reals),)
            return builder.constant(np.array(reals, dtype=np.float32).reshape(shape))
    if not node.has("value"):
        raise ModelError("a constant must be a dense tensor, a number or a list of numbers")
    return constant_from(node.tensor("value"), builder, context.external)


def _constant_of_shape(context: Context, node: Node, inputs: Inputs) -> Tensor:
    shape = known_dims(context, required(inputs, 0), "the shape")
    builder = context.builder
    if node.has("value"):
        proto = constant_from(node.tensor("value"), builder, context.external)
        content = builder.content(proto)
        if content is None or content.size != 1:
            raise ModelError("value must have one element")
        number = content.ravel()[0]
        dtype = proto.dtype
    else:
        number, dtype = np.float32(0), DType.F32
    tensor = builder.table(shape, dtype, lambda extents: np.full(extents, number))
    tensor.fill = float(number)
    return tensor


def _shape(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    chosen = list(x.shape)[slice(node.integer("start", 0), node.integer("end", x.rank))]
    return context.builder.extents(chosen, (len(chosen),))


def _size(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return context.builder.extents([product_of(required(inputs, 0).shape)], ())


def _reshape(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    if node.has("shape"):
        wanted: list[Dim] = list(node.integers("shape"))
    else:
        wanted = known_dims(context, required(inputs, 1), "the shape")
    if not node.integer("allowzero", 0):
        if any(extent == 0 and at >= x.rank for at, extent in enumerate(wanted)):
            raise ModelError("the shape copies a dim that the input does not have")
        wanted = [x.shape[at] if extent == 0 else extent for at, extent in enumerate(wanted)]
    unknown = [at for at, extent in enumerate(wanted) if extent == -1]
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
        dims = [dim for dim, extent in enumerate(x.shape) if extent == 1]
    else:
        dims = checked_axes(axes, x.rank)
    for dim in dims:
        context.builder.equal(x.shape[dim], 1, f"dim {dim} to squeeze and 1")
    kept = [axis for axis in range(x.rank) if axis not in dims]
    place = {dim: at for at, dim in enumerate(kept)}
    exprs = [axis_index(place[dim]) if dim in place else constant_index(0) for dim in range(x.rank)]
    return context.builder.view(x, [x.shape[dim] for dim in kept], exprs)


def _unsqueeze(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    axes = known_integers(context, node, inputs, 1, "axes")
    if axes is None:
        raise ModelError("axes are missing")
    added = checked_axes(axes, x.rank + len(axes))
    kept = [at for at in range(x.rank + len(axes)) if at not in added]
    shape: list[Dim] = [1] * (x.rank + len(axes))
    for dim, at in enumerate(kept):
        shape[at] = x.shape[dim]
    return context.builder.view(x, shape, [axis_index(at) for at in kept])


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
    exprs = [axis_index(at) for at in range(x.rank)]
    exprs[dim] = affine((dim, step), offset=start)
    return builder.view(x, [count if at == dim else extent for at, extent in enumerate(x.shape)], exprs)


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
    if isinstance(count, int):
        count = max(0, count)
    return first, count


def _clamped(index: Dim, extent: Dim, low: Dim, high: Dim) -> Dim:
    """`index`, counted from the end where negative, clamped to [low, high]; symbols are taken to fit."""
    if isinstance(index, int):
        if index > 1 << 30:
            return high
        if index < -(1 << 30):
            return low
        index = index + extent if index < 0 else index
        if isinstance(index, SymDim):
            return index
    bounded = index if at_most(index, high) else minimum(index, high)
    return bounded if isinstance(bounded, SymDim) or at_most(low, bounded) else maximum(low, bounded)


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


def _concat(context: Context, node: Node, inputs: Inputs) -> Tensor:
    tensors = [required(inputs, at) for at in range(len(inputs))]
    axis = checked_axis(node.integer("axis", 1), tensors[0].rank)
    return concat(context.builder, tensors, axis)


def concat(builder: Builder, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors one after the other along `axis`; every operand reads zero outside its own stretch."""
    tensors = [t for t in tensors if t.shape[axis] != 0] or list(tensors[:1])
    if len(tensors) == 1:
        return tensors[0]
    shape = list(tensors[0].shape)
    offset: Dim = 0
    operands: list[tuple[Tensor, Sequence[IndexExpr], float]] = []
    for tensor in tensors:
        if tensor.rank != len(shape) or tensor.dtype is not tensors[0].dtype:
            raise ModelError("the parts of a concat differ in rank or type")
        for dim, extent in enumerate(tensor.shape):
            if dim != axis:
                shape[dim] = builder.equal(shape[dim], extent, f"extents of dim {dim} of a concat")
        exprs = [axis_index(dim) for dim in range(len(shape))]
        exprs[axis] = affine((axis, 1), offset=offset * -1)
        operands.append((tensor, exprs, 0.0))
        offset = offset + tensor.shape[axis]
    shape[axis] = offset
    return builder.op("concat", shape, operands, tensors[0].dtype)


def gather(builder: Builder, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """x[..., indices, ...] along `axis`."""
    content = builder.content(indices)
    if content is not None and content.dtype != object:
        flat = integers(content, "indices")
        _check_indices(flat, x.shape[axis])
        if content.ndim == 0:
            return _picked(builder, x, axis, flat[0])
        if content.ndim == 1 and len(flat) and all(index >= 0 for index in flat):
            step = flat[1] - flat[0] if len(flat) > 1 else 1
            if step and flat == [flat[0] + step * at for at in range(len(flat))]:
                return slice_view(builder, x, axis, flat[0], len(flat), step)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    exprs = [axis_index(dim) for dim in range(axis)]
    exprs.append(IndexExpr(source=1))
    exprs += [axis_index(dim - 1 + indices.rank) for dim in range(axis + 1, x.rank)]
    index_exprs = [axis_index(axis + at) for at in range(indices.rank)]
    return builder.op("gather", shape, [(x, exprs), (indices, index_exprs)], x.dtype)


def _picked(builder: Builder, x: Tensor, axis: int, index: int) -> Tensor:
    exprs = [axis_index(dim if dim < axis else dim - 1) for dim in range(x.rank)]
    exprs[axis] = constant_index(index if index >= 0 else x.shape[axis] + index)
    return builder.view(x, (*x.shape[:axis], *x.shape[axis + 1 :]), exprs)


def _check_indices(indices: Sequence[int], extent: Dim) -> None:
    if isinstance(extent, int):
        for index in indices:
            if not -extent <= index < extent:
                raise ModelError(f"index {index} lies outside an extent of {extent}")


def _gather(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, indices = required(inputs, 0), required(inputs, 1)
    return gather(context.builder, x, indices, checked_axis(node.integer("axis", 0), x.rank))


def _gather_elements(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, indices = required(inputs, 0), required(inputs, 1)
    axis = checked_axis(node.integer("axis", 0), x.rank)
    if indices.rank != x.rank:
        raise ModelError(f"indices of rank {indices.rank} for data of rank {x.rank}")
    exprs = [IndexExpr(source=1) if dim == axis else axis_index(dim) for dim in range(x.rank)]
    identity = [axis_index(dim) for dim in range(x.rank)]
    return context.builder.op("gather", indices.shape, [(x, exprs), (indices, identity)], x.dtype)


def _gather_nd(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """One operand a coordinate: coordinate k of every index tuple is the indices read at [..., k]."""
    x, indices = required(inputs, 0), required(inputs, 1)
    batch = node.integer("batch_dims", 0)
    if not indices.rank or not 0 <= batch < min(x.rank, indices.rank):
        raise ModelError(f"batch_dims {batch} does not fit ranks {x.rank} and {indices.rank}")
    depth = indices.shape[-1]
    if not isinstance(depth, int) or not 1 <= depth <= x.rank - batch:
        raise ModelError(f"index tuples of {depth} for data of rank {x.rank}")
    outer = indices.rank - 1
    shape = (*indices.shape[:-1], *x.shape[batch + depth :])
    exprs = [axis_index(dim) for dim in range(batch)]
    exprs += [IndexExpr(source=1 + at) for at in range(depth)]
    exprs += [axis_index(outer + at) for at in range(x.rank - batch - depth)]
    coordinates = [
        (indices, [*[axis_index(dim) for dim in range(outer)], constant_index(at)]) for at in range(depth)
    ]
    return context.builder.op("gather", shape, [(x, exprs), *coordinates], x.dtype)


def _pad(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    mode = node.text("mode", "constant")
    tensor = optional(inputs, 1)
    pads: list[Dim]
    if tensor is not None:
        pads = known_dims(context, tensor, "pads")
    else:
        pads = list(node.integers("pads", node.integers("paddings", [])))
    axes = known_integers(context, node, inputs, 3, "axes") if len(inputs) > 3 else None
    dims = list(range(x.rank)) if axes is None else checked_axes(axes, x.rank)
    if len(pads) != 2 * len(dims):
        raise ModelError(f"{len(pads)} pads for {len(dims)} dims")
    value = node.number("value", 0.0)
    given = optional(inputs, 2)
    if given is not None:
        value = known_number(context, given, "the padding value")
    before = dict(zip(dims, pads[: len(dims)], strict=True))
    after = dict(zip(dims, pads[len(dims) :], strict=True))
    if mode == "constant":
        shape = [extent + before.get(dim, 0) + after.get(dim, 0) for dim, extent in enumerate(x.shape)]
        exprs = [affine((dim, 1), offset=before.get(dim, 0) * -1) for dim in range(x.rank)]
        return builder.op("move", shape, [(x, exprs, value)], x.dtype)
    if mode not in ("reflect", "edge", "wrap"):
        raise ModelError(f"mode {mode!r} is not one of constant, reflect, edge, wrap")
    for dim in dims:
        if before[dim] != 0 or after[dim] != 0:
            x = _pad_dim(context, x, dim, before[dim], after[dim], mode)
    return x


def _pad_dim(context: Context, x: Tensor, dim: int, before: Dim, after: Dim, mode: str) -> Tensor:
    """One dim padded from its own elements: a gather by a constant row of indices."""
    builder = context.builder
    extent = x.shape[dim]
    facts = builder.extents([extent, before], (2,))

    def index(extents: tuple[int, ...], sources: Sequence[Array]) -> Array:
        size, first = sources[0].tolist()
        at = np.arange(extents[0]) - first
        if mode == "edge" or size == 1:
            return np.asarray(np.clip(at, 0, size - 1))
        if mode == "wrap":
            return np.asarray(np.mod(at, size))
        period = 2 * (size - 1)
        folded = np.mod(at, period)
        return np.asarray(np.minimum(folded, period - folded))

    indices = builder.derived_table((extent + before + after,), DType.I64, [facts], index)
    shape = [indices.shape[0] if at == dim else size for at, size in enumerate(x.shape)]
    exprs = [IndexExpr(source=1) if at == dim else axis_index(at) for at in range(x.rank)]
    return builder.op("gather", shape, [(x, exprs), (indices, [axis_index(dim)])], x.dtype)


def _range(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    ends = [required(inputs, at) for at in range(3)]
    contents = [builder.content(end) for end in ends]
    if any(content is None or content.size != 1 for content in contents):
        raise ModelError("start, limit and delta must be constants or shapes")
    start, limit, delta = (content.ravel()[0] for content in contents if content is not None)
    if not isinstance(delta, SymDim) and delta == 0:
        raise ModelError("delta is 0")
    count: Dim
    if any(isinstance(number, SymDim) for number in (start, limit, delta)):
        if isinstance(delta, SymDim) or delta <= 0:
            raise ModelError("a range over symbolic extents needs a positive constant delta")
        count = ceildiv(limit - start, int(delta))
    else:
        count = max(0, int(np.ceil((limit - start) / delta)))
    if isinstance(count, int) and count > MAX_RANGE_ELEMENTS:
        raise ModelError(f"a range of {count} elements is above the limit of {MAX_RANGE_ELEMENTS}")
    return builder.derived_table(
        (count,),
        ends[0].dtype,
        [ends[0], ends[2]],
        lambda extents, sources: sources[0].ravel()[0] + np.arange(extents[0]) * sources[1].ravel()[0],
    )


def _trilu(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    if x.rank < 2:
        raise ModelError("the input must be a matrix or a stack of them")
    shift = optional(inputs, 1)
    k = 0 if shift is None else int(known_number(context, shift, "k"))
    upper = bool(node.integer("upper", 1))

    def mask(extents: tuple[int, ...]) -> Array:
        distance = np.arange(extents[1])[None, :] - np.arange(extents[0])[:, None]
        return np.asarray(distance >= k if upper else distance <= k)

    kept = builder.table(x.shape[-2:], DType.BOOL, mask)
    return builder.elementwise("where", kept, x, builder.scalar(0.0, x.dtype))


def _one_hot(context: Context, node: Node, inputs: Inputs) -> Tensor:
    indices, depth, values = required(inputs, 0), required(inputs, 1), required(inputs, 2)
    builder = context.builder
    (count,) = known_dims(context, depth, "depth")
    axis = checked_axis(node.integer("axis", -1), indices.rank + 1)
    whole = builder.cast(indices, DType.I64)
    wrapped = builder.elementwise(
        "where",
        builder.elementwise("less", whole, builder.scalar(0, DType.I64), dtype=DType.BOOL),
        builder.elementwise("add", whole, builder.count([count], DType.I64), dtype=DType.I64),
        whole,
    )
    spread = builder.reshape(wrapped, (*indices.shape[:axis], 1, *indices.shape[axis:]))
    positions = builder.table(
        (count, *[1] * (indices.rank - axis)), DType.I64, lambda extents: np.arange(extents[0])
    )
    hot = builder.elementwise("equal", spread, positions, dtype=DType.BOOL)
    off, on = (slice_view(builder, values, 0, at, 1) for at in range(2))
    return builder.elementwise("where", hot, builder.reshape(on, ()), builder.reshape(off, ()))


def _eye_like(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    k = node.integer("k", 0)
    dtype = element_type(node.integer("dtype"), "the result") if node.has("dtype") else x.dtype
    return context.builder.table(x.shape, dtype, lambda extents: np.eye(extents[0], extents[1], k))


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


def _non_zero(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Indices of non-zero elements. Known for constants; otherwise a host op with an extent of its own."""
    x, builder = required(inputs, 0), context.builder
    if x.fill is not None and x.fill != 0.0 and x.rank:
        count = product_of(x.shape)

        def every(extents: tuple[int, ...], sources: Sequence[Array]) -> Array:
            return np.array(np.unravel_index(np.arange(extents[1]), tuple(sources[0].tolist())))

        return builder.derived_table((x.rank, count), DType.I64, [builder.extents(x.shape, (x.rank,))], every)
    content = builder.content(x)
    if content is not None and content.dtype != object:
        return builder.constant(np.array(np.nonzero(content), dtype=np.int64).reshape(content.ndim, -1))
    return context.host(node, "non_zero", [x], [((x.rank, context.fresh(node, "count")), DType.I64)])[0]


MOVEMENT: Mapping[str, Build] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": _non_zero,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
