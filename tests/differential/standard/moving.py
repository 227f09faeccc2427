"""Operators that move elements and rename them."""

import math
from collections.abc import Mapping

import numpy as np
import onnx

from tests.differential.standard.elementwise import second
from tests.differential.standard.net import MOST_ELEMENTS, Net, NoFormError, Step, axes_of, axis_of


def _concat(net: Net) -> None:
    x = net.ranked("Concat", 1, 5)
    axis = axis_of(net, x)
    parts = [x]
    for _ in range(net.draw.size(0, 3)):
        shape = list(x.shape)
        shape[axis] = net.draw.size(0 if net.draw.flag(0.1) else 1, 4)
        parts.append(net.either(net.numbers(shape, x.dtype)))
    if net.draw.flag():
        parts.reverse()
    net.add("Concat", parts, axis=axis)


def _transpose(net: Net) -> None:
    x = net.first("Transpose")
    order = {} if net.draw.flag(0.2) or not x.rank else {"perm": net.draw.chance.permutation(x.rank).tolist()}
    net.add("Transpose", [x], **order)


def _reshape(net: Net) -> None:
    x = net.first("Reshape")
    rest, shape = math.prod(x.shape), list[int]()
    while rest > 1 and len(shape) < 4:
        factor = net.draw.one_of([n for n in range(1, rest + 1) if rest % n == 0])
        shape.append(factor)
        rest //= factor
    shape += [rest] if rest > 1 or not shape else []
    if net.draw.flag(0.4):
        shape[net.draw.size(0, len(shape) - 1)] = -1
    for index, extent in enumerate(shape):
        if index < x.rank and extent == x.shape[index] and net.draw.flag(0.3):
            shape[index] = 0
    net.add("Reshape", [x, net.parameter(shape)])


def _flatten(net: Net) -> None:
    x = net.first("Flatten")
    net.add("Flatten", [x], axis=net.draw.size(-x.rank, x.rank))


def _squeeze(net: Net) -> None:
    shape = tuple(1 if net.draw.flag() else extent for extent in net.shape(1, 5))
    x = net.first("Squeeze", None if net.given is not None else shape)
    ones = [axis for axis, extent in enumerate(x.shape) if extent == 1 and net.draw.flag(0.7)]
    if not ones:
        net.add("Squeeze", [x])
    elif net.opset < 13:
        net.add("Squeeze", [x], axes=ones)
    else:
        net.add(
            "Squeeze", [x, net.parameter([axis - x.rank if net.draw.flag(0.3) else axis for axis in ones])]
        )


def _unsqueeze(net: Net) -> None:
    x = net.first("Unsqueeze")
    count = net.draw.size(1, 2)
    places = net.draw.chance.choice(x.rank + count, count, replace=False).tolist()
    if net.opset < 13:
        net.add("Unsqueeze", [x], axes=sorted(places))
    else:
        net.add("Unsqueeze", [x, net.parameter(places)])


def _slice(net: Net) -> None:
    x = net.ranked("Slice", 1, 4)
    axes = sorted({axis % x.rank for axis in axes_of(net, x, 1)})
    starts, ends, steps = [], [], []
    for axis in axes:
        extent = x.shape[axis]
        step = net.draw.one_of([1, 1, 2, 3, -1, -2])
        start, end = net.draw.size(-extent - 1, extent + 1), net.draw.size(-extent - 1, extent + 1)
        if net.draw.flag():
            start, end = (0, 1 << 40) if step > 0 else (-1, -(1 << 40))
        starts.append(start)
        ends.append(end)
        steps.append(step)
    kind = net.draw.one_of([np.int64, np.int64, np.int32])
    if kind is np.int32:
        ends = [max(min(end, 1000), -1000) for end in ends]
    operands = [net.parameter(starts, kind), net.parameter(ends, kind), net.parameter(axes, kind)]
    net.add("Slice", [x, *operands, net.parameter(steps, kind)])


