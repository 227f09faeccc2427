"""Resize and Upsample, one dim at a time.

Every mode is a row of weights an output position: output y is the sum over t of weight[y, t] * x[base(y) + t]
with base(y) = (a * y + b) // d. The form is fitted to the exact rows of the coordinate rule, so nearest by a
whole factor is a plain floor division and linear is a contraction with two constant taps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, floordiv, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import IndexExpr, affine, axis_index
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    checked_axes,
    known_dims,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node

MAX_FITTED_ELEMENTS = 1 << 17
TIE = 1e-6
"""How far from the middle of two elements a coordinate may be because of the rounding of a scale."""


@dataclass(frozen=True)
class Rule:
    """How one dim is resized: the attributes that decide, and the scale where one was given."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    antialias: bool
    exclude_outside: bool
    extrapolation: float
    scale: float | None
    roi: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Fit:
    """base(y) = (step * y + offset) // divisor, and the number of taps from there on."""

    step: int
    offset: int
    divisor: int
    taps: int


def positions(rule: Rule, size: int, result: int) -> Array:
    """The input coordinate of every output position, in f32 as onnxruntime computes it.

    Where a scale was given, the length that align_corners and tf_crop_and_resize spread over the input is the
    product before it is rounded down, as in the standard's reference.
    """
    scale = np.float32(rule.scale if rule.scale is not None else result / size)
    width = result if rule.scale is None else rule.scale * size
    y = np.arange(result, dtype=np.float32)
    half = (y + np.float32(0.5)) / scale - np.float32(0.5)
    match rule.coordinates:
        case "half_pixel":
            return half
        case "half_pixel_symmetric":
            adjustment = np.float32(result / (size * float(scale)))
            return np.asarray(np.float32(size / 2) * (1 - adjustment) + half, dtype=np.float32)
        case "pytorch_half_pixel":
            return half if result > 1 else np.zeros(result, dtype=np.float32)
        case "align_corners":
            return y * np.float32((size - 1) / (width - 1)) if width != 1 else np.zeros_like(y)
        case "asymmetric":
            return y / scale
        case "tf_half_pixel_for_nn":
            return (y + np.float32(0.5)) / scale
        case "tf_crop_and_resize":
            first, last = rule.roi
            if width != 1:
                span = (last - first) * (size - 1)
                return np.asarray(first * (size - 1) + y * (span / (width - 1)), dtype=np.float32)
            return np.full(result, 0.5 * (first + last) * (size - 1), dtype=np.float32)
    raise ModelError(f"coordinate_transformation_mode {rule.coordinates!r} is not known")


def _nearest(at: Array, mode: str) -> Array:
    """The index nearest to each coordinate; what is within TIE of the middle counts as the middle."""
    low = np.floor(at)
    match mode:
        case "round_prefer_floor":
            return low + (at - low > 0.5 + TIE)
        case "round_prefer_ceil":
            return low + (at - low >= 0.5 - TIE)
        case "floor":
            return low
        case "ceil":
            return np.ceil(at)
    raise ModelError(f"nearest_mode {mode!r} is not known")


def weight_rows(rule: Rule, size: int, result: int) -> tuple[Array, Array]:
    """Input index and weight of every tap of every output position, both [result, taps]."""
    at = positions(rule, size, result).astype(np.float64)
    if rule.mode == "nearest":
        index = _nearest(at, rule.nearest)
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


def _outside(rule: Rule, size: int, result: int) -> Array:
    original = positions(rule, size, result)
    return np.asarray((original < 0) | (original > size - 1))


