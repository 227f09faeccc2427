"""The input coordinate of every output position of a resized dim, and the weights of the elements there."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.ops import Array

TIE = 1e-6
"""How far from the middle of two elements a coordinate may be because of the rounding of a scale."""


@dataclass(frozen=True)
class Rule:
    """The rule by which one dim is resized: its attributes, and the scale if one was given.

    `single`: positions are computed in f32, as onnxruntime does, whose rounding may decide what is nearest.
    """

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    antialias: bool
    exclude_outside: bool
    extrapolation: float
    scale: float | None
    roi: tuple[float, float] = (0.0, 1.0)
    single: bool = False


def positions(rule: Rule, size: int, result: int) -> Array:
    """The input coordinate of every output position, `single` in f32 and otherwise in f64.

    Where a scale was given, the length that align_corners and tf_crop_and_resize spread over the input is the
    product before it is rounded down, as in the standard's reference.
    """
    real: Any = np.float32 if rule.single else np.float64
    scale = real(rule.scale if rule.scale is not None else result / size)
    width = result if rule.scale is None else rule.scale * size
    y = np.arange(result, dtype=real)
    half = (y + real(0.5)) / scale - real(0.5)
    match rule.coordinates:
        case "half_pixel":
            return np.asarray(half)
        case "half_pixel_symmetric":
            middle = size / 2 * (1 - result / (size * float(scale)))
            return np.asarray(middle + (np.arange(result) + 0.5) / float(scale) - 0.5, dtype=real)
        case "pytorch_half_pixel":
            return np.asarray(half) if result > 1 else np.zeros(result, dtype=real)
        case "align_corners":
            return y * real((size - 1) / (width - 1)) if width != 1 else np.zeros_like(y)
        case "asymmetric":
            return np.asarray(y / scale)
        case "tf_half_pixel_for_nn":
            return np.asarray((y + real(0.5)) / scale)
        case "tf_crop_and_resize":
            first, last = rule.roi
            if width != 1:
                span = (last - first) * (size - 1)
                return np.asarray(first * (size - 1) + y * (span / (width - 1)), dtype=real)
            return np.full(result, 0.5 * (first + last) * (size - 1), dtype=real)
    raise ModelError(f"coordinate_transformation_mode {rule.coordinates!r} is not known")


def _nearest(at: Array, rule: Rule) -> Array:
    """The index nearest to each coordinate; in f32 what is within TIE of the middle counts as the middle."""
    low, tie = np.floor(at), TIE if rule.single else 0.0
    match rule.nearest:
        case "round_prefer_floor":
            return low + (at - low > 0.5 + tie)
        case "round_prefer_ceil":
            return low + (at - low >= 0.5 - tie)
        case "floor":
            return low
        case "ceil":
            return np.ceil(at)
    raise ModelError(f"nearest_mode {rule.nearest!r} is not known")


def weight_rows(rule: Rule, size: int, result: int) -> tuple[Array, Array]:
    """Input index and weight of every tap of every output position, both [result, taps]."""
    at = positions(rule, size, result)
    if rule.mode == "nearest":
        index = _nearest(at, rule)
        return np.clip(index, 0, size - 1).astype(np.int64)[:, None], np.ones((result, 1))
    scale = rule.scale if rule.scale is not None else result / size
    stretch = max(1.0, 1.0 / scale) if rule.antialias else 1.0
    radius = (1.0 if rule.mode == "linear" else 2.0) * stretch
    first = np.floor(at - radius).astype(np.int64) + 1
    index = first[:, None] + np.arange(int(np.ceil(2 * radius)) + (1 if rule.antialias else 0))
    distance = np.abs(index - at[:, None]) / stretch
    weights = np.maximum(0.0, 1.0 - distance) if rule.mode == "linear" else _cubic(distance, rule.cubic)
    if rule.exclude_outside or rule.antialias:
        if rule.exclude_outside:
            weights = np.where((index >= 0) & (index < size), weights, 0.0)
        weights = weights / weights.sum(axis=1, keepdims=True)
    elif rule.mode == "linear":
        # Coordinates are clamped before the two neighbours are taken.
        at = np.clip(at, 0, size - 1)
        low = np.floor(at).astype(np.int64)
        index = np.stack([low, np.minimum(low + 1, size - 1)], axis=1)
        weights = np.stack([1 - (at - low), at - low], axis=1)
    return np.clip(index, 0, size - 1), weights


def outside(rule: Rule, size: int, result: int) -> Array:
    """The output positions that lie outside the input."""
    original = positions(rule, size, result)
    return np.asarray((original < 0) | (original > size - 1))


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic kernel with parameter a (IEEE Trans. ASSP 29(6), 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
