"""Operators as they were before opset 11: parameters as attributes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.differential.standard.net import Net, NoFormError, Step, Value, axes_of, axis_of

FIRST, LAST = 7, 10


def _aged(net: Net, first: int = FIRST, last: int = LAST) -> None:
    """Makes the model one of an old opset; NoFormError where it has begun as a later one."""
    if net.given is not None:
        raise NoFormError
    net.opset = net.draw.size(first, last)


def _image(net: Net) -> Value:
    shape = (net.draw.size(1, 2), net.draw.size(1, 3), net.draw.size(2, 6), net.draw.size(2, 6))
    return net.feed(net.draw.reals(*shape))


def _clip(net: Net) -> None:
    _aged(net)
    limits = {name: number for name, number in (("min", -0.5), ("max", 0.8)) if net.draw.flag(0.7)}
    net.add("Clip", [net.first("Clip", dtypes=[np.float32])], **limits)


def _pad(net: Net) -> None:
    _aged(net)
    x = net.ranked("Pad", 2, 4, [np.float32])
    mode = net.draw.one_of(["constant", "reflect", "edge"])
    most = [extent - 1 if mode == "reflect" else 2 for extent in x.shape]
    value = {"value": 1.5} if mode == "constant" and net.draw.flag() else {}
    pads = [net.draw.size(0, min(2, limit)) for limit in (*most, *most)]
    net.add("Pad", [x], mode=mode, pads=pads, **value)


def _slice(net: Net) -> None:
    _aged(net, last=9)
    x = net.ranked("Slice", 1, 4, [np.float32, np.int64])
    axes = sorted({axis % x.rank for axis in axes_of(net, x, 1)})
    ends = [net.draw.one_of([x.shape[axis], -1, 1 << 40]) for axis in axes]
    starts = [net.draw.size(-x.shape[axis], x.shape[axis] - 1) for axis in axes]
    given: dict[str, Any] = {"axes": axes} if axes != list(range(len(axes))) or net.draw.flag() else {}
    net.add("Slice", [x], starts=starts, ends=ends, **given)


def _top_k(net: Net) -> None:
    _aged(net, last=9)
    x = net.ranked("TopK", 1, 4, [np.float32])
    axis = axis_of(net, x) % x.rank
    net.add("TopK", [x], outputs=2, axis=axis, k=net.draw.size(1, x.shape[axis]))


def _upsample(net: Net) -> None:
    _aged(net, last=9)
    x, mode = _image(net), net.draw.one_of(["nearest", "linear"])
    scales = [1.0, 1.0, net.draw.one_of([1.0, 2.0, 3.0]), net.draw.one_of([1.0, 2.0])]
    if net.opset < 9:
        net.add("Upsample", [x], mode=mode, scales=scales)
    else:
        told = net.hold(scales, np.float32) if mode == "linear" else net.parameter(scales, np.float32)
        net.add("Upsample", [x, told], mode=mode)


def _resize(net: Net) -> None:
    _aged(net, first=10)
    scales = [1.0, 1.0, net.draw.one_of([0.5, 1.0, 2.0, 3.0]), net.draw.one_of([0.5, 1.0, 2.0])]
    mode = net.draw.one_of(["nearest", "linear"])
    net.add("Resize", [_image(net), net.hold(scales, np.float32)], mode=mode)


def _scatter(net: Net) -> None:
    _aged(net, first=9)
    x = net.ranked("Scatter", 1, 3, [np.float32, np.int64])
    axis = axis_of(net, x) % x.rank
    rows = net.draw.chance.random([net.draw.size(1, extent) for extent in x.shape]).argsort(axis)
    updates = net.numbers(rows.shape, x.dtype)
    net.add("Scatter", [x, net.either(rows.astype(np.int64)), net.either(updates)], axis=axis)


def _batch_normalization(net: Net) -> None:
    _aged(net, last=8)
    x = _image(net)
    net.add("BatchNormalization", [x, *(net.hold(net.draw.positive(x.shape[1])) for _ in range(4))])


def _reduced(net: Net) -> None:
    _aged(net)
    name = net.draw.one_of(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp"])
    x = net.ranked(name, 1, 4, [np.float32])
    axes = sorted({axis % x.rank for axis in axes_of(net, x, 1)})
    net.add(name, [x], keepdims=net.draw.size(0, 1), **({"axes": axes} if net.draw.flag(0.8) else {}))


def _squeezed(net: Net) -> None:
    _aged(net)
    shape = tuple(1 if net.draw.flag() else extent for extent in net.shape(1, 4))
    x = net.first("Squeeze", shape, [np.float32])
    ones = [axis for axis, extent in enumerate(x.shape) if extent == 1]
    if ones and net.draw.flag():
        net.add("Squeeze", [x], axes=ones)
    else:
        net.add("Unsqueeze", [x], axes=sorted({0, x.rank}))


def _rows(net: Net) -> None:
    _aged(net)
    name = net.draw.one_of(["Softmax", "LogSoftmax", "Hardmax", "Flatten"])
    x = net.ranked(name, 1, 4, [np.float32])
    net.add(name, [x], axis=net.draw.size(0, x.rank - 1))


def _pooled(net: Net) -> None:
    _aged(net)
    name = net.draw.one_of(["AveragePool", "MaxPool", "LpPool"])
    kernel = [net.draw.size(1, 2), net.draw.size(1, 2)]
    pads = [net.draw.size(0, size - 1) for size in (*kernel, *kernel)]
    strides = {"strides": [net.draw.size(1, 2), net.draw.size(1, 3)]} if net.draw.flag() else {}
    net.add(name, [_image(net)], kernel_shape=kernel, pads=pads, **strides)


def _gemm(net: Net) -> None:
    _aged(net)
    rows, inner, columns = (net.draw.size(1, 5) for _ in range(3))
    turned = net.draw.size(0, 1)
    left = net.feed(net.draw.reals(rows, inner))
    right = net.hold(net.draw.reals(*((columns, inner) if turned else (inner, columns))))
    bias = net.hold(net.draw.reals(*net.draw.one_of([(columns,), (1, columns), (rows, columns), (1,)])))
    net.add("Gemm", [left, right, bias], transB=turned)


OLDER: Mapping[str, Step] = {
    "Older.BatchNormalization": _batch_normalization,
    "Older.Clip": _clip,
    "Older.Gemm": _gemm,
    "Older.Pad": _pad,
    "Older.Pool": _pooled,
    "Older.Reduce": _reduced,
    "Older.Resize": _resize,
    "Older.Rows": _rows,
    "Older.Scatter": _scatter,
    "Older.Slice": _slice,
    "Older.Squeeze": _squeezed,
    "Older.TopK": _top_k,
    "Older.Upsample": _upsample,
}