def _extrapolated(context: Context, y: Tensor, dim: int, size: Dim, rule: Rule) -> Tensor:
    """`y` with the rule's extrapolation value where a position of `dim` lies outside the input."""
    builder = context.builder
    outside = builder.derived_table(
        (y.shape[dim], *[1] * (y.rank - dim - 1)),
        DType.BOOL,
        [builder.extents([size], (1,))],
        lambda extents, sources: _outside(rule, int(sources[0][0]), extents[0]),
    )
    return builder.elementwise("where", outside, builder.scalar(rule.extrapolation, y.dtype), y)


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic kernel with parameter a (IEEE Trans. ASSP 29(6), 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def fit(rule: Rule, pairs: Sequence[tuple[int, int]]) -> Fit | None:
    """The form with the fewest taps that covers all (size, result) pairs; None if none is sought."""
    if sum(size * 1 + result for size, result in pairs) > MAX_FITTED_ELEMENTS:
        return None
    ratios: set[Fraction] = set()
    for size, result in pairs:
        if len(pairs) == 1:
            ratios.add(Fraction(size, result))
            if result > 1 and size > 1:
                ratios.add(Fraction(size - 1, result - 1))
        if rule.scale is not None:
            ratios.add(1 / Fraction(rule.scale).limit_denominator(1 << 12))
    fits = [_fit_ratio(rule, pairs, ratio) for ratio in sorted(ratios)]
    return min(fits, key=lambda fit: (fit.taps, fit.divisor)) if fits else None


def _fit_ratio(rule: Rule, pairs: Sequence[tuple[int, int]], ratio: Fraction) -> Fit:
    step, divisor = ratio.numerator, ratio.denominator
    rows = [weight_rows(rule, size, result) for size, result in pairs]
    used = [
        (
            np.where(weights != 0, index, np.iinfo(np.int64).max).min(axis=1),
            np.where(weights != 0, index, -1).max(axis=1),
        )
        for index, weights in rows
    ]
    used = [
        (
            np.where(last < 0, step * np.arange(first.size) // divisor, first),
            np.where(last < 0, step * np.arange(first.size) // divisor, last),
        )
        for first, last in used
    ]
    offset = min(
        int((first * divisor + divisor - 1 - step * np.arange(first.size)).min()) for first, _ in used
    )
    taps = max(int((last - (step * np.arange(last.size) + offset) // divisor).max()) + 1 for _, last in used)
    return Fit(step, offset, divisor, taps)


def resize_dim(context: Context, x: Tensor, dim: int, result: Dim, rule: Rule) -> Tensor:
    """One dim of x resized to extent `result`."""
    builder = context.builder
    size = x.shape[dim]
    if isinstance(size, int) and isinstance(result, int):
        if size < 1 or result < 1:
            raise ModelError(f"dim {dim} cannot be resized from {size} to {result}")
        found = fit(rule, [(size, result)])
    elif rule.scale is not None:
        # A form that covers several sizes of this scale covers all: rows repeat with the scale's period.
        whole = Fraction(rule.scale).limit_denominator(1 << 12).denominator
        sizes = [whole * factor for factor in (1, 2, 3, 5, 8, 13)]
        found = fit(rule, [(n, max(1, int(np.floor(n * rule.scale)))) for n in sizes])
    else:
        found = None
    shape = [result if at == dim else extent for at, extent in enumerate(x.shape)]
    exprs: list[IndexExpr] = [axis_index(at) for at in range(x.rank)]
    if rule.mode == "nearest":
        if (found is not None and found.taps == 1 and isinstance(size, int)) or _is_plain(found):
            assert found is not None
            exprs[dim] = affine((dim, found.step), offset=found.offset, divisor=found.divisor)
            return builder.op("move", shape, [(x, exprs)], x.dtype)
        indices = builder.derived_table(
            (result,),
            DType.I64,
            [builder.extents([size], (1,))],
            lambda extents, sources: weight_rows(rule, int(sources[0][0]), extents[0])[0][:, 0],
        )
        exprs[dim] = IndexExpr(source=1)
        return builder.op("gather", shape, [(x, exprs), (indices, [axis_index(dim)])], x.dtype)
    return _weighted(context, x, dim, result, rule, found)


def _is_plain(found: Fit | None) -> bool:
    return found is not None and found.taps == 1 and 0 <= found.offset < found.divisor


def _weighted(context: Context, x: Tensor, dim: int, result: Dim, rule: Rule, found: Fit | None) -> Tensor:
    """The contraction with constant taps; without a fitted form every input position is a tap."""
    builder = context.builder
    size = x.shape[dim]
    taps: Dim = size if found is None else found.taps

    def table(extents: tuple[int, ...], sources: Sequence[Array]) -> Array:
        outputs, width = extents
        index, weights = weight_rows(rule, int(sources[0][0]), outputs)
        row = np.arange(outputs)[:, None]
        base = 0 if found is None else (found.step * row + found.offset) // found.divisor
        place = np.where(weights != 0, index - base, 0)
        if place.min(initial=0) < 0 or place.max(initial=0) >= width:
            raise ModelError(
                f"a resize of extent {sources[0][0]} to {outputs} needs taps its form does not have"
            )
        made = np.zeros((outputs, width))
        np.add.at(made, (np.broadcast_to(row, place.shape), place), weights)
        return made

    weights = builder.derived_table((result, taps), x.dtype, [builder.extents([size], (1,))], table)
    domain = [result if at == dim else extent for at, extent in enumerate(x.shape)] + [taps]
    exprs = [axis_index(at) for at in range(x.rank)]
    if found is None:
        exprs[dim] = axis_index(x.rank)
    else:
        exprs[dim] = affine(
            (dim, found.step), (x.rank, found.divisor), offset=found.offset, divisor=found.divisor
        )
    weight_exprs = [axis_index(dim), axis_index(x.rank)]
    return builder.op("contract", domain, [(x, exprs, 0.0), (weights, weight_exprs)], x.dtype, reduced=1)


def _resize(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    old = node.op_type == "Upsample" or node.version < 11
    scales_at = 1 if old else 2
    scales = _numbers(context, node, optional(inputs, scales_at), "scales")
    sizes_tensor = None if old else optional(inputs, 3)
    sizes = (
        None
        if sizes_tensor is None or sizes_tensor.shape == (0,)
        else known_dims(context, sizes_tensor, "sizes")
    )
    roi = None if old else _numbers(context, node, optional(inputs, 1), "roi")
    dims = checked_axes(node.integers("axes"), x.rank) if node.has("axes") else list(range(x.rank))
    given = sizes if sizes is not None else scales
    if given is None or len(given) != len(dims):
        raise ModelError(f"scales or sizes must hold one number for each of {len(dims)} dims")
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if sizes is not None:
        scales = None
        if policy != "stretch":
            # One scale for all dims: the sizes follow from it, and so do the positions.
            scale = _common_scale(policy, x, dims, sizes)
            scales = [scale] * len(dims)
            sizes = [_rounded(x.shape[dim], scale) for dim in dims]
    for at, dim in enumerate(dims):
        scale = None if scales is None else float(scales[at])
        if scale is not None and not (0 < scale < 1 << 20):
            raise ModelError(f"scale {scale} is out of range")
        extent = sizes[at] if sizes is not None else _scaled_extent(x.shape[dim], scale or 1.0)
        rule = Rule(
            _mode(node),
            "asymmetric" if old else node.text("coordinate_transformation_mode", "half_pixel"),
            "floor" if old else node.text("nearest_mode", "round_prefer_floor"),
            node.number("cubic_coeff_a", -0.75),
            bool(node.integer("antialias", 0)),
            bool(node.integer("exclude_outside", 0)),
            node.number("extrapolation_value", 0.0),
            scale,
            (0.0, 1.0) if not roi else (roi[at], roi[at + len(dims)]),
        )
        untouched = extent == x.shape[dim] and (scale == 1.0 or scale is None)
        if not untouched or rule.coordinates == "tf_crop_and_resize":
            size = x.shape[dim]
            x = resize_dim(context, x, dim, extent, rule)
            if rule.coordinates == "tf_crop_and_resize":
                x = _extrapolated(context, x, dim, size, rule)
    return x


def _mode(node: Node) -> str:
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear", "cubic"):
        raise ModelError(f"mode {mode!r} is not one of nearest, linear, cubic")
    return "linear" if mode == "bilinear" else mode


def _numbers(context: Context, node: Node, tensor: Tensor | None, name: str) -> list[float] | None:
    if tensor is None:
        return node.numbers(name) if node.has(name) else None
    if tensor.shape == (0,):
        return None
    content = context.builder.content(tensor)
    if content is None:
        raise context.data_decides(tensor, name)
    if content.dtype == object:
        raise ModelError(f"{name} depends on {content.ravel()[0]}; bind it with --dim NAME=VALUE")
    return [float(number) for number in content.ravel()]


def _scaled_extent(extent: Dim, scale: float) -> Dim:
    if isinstance(extent, int):
        return int(np.floor(np.float32(extent) * np.float32(scale)))
    ratio = Fraction(scale).limit_denominator(1 << 12)
    return floordiv(extent * ratio.numerator, ratio.denominator)


def _common_scale(policy: str, x: Tensor, dims: Sequence[int], sizes: Sequence[Dim]) -> float:
    """The scale of all dims under a policy: the least (not_larger) or greatest of what the sizes ask for."""
    if policy not in ("not_larger", "not_smaller"):
        raise ModelError(f"keep_aspect_ratio_policy {policy!r} is not one of stretch, not_larger, not_smaller")
    extents = [known(x.shape[dim], "an extent that keeps its aspect ratio") for dim in dims]
    wanted = [known(size, "a size that keeps the aspect ratio") for size in sizes]
    if not all(extents):
        raise ModelError("an extent of 0 has no aspect ratio to keep")
    ratios = [size / extent for size, extent in zip(wanted, extents, strict=True)]
    return min(ratios) if policy == "not_larger" else max(ratios)


def _rounded(extent: Dim, scale: float) -> int:
    """The extent times the scale, halves rounded up."""
    return int(np.floor(np.float32(scale) * np.float32(known(extent, "an extent")) + np.float32(0.5)))


RESIZES: Mapping[str, Build] = {"Resize": _resize, "Upsample": _resize}
