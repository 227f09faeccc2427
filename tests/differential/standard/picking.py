"""Operators that pick elements by index and put them there."""

from collections.abc import Mapping

import numpy as np

from tests.differential.standard.net import Net, NoFormError, Step, axis_of
from tests.onnx_models import Array


def _indices(net: Net, extent: int, shape: tuple[int, ...]) -> Array:
    low = -extent if net.draw.flag(0.3) else 0
    return net.draw.integers(low, extent - 1, shape, net.draw.one_of([np.int64, np.int64, np.int32]))


def _gather(net: Net) -> None:
    x = net.ranked("Gather", 1, 4)
    axis = axis_of(net, x)
    shape = net.shape(0, 2)
    net.add("Gather", [x, net.either(_indices(net, x.shape[axis], shape))], axis=axis)


def _gather_elements(net: Net) -> None:
    x = net.ranked("GatherElements", 1, 4)
    axis = axis_of(net, x)
    shape = [net.draw.size(1, extent) for extent in x.shape]
    shape[axis] = net.draw.size(1, 5)
    net.add("GatherElements", [x, net.either(_indices(net, x.shape[axis], tuple(shape)))], axis=axis)


def _gather_nd(net: Net) -> None:
    x = net.ranked("GatherND", 1, 4)
    batch = net.draw.size(0, x.rank - 1) if net.opset >= 12 and net.draw.flag(0.4) else 0
    depth = net.draw.size(1, x.rank - batch)
    outer = (*x.shape[:batch], *net.shape(0 if batch else 1, 2))
    columns = [net.draw.integers(0, x.shape[batch + index] - 1, outer, np.int64) for index in range(depth)]
    net.add(
        "GatherND",
        [x, net.either(np.stack(columns, -1))],
        **({"batch_dims": batch} if net.opset >= 12 else {}),
    )


def _reduction(net: Net, op_type: str) -> dict[str, str]:
    options = ["none"]
    if net.opset >= 16:
        options += ["add", "mul"]
    if net.opset >= 18:
        options += ["max", "min"]
    how = net.draw.one_of(options)
    return {} if how == "none" else {"reduction": how}


def _scatter_elements(net: Net) -> None:
    x = net.ranked("ScatterElements", 1, 3)
    axis = axis_of(net, x)
    how = _reduction(net, "ScatterElements")
    shape = [net.draw.size(1, extent) for extent in x.shape]
    # Without a reduction an element that is put twice may be either.
    rows = net.draw.chance.random(shape).argsort(axis).astype(np.int64)
    indices = rows if not how else net.draw.integers(0, x.shape[axis] - 1, shape, np.int64)
    updates = net.numbers(shape, x.dtype)
    net.add("ScatterElements", [x, net.either(indices), net.either(updates)], axis=axis, **how)


def _scatter_nd(net: Net) -> None:
    x = net.ranked("ScatterND", 1, 3)
    how = _reduction(net, "ScatterND")
    depth = net.draw.size(1, x.rank)
    places = np.stack(np.unravel_index(np.arange(int(np.prod(x.shape[:depth]))), x.shape[:depth]), -1)
    count = net.draw.size(1, len(places))
    chosen = net.draw.chance.choice(len(places), count, replace=bool(how))
    updates = net.numbers((count, *x.shape[depth:]), x.dtype)
    net.add("ScatterND", [x, net.either(places[chosen].astype(np.int64)), net.either(updates)], **how)


def _one_hot(net: Net) -> None:
    depth = net.draw.size(1, 5)
    kind = net.draw.one_of([np.int64, np.int32, np.float32])
    indices = net.first("OneHot", dtypes=[kind], least=-depth, most=depth)
    if indices.dtype.kind == "f":
        raise NoFormError
    values = net.hold(net.draw.one_of([[0, 1], [-1, 5]]), net.draw.one_of([np.float32, np.int64]))
    axis = net.draw.size(-indices.rank - 1, indices.rank)
    net.add("OneHot", [indices, net.parameter([depth]), values], axis=axis)


def _compress(net: Net) -> None:
    x = net.ranked("Compress", 1, 3)
    axis = axis_of(net, x)
    kept = net.draw.chance.random(net.draw.size(1, x.shape[axis])) < 0.6
    net.add("Compress", [x, net.either(kept)], axis=axis)


def _non_zero(net: Net) -> None:
    net.add("NonZero", [net.ranked("NonZero", 1, 3, least=-1, most=1)])


def _unique(net: Net) -> None:
    # Unsorted the reference picks along the wrong axis, and onnxruntime takes few types.
    x = net.ranked("Unique", 1, 3, [np.float32, np.int64, np.int8], least=0, most=3)
    axis = {"axis": axis_of(net, x)} if net.draw.flag() else {}
    net.add("Unique", [x], outputs=4, sorted=net.draw.size(0, 1), **axis)


def _non_max_suppression(net: Net) -> None:
    if net.given is not None:
        raise NoFormError
    batch, count, classes = net.draw.size(1, 2), net.draw.size(1, 8), net.draw.size(1, 2)
    corners = net.draw.chance.uniform(0, 1, (batch, count, 2))
    sizes = net.draw.chance.uniform(0.05, 0.6, (batch, count, 2))
    center = net.draw.size(0, 1)
    boxes = np.concatenate([corners, sizes if center else corners + sizes], -1).astype(np.float32)
    scores = net.draw.chance.random((batch, classes, count)).astype(np.float32)
    limits = [
        net.parameter(net.draw.size(1, 4)),
        net.parameter(0.4, np.float32),
        net.parameter(0.2, np.float32) if net.draw.flag() else None,
    ]
    operands = [net.feed(boxes), net.feed(scores), *limits]
    net.add("NonMaxSuppression", operands, center_point_box=center)


def _tensor_scatter(net: Net) -> None:
    """New rows of a cache put behind those that each row of the batch has."""
    if net.opset < 24:
        raise NoFormError
    x = net.ranked("TensorScatter", 3, 4, [np.float32])
    axis = net.draw.one_of([-2, 1])
    length = x.shape[axis]
    shape = list(x.shape)
    shape[axis] = net.draw.size(1, length)
    circular = net.draw.flag()
    most = length - 1 if circular else length - shape[axis]
    places = net.feed(net.draw.integers(0, most, (x.shape[0],), np.int64)) if net.draw.flag(0.8) else None
    mode = "circular" if circular else "linear"
    net.add("TensorScatter", [x, net.either(net.numbers(shape, x.dtype)), places], axis=axis, mode=mode)


PICKING: Mapping[str, Step] = {
    "Compress": _compress,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonMaxSuppression": _non_max_suppression,
    "NonZero": _non_zero,
    "OneHot": _one_hot,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TensorScatter": _tensor_scatter,
    "Unique": _unique,
}