def _split(net: Net) -> None:
    x = net.ranked("Split", 1, 4)
    axis = axis_of(net, x)
    extent = x.shape[axis]
    first = net.draw.size(0, extent)
    sizes = [first, extent - first]
    if net.opset < 13:
        net.add("Split", [x], outputs=2, axis=axis, split=sizes)
    elif net.opset >= 18 and net.draw.flag(0.3):
        count = net.draw.size(1, extent)
        if -(-extent // count) * (count - 1) >= extent:
            raise NoFormError  # nothing would be left for the last part
        net.add("Split", [x], outputs=count, axis=axis, num_outputs=count)
    else:
        net.add("Split", [x, net.parameter(sizes)], outputs=2, axis=axis)


def _expand(net: Net) -> None:
    shape = tuple(1 if net.draw.flag(0.4) else extent for extent in net.shape(1, 3))
    x = net.first("Expand", None if net.given is not None else shape)
    wanted = [net.draw.size(1, 4) if extent == 1 else net.draw.one_of([1, extent]) for extent in x.shape]
    wanted = [net.draw.size(1, 3) for _ in range(net.draw.size(0, 1))] + wanted
    net.add("Expand", [x, net.parameter(wanted)])


def _tile(net: Net) -> None:
    x = net.ranked("Tile", 1, 4)
    net.add("Tile", [x, net.parameter([net.draw.size(1, 3) for _ in x.shape])])


def _pad(net: Net) -> None:
    x = net.ranked("Pad", 1, 4)
    modes = ["constant", "constant", "reflect", "edge", *(["wrap"] if net.opset >= 19 else [])]
    mode = net.draw.one_of(modes)
    axes = (
        sorted({axis % x.rank for axis in axes_of(net, x, 1)})
        if net.opset >= 18 and net.draw.flag(0.3)
        else None
    )
    dims = list(range(x.rank)) if axes is None else axes
    most = [x.shape[dim] - 1 if mode == "reflect" else 3 for dim in dims]
    if mode == "wrap":
        most = [x.shape[dim] for dim in dims]
    pads = [net.draw.size(0, min(3, limit)) for limit in (*most, *most)]
    if mode == "constant" and net.draw.flag(0.2):
        pads[0] = -net.draw.size(0, x.shape[dims[0]] - 1)
    number = net.hold(np.asarray(2, x.dtype)) if mode == "constant" and net.draw.flag(0.6) else None
    net.add(
        "Pad", [x, net.parameter(pads), number, None if axes is None else net.hold(axes, np.int64)], mode=mode
    )


def _blocks(op_type: str) -> Step:
    def step(net: Net) -> None:
        block = net.draw.size(2, 3)
        n, c, h, w = (net.draw.size(1, 3) for _ in range(4))
        shape = (n, c * block * block, h, w) if op_type == "DepthToSpace" else (n, c, h * block, w * block)
        x = net.first(op_type, shape)
        mode = {"mode": net.draw.one_of(["DCR", "CRD"])} if op_type == "DepthToSpace" else {}
        net.add(op_type, [x], blocksize=block, **mode)

    return step


def _trilu(net: Net) -> None:
    if net.opset < 14:
        raise NoFormError
    x = net.ranked("Trilu", 2, 4)
    k = net.parameter(net.draw.size(-3, 3)) if net.draw.flag(0.7) else None
    net.add("Trilu", [x, k], upper=net.draw.size(0, 1))


def _center_crop_pad(net: Net) -> None:
    if net.opset < 18:
        raise NoFormError
    x = net.ranked("CenterCropPad", 1, 4)
    axes = sorted({axis % x.rank for axis in axes_of(net, x, 1)})
    sizes = net.parameter([net.draw.size(1, 7) for _ in axes])
    net.add("CenterCropPad", [x, sizes], axes=axes)


def _reverse_sequence(net: Net) -> None:
    x = net.ranked("ReverseSequence", 2, 4)
    batch = net.draw.size(0, 1)
    lengths = net.draw.integers(1, x.shape[1 - batch], (x.shape[batch],), np.int64)
    net.add("ReverseSequence", [x, net.either(lengths)], batch_axis=batch, time_axis=1 - batch)


def _shape(net: Net) -> None:
    x = net.first("Shape")
    limits = {"start": net.draw.size(-3, 2), "end": net.draw.size(-2, 3)} if net.opset >= 15 else {}
    net.add("Shape", [x], **limits)


def _size(net: Net) -> None:
    net.add("Size", [net.first("Size")])


def _eye_like(net: Net) -> None:
    x = net.ranked("EyeLike", 2, 2)
    kind = {"dtype": onnx.TensorProto.FLOAT} if net.draw.flag(0.3) else {}
    net.add("EyeLike", [x], k=net.draw.size(-2, 2), **kind)


def _range(net: Net) -> None:
    if net.given is not None:
        raise NoFormError
    kind = net.draw.one_of([np.float32, np.int64, np.int32, np.float64])
    start, count, delta = net.draw.size(-3, 3), net.draw.size(0, 8), net.draw.one_of([1, 2, -1, -3])
    net.add("Range", [net.parameter(number, kind) for number in (start, start + count * delta, delta)])


def _constant_of_shape(net: Net) -> None:
    if net.given is not None:
        raise NoFormError
    number = onnx.numpy_helper.from_array(np.array([3], net.draw.one_of([np.float32, np.int64, np.float16])))
    value = {"value": number} if net.draw.flag(0.7) else {}
    net.add("ConstantOfShape", [net.parameter(net.shape())], **value)


def _mul_by_itself(net: Net) -> None:
    """A value with two readers, one of them through a transpose."""
    x = net.ranked("Add", 2, 2)
    if math.prod(x.shape) > MOST_ELEMENTS or x.shape[0] != x.shape[1]:
        raise NoFormError
    net.add("Transpose", [x])
    (turned,) = net.results()
    net.add("Add", [x, turned])


def _sum_of_views(net: Net) -> None:
    x = net.ranked("Add", 1, 4)
    net.add("Unsqueeze" if net.opset < 13 else "Identity", [x], **({"axes": [0]} if net.opset < 13 else {}))
    (view,) = net.results()
    net.add("Add", [view, second(net, x)])


MOVING: Mapping[str, Step] = {
    "CenterCropPad": _center_crop_pad,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _blocks("DepthToSpace"),
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _blocks("SpaceToDepth"),
    "Split": _split,
    "Squeeze": _squeeze,
    "SumOfViews": _sum_of_views,
    "SumWithTurned": _mul_by_itself,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
