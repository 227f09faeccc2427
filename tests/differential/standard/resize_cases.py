"""Resize in all its forms: modes, positions, policies, antialiasing, axes, sizes and scales."""

from collections.abc import Mapping, Sequence

import numpy as np

from tests.differential.case import Case, Draw, Family, Operator

POSITIONS = (
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
    "half_pixel_symmetric",
)
SCALES = (0.3, 0.5, 0.6, 0.8, 1.0, 1.2, 1.25, 1.5, 2.0, 3.0)


def _resize(draw: Draw) -> Case:
    mode = draw.one_of(["nearest", "linear", "cubic"])
    opset = draw.one_of([11, 13, 18, 19, 22])
    positions = draw.one_of(POSITIONS if opset >= 19 else POSITIONS[:-1])
    rank = draw.size(3, 5) if mode != "cubic" else 4
    shape = [1, draw.size(1, 2), *(draw.size(1, 9) for _ in range(rank - 2))]
    axes = _axes(draw, rank) if opset >= 18 and draw.flag(0.4) else list(range(rank))
    scales = [1.0 if dim < 2 else _scale(draw, shape[dim]) for dim in axes]
    chosen = Operator("Resize", "", opset, {"mode": mode, "coordinate_transformation_mode": positions})
    if mode == "nearest":
        chosen.attributes["nearest_mode"] = draw.one_of(
            ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        )
    else:
        chosen.attributes["exclude_outside"] = int(draw.flag(0.3))
        if opset >= 18:
            chosen.attributes["antialias"] = int(draw.flag(0.4))
    if mode == "cubic":
        chosen.attributes["cubic_coeff_a"] = draw.one_of([-0.5, -0.75])
    if len(axes) < rank:
        chosen.attributes["axes"] = axes
    if positions == "half_pixel_symmetric":
        # The reference loses a place where a position is a whole number but for its last bit.
        scales = [float(np.ceil(scale)) for scale in scales]
    if positions == "pytorch_half_pixel":
        # Of a single position the standard's text and onnxruntime say 0, its reference -0.5.
        scales = [max(scale, 2.0) if dim >= 2 else scale for dim, scale in zip(axes, scales, strict=True)]
    numbers = _numbers(draw, shape)
    chosen.feed(numbers)
    chosen.hold(_region(draw, axes) if positions == "tf_crop_and_resize" else np.zeros(0, np.float32))
    if positions == "tf_crop_and_resize":
        chosen.attributes["extrapolation_value"] = draw.one_of([0.0, 10.0])
    _extents(draw, chosen, shape, axes, scales)
    # Positions are as good as the f32 that scales and regions are given in. Between integers onnxruntime cuts
    # off in some kernels and rounds in others.
    loose = numbers.dtype == np.float64
    return chosen.case(tolerance=1e-5 if loose else None, steps=int(mode != "nearest"))


def _axes(draw: Draw, rank: int) -> list[int]:
    kept = [dim for dim in range(2, rank) if draw.flag(0.7)]
    return kept or [rank - 1]


def _scale(draw: Draw, extent: int) -> float:
    """A scale under which something is left, and whose product is rounded down alike in f32 and f64."""
    fitting = [
        scale
        for scale in (*SCALES, float(draw.chance.uniform(0.3, 3)))
        if np.float32(scale) * np.float32(extent) >= 1
        and np.floor(np.float32(scale) * np.float32(extent)) == np.floor(float(np.float32(scale)) * extent)
    ]
    return draw.one_of(fitting)


def _numbers(draw: Draw, shape: Sequence[int]) -> np.ndarray:
    dtype = draw.one_of([np.float32, np.float32, np.float32, np.float16, np.float64, np.uint8, np.int32])
    if np.issubdtype(dtype, np.integer):
        return draw.integers(0, 200, shape, dtype)
    return draw.reals(*shape, dtype=dtype)


def _region(draw: Draw, axes: Sequence[int]) -> np.ndarray:
    starts = [0.0 if dim < 2 else draw.chance.uniform(-0.1, 0.4) for dim in axes]
    ends = [1.0 if dim < 2 else draw.chance.uniform(0.5, 1.2) for dim in axes]
    return np.array([*starts, *ends], np.float32)


def _extents(
    draw: Draw, chosen: Operator, shape: Sequence[int], axes: Sequence[int], scales: Sequence[float]
) -> None:
    """Scales or sizes, perhaps under a policy."""
    if draw.flag():
        chosen.hold(np.array(scales, np.float32))
        return
    # An empty tensor before opset 13, which allows an input to be left out.
    chosen.hold(np.zeros(0, np.float32) if chosen.opset < 13 else None)
    chosen.hold(
        np.array([int(shape[dim] * scale) for dim, scale in zip(axes, scales, strict=True)], np.int64)
    )
    if "axes" in chosen.attributes and draw.flag(0.7):
        chosen.attributes["keep_aspect_ratio_policy"] = draw.one_of(["not_larger", "not_smaller", "stretch"])


RESIZE: Mapping[str, Family] = {"Resize": _resize}
