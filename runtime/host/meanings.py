"""Numpy meanings of ops that have no structured form and run on the host.

Each takes the operands that are present, whole, and gives all results of the model's op in the model's order.
Attribute `present` has one 0 or 1 an input of the model's op: optional inputs may be left out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.runtime.host.grid_sample import grid_sample
from tilewright.runtime.host.recurrences import gru, lstm, rnn
from tilewright.runtime.host.roi_pool import max_roi_pool

Array = npt.NDArray[Any]
Meaning = Callable[[Sequence[Array], Mapping[str, Any]], Sequence[Array]]
REFUSALS = IndexError, OverflowError, ValueError, ZeroDivisionError
"""What a meaning raises where its operands do not fit."""


def fitted(made: Array, extents: Sequence[int]) -> Array:
    """The result of a host op in its bound extents: more elements are cut off, missing ones are zero.

    7 boxes in an extent of 5   ->   the first 5;   3 boxes   ->   these, and 2 rows of zeros

    ValueError where it has another number of dims.
    """
    if made.shape == tuple(extents):
        return made
    if made.ndim != len(extents):
        raise ValueError(f"the inputs make a result of shape {list(made.shape)}, not of {list(extents)}")
    full = np.zeros(tuple(extents), made.dtype)
    kept = tuple(slice(0, min(one, other)) for one, other in zip(made.shape, extents, strict=True))
    full[kept] = made[kept]
    return full


def _all_inputs(args: Sequence[Array], attributes: Mapping[str, Any]) -> list[Array | None]:
    given = iter(args)
    return [next(given) if flag == "1" else None for flag in str(attributes["present"])]


def _with_absent(meaning: Callable[[Sequence[Array | None], Mapping[str, Any]], Sequence[Array]]) -> Meaning:
    return lambda args, attributes: meaning(_all_inputs(args, attributes), attributes)


def _non_zero(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    return [np.array(np.nonzero(args[0]), dtype=np.int64).reshape(args[0].ndim, -1)]


def _top_k(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """The k extreme elements along an axis, first index first among equals."""
    x, axis = args[0], int(attributes["axis"])
    k = int(attributes["k"] if "k" in attributes else args[1].ravel()[0])
    if attributes["largest"]:
        # A stable ascending sort of the mirrored row, read backwards, keeps the first of equals first.
        order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    order = np.take(order, np.arange(k), axis=axis)
    return [np.take_along_axis(x, order, axis), order.astype(np.int64)]


def _combine(old: Array, new: Array, how: str) -> Array:
    match how:
        case "add":
            return np.asarray(old + new)
        case "mul":
            return np.asarray(old * new)
        case "max":
            return np.maximum(old, new)
        case "min":
            return np.minimum(old, new)
    return new


def _scatter_nd(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    data, indices, updates = args
    result = data.copy()
    for index in np.ndindex(indices.shape[:-1]):
        place = tuple(indices[index].tolist())
        result[place] = _combine(result[place], updates[index], str(attributes["reduction"]))
    return [result]


def _scatter_elements(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    data, indices, updates = args
    axis = int(attributes["axis"])
    result = data.copy()
    for index in np.ndindex(indices.shape):
        place = (*index[:axis], int(indices[index]), *index[axis + 1 :])
        result[place] = _combine(result[place], updates[index], str(attributes["reduction"]))
    return [result]


def _non_max_suppression(args: Sequence[Array | None], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """Greedy choice of boxes by score; a box that overlaps a chosen one beyond the threshold is dropped."""
    boxes, scores = args[0], args[1]
    assert boxes is not None
    assert scores is not None
    limits = [0 if arg is None else arg.ravel()[0] for arg in (*args[2:5], *[None] * (5 - len(args)))][:3]
    most, overlap, least = int(limits[0]), float(limits[1]), limits[2]
    score_limit = -np.inf if len(args) < 5 or args[4] is None else float(least)
    chosen: list[tuple[int, int, int]] = []
    for batch in range(scores.shape[0]):
        corners = _corners(boxes[batch], bool(attributes["center_point_box"]))
        for label in range(scores.shape[1]):
            kept: list[int] = []
            for box in np.argsort(-scores[batch, label], kind="stable").tolist():
                if len(kept) >= most or scores[batch, label, box] <= score_limit:
                    break
                if all(_overlap(corners[box], corners[other]) <= overlap for other in kept):
                    kept.append(box)
            chosen += [(batch, label, box) for box in kept]
    return [np.array(chosen, dtype=np.int64).reshape(-1, 3)]


def _corners(boxes: Array, centered: bool) -> Array:
    if centered:
        x, y, w, h = boxes.T
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], axis=1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], axis=1)


def _overlap(a: Array, b: Array) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (sides <= 0).any():
        return 0.0
    shared = float(sides.prod())
    return shared / (float((a[2:] - a[:2]).prod()) + float((b[2:] - b[:2]).prod()) - shared)


def _compress(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    x, condition = args
    axis = attributes.get("axis")
    return [np.compress(condition, x.ravel() if axis is None else x, axis=0 if axis is None else int(axis))]


def _unique(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    axis = attributes.get("axis")
    values, first, inverse, counts = np.unique(
        args[0], return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.ravel()
    if not attributes["sorted"]:
        order = np.argsort(first)
        values = np.take(values, order, axis=0 if axis is None else int(axis))
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        first, counts, inverse = first[order], counts[order], place[inverse]
    return [values, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)]


def _reverse_sequence(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    x, lengths = args
    batch_axis, time_axis = int(attributes["batch_axis"]), int(attributes["time_axis"])
    result = x.copy()
    rows, source = (
        np.moveaxis(result, (batch_axis, time_axis), (0, 1)),
        np.moveaxis(x, (batch_axis, time_axis), (0, 1)),
    )
    for index, length in enumerate(lengths.tolist()):
        rows[index, :length] = source[index, :length][::-1]
    return [result]


def _reshape(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    x, shape = args[0], args[1].tolist()
    if not attributes["allowzero"]:
        shape = [x.shape[index] if extent == 0 else extent for index, extent in enumerate(shape)]
    return [x.reshape(shape)]


def _expand(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    x, shape = args[0], args[1].tolist()
    return [np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))]


def _tile(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    return [np.tile(args[0], args[1].tolist())]


def _slice(args: Sequence[Array | None], attributes: Mapping[str, Any]) -> Sequence[Array]:
    x, *lists = args
    assert x is not None
    starts, ends, axes, steps = (
        [] if arg is None else arg.ravel().tolist() for arg in [*lists, None, None][:4]
    )
    cut = [slice(None)] * x.ndim
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = (axes[index] if axes else index) % x.ndim
        step = steps[index] if steps else 1
        extent = x.shape[axis]
        # Clamped as ONNX says: unlike numpy, a start in front of the first element is that element.
        low, high = (0, extent) if step > 0 else (0, extent - 1)
        first = min(max(start + extent if start < 0 else start, low), high)
        last = min(max(end + extent if end < 0 else end, low if step > 0 else -1), high)
        cut[axis] = slice(first, None if last < 0 else last, step) if extent else slice(None)
    return [x[tuple(cut)]]


def _range(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    start, limit, delta = (arg.ravel()[0] for arg in args)
    count = max(0, int(np.ceil((limit - start) / delta)))
    return [(start + np.arange(count) * delta).astype(args[0].dtype)]


def _pad(args: Sequence[Array | None], attributes: Mapping[str, Any]) -> Sequence[Array]:
    x, pads, number = (*args, None)[:3]
    assert x is not None
    assert pads is not None
    # A negative pad cuts.
    cuts = [
        slice(max(0, -b), max(0, n + min(0, e)))
        for n, b, e in zip(x.shape, pads, pads[x.ndim :], strict=False)
    ]
    x = x[tuple(cuts)]
    added = np.maximum(pads, 0)
    widths = list(zip(added[: x.ndim].tolist(), added[x.ndim :].tolist(), strict=True))
    if attributes["mode"] == "constant":
        value = 0 if number is None else number.ravel()[0]
        return [np.pad(x, widths, mode="constant", constant_values=value)]
    return [np.pad(x, widths, mode=str(attributes["mode"]))]  # type: ignore[call-overload]  # a mode of numpy


def _one_hot(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    indices, depth, values = args
    count, axis = int(depth.ravel()[0]), int(attributes["axis"])
    places = np.where(indices < 0, indices + count, indices)
    hot = np.expand_dims(places, axis) == np.arange(count).reshape([-1] + [1] * (indices.ndim - axis))
    return [np.where(hot, values[1], values[0])]


def _determinant(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    return [np.linalg.det(args[0])]


def _choose(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    condition, chosen, otherwise = args
    return [chosen if condition.item() else otherwise]


MEANINGS: dict[str, Meaning] = {
    "choose": _choose,
    "compress": _compress,
    "determinant": _determinant,
    "expand": _expand,
    "grid_sample": grid_sample,
    "gru": _with_absent(gru),
    "lstm": _with_absent(lstm),
    "max_roi_pool": max_roi_pool,
    "non_max_suppression": _with_absent(_non_max_suppression),
    "non_zero": _non_zero,
    "one_hot": _one_hot,
    "pad": _with_absent(_pad),
    "range": _range,
    "reshape": _reshape,
    "reverse_sequence": _reverse_sequence,
    "rnn": _with_absent(rnn),
    "scatter_elements": _scatter_elements,
    "scatter_nd": _scatter_nd,
    "slice": _with_absent(_slice),
    "tile": _tile,
    "top_k": _top_k,
    "unique": _unique,
}
