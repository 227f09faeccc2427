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
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
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
from tilewright.compiler_core.onnx_import.operators.resampling import Rule, outside, weight_rows

MAX_FITTED_ELEMENTS = 1 << 17


@dataclass(frozen=True)
class Fit:
    """base(y) = (step * y + offset) // divisor, and the number of taps from there on."""

    step: int
    offset: int
    divisor: int
    taps: int


def _extrapolated(context: Context, y: Tensor, dim: int, size: Dim, rule: Rule) -> Tensor:
    """`y` with the rule's extrapolation value where a position of `dim` lies outside the input."""
    builder = context.builder
    beyond = builder.derived_table(
        (y.shape[dim], *[1] * (y.rank - dim - 1)),
        DType.BOOL,
        [builder.extents([size], (1,))],
        lambda extents, sources: outside(rule, int(sources[0][0]), extents[0]),
    )
    return builder.elementwise("where", beyond, builder.scalar(rule.extrapolation, y.dtype), y)


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
    shape = [result if index == dim else extent for index, extent in enumerate(x.shape)]
    exprs: list[IndexExpr] = [axis_index(index) for index in range(x.rank)]
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
    domain = [result if index == dim else extent for index, extent in enumerate(x.shape)] + [taps]
    exprs = [axis_index(index) for index in range(x.rank)]
    if found is None:
        exprs[dim] = axis_index(x.rank)
    else:
        exprs[dim] = affine(
            (dim, found.step), (x.rank, found.divisor), offset=found.offset, divisor=found.divisor
        )
    weight_exprs = [axis_index(dim), axis_index(x.rank)]
    return builder.op("contract", domain, [(x, exprs, 0.0), (weights, weight_exprs)], x.dtype, reduced=1)


@dataclass(frozen=True)
class _Wanted:
    """The scale or the size of each of `dims`: one of the two may be missing."""

    dims: list[int]
    scales: list[float] | None
    sizes: list[Dim] | None


def _wanted(context: Context, node: Node, inputs: Inputs, x: Tensor) -> _Wanted:
    given = None if _is_old(node) else optional(inputs, 3)
    dims = checked_axes(node.integers("axes"), x.rank) if node.has("axes") else list(range(x.rank))
    if given is None or given.shape == (0,):
        scales = _numbers(context, node, optional(inputs, 1 if _is_old(node) else 2), "scales")
        if scales is None or len(scales) != len(dims):
            raise ModelError(f"scales must hold one number for each of {len(dims)} dims")
        for scale in scales:
            if not 0 < scale < 1 << 20:
                raise ModelError(f"scale {scale} is out of range")
        return _Wanted(dims, scales, None)
    sizes = known_dims(context, given, "sizes")
    if len(sizes) != len(dims):
        raise ModelError(f"sizes must hold one number for each of {len(dims)} dims")
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return _Wanted(dims, None, sizes)
    # One scale for all dims: the sizes follow from it, and so do the positions.
    scale = _common_scale(policy, x, dims, sizes)
    return _Wanted(dims, [scale] * len(dims), [_rounded(x.shape[dim], scale) for dim in dims])


def _is_old(node: Node) -> bool:
    """Whether a node is of the time before positions could be chosen."""
    return node.op_type == "Upsample" or node.version < 11


def _rule(node: Node, scale: float | None, roi: tuple[float, float], dtype: DType) -> Rule:
    """The rule by which one dim is resized."""
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear", "cubic"):
        raise ModelError(f"mode {mode!r} is not one of nearest, linear, cubic")
    nearest = node.text("nearest_mode", "round_prefer_floor")
    if _is_old(node):
        # The standard leaves it open; onnxruntime takes the larger index where a dim becomes shorter.
        nearest = "ceil" if scale is not None and scale < 1 else "floor"
    return Rule(
        "linear" if mode == "bilinear" else mode,
        "asymmetric" if _is_old(node) else node.text("coordinate_transformation_mode", "half_pixel"),
        nearest,
        node.number("cubic_coeff_a", -0.75),
        bool(node.integer("antialias", 0)),
        bool(node.integer("exclude_outside", 0)),
        node.number("extrapolation_value", 0.0),
        scale,
        roi,
        mode == "nearest" and dtype is not DType.F64,
    )


def _resize(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x = required(inputs, 0)
    wanted, given_type = _wanted(context, node, inputs, x), x.dtype
    count = len(wanted.dims)
    crops = node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    region = _numbers(context, node, optional(inputs, 1), "roi") if crops else None
    if region is None or len(region) != 2 * count:
        region = [0.0] * count + [1.0] * count
    if not x.dtype.is_float and node.text("mode", "nearest") != "nearest":
        x = context.builder.cast(x, DType.F64)
    for index, dim in enumerate(wanted.dims):
        scale = None if wanted.scales is None else wanted.scales[index]
        size = x.shape[dim]
        extent = _scaled_extent(size, scale or 1.0) if wanted.sizes is None else wanted.sizes[index]
        rule = _rule(node, scale, (region[index], region[index + count]), given_type)
        if crops or extent != size or scale not in (1.0, None):
            x = resize_dim(context, x, dim, extent, rule)
        if crops:
            x = _extrapolated(context, x, dim, size, rule)
    return x if x.dtype is given_type else _whole(context.builder, x, given_type)


def _whole(builder: Builder, x: Tensor, dtype: DType) -> Tensor:
    """Reals as the nearest integers of a type, clamped to its range."""
    low, high = dtype.limits
    clipped = builder.elementwise("clip", builder.elementwise("round", x), low=float(low), high=float(high))
    return builder.cast(clipped, dtype)


def _numbers(context: Context, node: Node, tensor: Tensor | None, name: str) -> list[float] | None:
    if tensor is None:
        return node.numbers(name) if node.has(name) else None
    if tensor.shape == (0,):
        return None
    content = context.builder.content(tensor)
    if content is None and _is_old(node) and (node.op_type == "Resize" or node.text("mode", "") == "linear"):
        # The standard's evaluator, which runs ops whose extents depend on data, lacks these.
        raise ModelError(context.undecided(tensor, name))
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
        raise ModelError(
            f"keep_aspect_ratio_policy {policy!r} is not one of stretch, not_larger, not_smaller"
        )
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
